"""The decision kernel: free functions over one machine. Does not need the GIL, allocates nothing but scratch.

A run goes from node to node until the asked decision stands on an outcome. It stops where a slot is not bound yet
or an external leaf is not answered yet; whoever runs it supplies that and runs it again, from where it stopped.
Offsets were proven when the bundle was mapped (`fanion._core.bundle`); debug builds prove them again here.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fanion._core.choice cimport choose_keyed, choose_scored
from fanion._core.hash cimport (
    fanion_hash_murmur3_32,
    fanion_hash_murmur3_128,
    fanion_hash_sha256,
    fanion_hash_xxh64,
)
from fanion._core.layout cimport *
from fanion._core.machine cimport *
from fanion._core.match cimport cell, leaf


cdef inline void enter(machine *m, uint32_t decision) noexcept nogil:
    """Starts a decision: it is what the next `run` runs."""
    FANION_ASSERT(decision < m.s.counts[FANION_SECTION_DECISIONS])
    m.depth = 0
    enter_frame(&m.frames[0], m.s, &m.s.decisions[decision])


cdef inline int run(machine *m) noexcept nogil:
    """Runs the machine until frame 0 stands on an outcome, or a node reads what is not there yet."""
    cdef const fanion_sections *s = m.s
    cdef frame *f = &m.frames[m.depth]
    cdef const fanion_node *node
    cdef const fanion_decision *asked
    cdef const cell *value
    cdef memo_cell *memo
    cdef uint32_t n
    cdef int way
    while True:
        FANION_ASSERT(f.at < f.decision.node_count)
        node = &f.nodes[f.at]
        if node.type == FANION_TEST:
            FANION_ASSERT(node.test.op == OP_DECISION_IS or node.test.slot < s.counts[FANION_SECTION_SLOTS])
            if node.test.op != OP_DECISION_IS and m.cells[node.test.slot].stamp != m.stamp:
                m.wanted = node.test.slot
                return RUN_UNBOUND
            if node.test.op < OP_DECISION_IS:
                way = leaf(s, &node.test, &m.cells[node.test.slot])
            elif node.test.op == OP_DECISION_IS:
                FANION_ASSERT(node.test.operand.asked.decision < s.counts[FANION_SECTION_DECISIONS])
                asked = &s.decisions[node.test.operand.asked.decision]
                FANION_ASSERT(asked.memo < s.counts[FANION_SECTION_DECISIONS])
                memo = &m.memos[asked.memo]
                if memo.stamp != m.stamp:
                    m.depth += 1
                    FANION_ASSERT(m.depth < FANION_DEPTH_MAX)
                    f = &m.frames[m.depth]
                    enter_frame(f, s, asked)
                    continue
                FANION_ASSERT(memo.node < s.counts[FANION_SECTION_NODES])
                if s.nodes[memo.node].outcome.resolution == RESOLUTION_ERROR:
                    way = EXIT_MISMATCH
                elif s.nodes[memo.node].outcome.variant == node.test.operand.asked.variant:
                    way = EXIT_TRUE
                else:
                    way = EXIT_FALSE
            else:
                value = &m.cells[node.test.slot]
                n = node.test.operand.record.first
                FANION_ASSERT(n < s.counts[FANION_SECTION_EXTERNALS])
                if value.kind == KIND_MISSING:
                    way = EXIT_MISSING
                elif value.text == NULL or (node.test.op == OP_STRING_REGEX and value.kind != KIND_STRING):
                    way = EXIT_MISMATCH
                elif m.externals[n].stamp != m.stamp:
                    m.wanted = n
                    return RUN_EXTERNAL
                else:
                    way = EXIT_TRUE if m.externals[n].passed else EXIT_FALSE
            f.at = node.test.exits[way]
        elif node.type == FANION_OUTCOME:
            if f.decision.memo != FANION_NONE:
                m.memos[f.decision.memo].stamp = m.stamp
                m.memos[f.decision.memo].node = f.decision.node_first + f.at
            if m.depth == 0:
                return RUN_DONE
            m.depth -= 1
            f = &m.frames[m.depth]
        elif node.type == FANION_HASH:
            way = hash_pieces(m, f, node)
            if way != RUN_DONE:
                return way
        elif node.type == FANION_RANGES:
            FANION_ASSERT(within(s, FANION_SECTION_RANGES, node.branch.first, node.branch.count))
            way = -1
            for n in range(node.branch.first, node.branch.first + node.branch.count):
                if s.ranges[n].low <= f.bucket <= s.ranges[n].high:
                    way = <int> s.ranges[n].target
                    break
            f.at = node.branch.on_none if way < 0 else <uint32_t> way
        elif node.type == FANION_WEIGHTS:
            f.at = branch_weights(s, node, f.unit)
        elif node.type == FANION_SCORES:
            FANION_ASSERT(node.branch.first < s.counts[FANION_SECTION_MODELS])
            way = choose_scored(m, f, &s.models[node.branch.first])
            if way != RUN_DONE:
                return way
        else:
            FANION_ASSERT(node.type == FANION_KEYED and node.branch.first < s.counts[FANION_SECTION_KEYED])
            way = choose_keyed(m, f, &s.keyed[node.branch.first], node.branch.on_none)
            if way != RUN_DONE:
                return way


cdef inline int hash_pieces(machine *m, frame *f, const fanion_node *node) noexcept nogil:
    """Puts the input together, hashes and reduces it into the frame; a run_status."""
    cdef char[STACK_BYTES] stack
    cdef char *input = NULL
    cdef size_t length = 0
    cdef uint64_t low, high = 0
    cdef int status = join(
        m,
        node.hash.piece_first,
        node.hash.piece_count,
        node.hash.on_missing != FANION_NONE,
        stack,
        &input,
        &length,
    )
    if status == RUN_MISSING:
        f.at = node.hash.on_missing
        return RUN_DONE
    if status != RUN_DONE:
        return status
    f.at = node.hash.on_done
    if node.hash.hash == HASH_XXH64:
        low = fanion_hash_xxh64(input, length)
    elif node.hash.hash == HASH_SHA256:
        low = fanion_hash_sha256(input, length)
    elif node.hash.hash == HASH_MURMUR3_128:
        fanion_hash_murmur3_128(input, length, &low, &high)
    else:
        low = fanion_hash_murmur3_32(input, length)
    if node.hash.reduction == REDUCE_MODULO:
        f.bucket = <int64_t> (low % node.hash.modulus)
    elif node.hash.reduction == REDUCE_BASIS_POINTS:
        # (high * 2**64 + low) mod 100000, where 2**64 mod 100000 = 51616
        f.bucket = <int64_t> (((high % 100000) * 51616 + low % 100000) % 100000 // 10)
    elif node.hash.reduction == REDUCE_SCALE32:
        f.bucket = <int64_t> ((<uint64_t> (<uint32_t> low) * node.hash.modulus) >> 32)
    else:
        f.unit = <double> (low & ((<uint64_t> 1 << 53) - 1)) / 9007199254740992.0
    return RUN_DONE


cdef inline uint32_t branch_weights(const fanion_sections *s, const fanion_node *node, double unit) noexcept nogil:
    """The first target whose running sum of weights exceeds u, else the last."""
    cdef double total = 0.0
    cdef uint32_t n, last = node.branch.first + node.branch.count - 1
    FANION_ASSERT(node.branch.count and within(s, FANION_SECTION_WEIGHTS, node.branch.first, node.branch.count))
    for n in range(node.branch.first, last):
        total += s.weights[n].weight
        if unit < total:
            return s.weights[n].target
    return s.weights[last].target
