"""Decisions and their nodes while a bundle is compiled: the usual ones packed here, the others by their writer.

What a node says of itself is checked where it is packed; whatever isn't as it should be goes to the writer of
`fanion.bundle.nodes`, which packs what is rare and refuses the rest with the decision and node named.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from fanion._core.layout cimport (
    FANION_HASH,
    FANION_NEEDS_TEXT,
    FANION_NONE,
    FANION_OUTCOME,
    FANION_RANGES,
    HASH_XXH64,
    OP_DECISION_IS,
    PIECE_LITERAL,
    REDUCE_MODULO,
    fanion_decision,
    fanion_node,
    fanion_piece,
    fanion_range,
    fanion_text,
)
from fanion._core.sections cimport Rows, Texts

cdef long MODULUS_MAX = 2147483648


@cython.final
cdef class NodeWriter:
    """Of one bundle. `kinds`: the classes of tests, outcomes, hashes and ranges. `needs`: of each slot, what nodes
    read of it; `outcomes`: of each decision, how many it has. `writer` has `test(node, number, count)` and
    `other(node, number, count)`, which give a node's bytes, `ask(decision)`, which gives how deep a decision asks,
    and `reached(outcome, reached)`, which gives a run of records."""

    cdef Rows decisions, nodes, pieces, ranges
    cdef Texts texts
    cdef object test, outcome, hash, range_kind, writer
    cdef list needs, outcomes
    cdef dict known  # tests by what they say: flags ask much the same

    def __init__(self, Rows decisions not None, Rows nodes not None, Rows pieces not None, Rows ranges not None,
                 Texts texts not None, tuple kinds not None, list needs not None, list outcomes not None, writer):
        self.decisions, self.nodes, self.pieces, self.ranges = decisions, nodes, pieces, ranges
        self.texts = texts
        self.test, self.outcome, self.hash, self.range_kind = kinds
        self.needs, self.outcomes = needs, outcomes
        self.writer = writer
        self.known = {}

    def write(self, str key not None, tuple nodes not None):
        """Appends a decision; how deep it asks others, itself included. The last node has been seen to be an
        outcome."""
        cdef uint32_t count = <uint32_t> len(nodes), number = 0, outcomes = 0
        cdef long depth = 1, asked
        cdef size_t first = self.nodes.size // sizeof(fanion_node)
        cdef fanion_decision row
        cdef bytes packed
        for node in nodes:
            kind = type(node)
            if kind is self.test:
                packed = self.packed(node, number, count)
                self.nodes.put(PyBytes_AS_STRING(packed), PyBytes_GET_SIZE(packed))
                if <long> node.op == OP_DECISION_IS:
                    asked = self.writer.ask(node.operand.decision, number)
                    depth = max(depth, 1 + asked)
            elif kind is self.outcome:
                self.write_outcome(node, outcomes)
                outcomes += 1
            elif not (self.write_hash(node, number, count) if kind is self.hash
                      else kind is self.range_kind and self.write_ranges(node, number, count)):
                packed = self.writer.other(node, number, count)
                self.nodes.put(PyBytes_AS_STRING(packed), PyBytes_GET_SIZE(packed))
            number += 1
        self.outcomes.append(outcomes)
        memset(&row, 0, sizeof(row))
        self.find(key, &row.key)
        row.node_first = <uint32_t> first
        row.node_count = count
        row.outcome_count = outcomes
        row.memo = FANION_NONE
        row.depth = <uint32_t> depth
        self.decisions.put(&row, sizeof(row))
        return depth

    def test_row(self, node, uint32_t number, uint32_t count):
        """The bytes of a test that is node `number` of a decision's `count`."""
        return self.packed(node, number, count)

    cdef bytes packed(self, node, uint32_t number, uint32_t count):
        cdef bytes packed = self.known.get(node)
        if packed is None or not self.is_ahead(node, number, count):
            packed = self.known[node] = self.writer.test(node, number, count)
        return packed

    cdef bint is_ahead(self, node, uint32_t number, uint32_t count) except -1:
        """Whether a test's exits lead to later nodes of the decision."""
        cdef long target
        for target in (node.on_true, node.on_false, node.on_missing, node.on_mismatch):
            if not number < target < count:
                return False
        return True

    cdef int find(self, str text, fanion_text *out) except -1:
        cdef Py_ssize_t length
        cdef const char *content = PyUnicode_AsUTF8AndSize(text, &length)
        return self.texts.find(content, length, out)

    cdef int write_outcome(self, node, uint32_t number) except -1:
        cdef fanion_node row
        memset(&row, 0, sizeof(row))
        row.outcome.type = FANION_OUTCOME
        row.outcome.resolution = node.resolution
        row.outcome.cause = node.cause
        row.outcome.variant = node.variant
        row.outcome.rule = node.rule
        row.outcome.number = number
        reached = node.reached
        if reached:
            row.outcome.reached_first, row.outcome.reached_count = self.writer.reached(number, reached)
        return self.nodes.put(&row, sizeof(row))

    cdef bint write_hash(self, node, uint32_t number, uint32_t count) except -1:
        """Whether it was written: a usual one is."""
        cdef long modulus, done = node.on_done, missing = node.on_missing
        cdef fanion_node row
        cdef tuple pieces = node.pieces
        if <long> node.hash != HASH_XXH64 or <long> node.reduction != REDUCE_MODULO:
            return False
        modulus = node.modulus
        if not 1 <= modulus <= MODULUS_MAX or not number < done < count:
            return False
        if missing != -1 and not number < missing < count:
            return False
        for piece in pieces:
            if <long> piece.kind != PIECE_LITERAL and not 0 <= <long> piece.slot < len(self.needs):
                return False
        memset(&row, 0, sizeof(row))
        row.hash.type = FANION_HASH
        row.hash.hash = HASH_XXH64
        row.hash.reduction = REDUCE_MODULO
        row.hash.piece_first = <uint32_t> (self.pieces.size // sizeof(fanion_piece))
        row.hash.piece_count = <uint32_t> len(pieces)
        row.hash.on_done = <uint32_t> done
        row.hash.on_missing = FANION_NONE if missing == -1 else <uint32_t> missing
        row.hash.modulus = <uint64_t> modulus
        for piece in pieces:
            self.write_piece(piece)
        self.nodes.put(&row, sizeof(row))
        return True

    cdef int write_piece(self, piece) except -1:
        cdef fanion_piece row
        cdef long slot
        memset(&row, 0, sizeof(row))
        row.kind = piece.kind
        if row.kind == PIECE_LITERAL:
            row.slot = FANION_NONE
            self.find(piece.literal, &row.literal)
        else:
            slot = piece.slot
            row.slot = <uint32_t> slot
            self.needs[slot] = <long> self.needs[slot] | FANION_NEEDS_TEXT
        return self.pieces.put(&row, sizeof(row))

    cdef bint write_ranges(self, node, uint32_t number, uint32_t count) except -1:
        """Whether they were written."""
        cdef fanion_node row
        cdef fanion_range span
        cdef tuple ranges = node.ranges
        cdef long none = node.on_none
        if not number < none < count:
            return False
        for one in ranges:
            if not number < <long> one.target < count:
                return False
            try:
                span.low = one.low
                span.high = one.high
            except OverflowError:
                return False
        memset(&row, 0, sizeof(row))
        row.branch.type = FANION_RANGES
        row.branch.first = <uint32_t> (self.ranges.size // sizeof(fanion_range))
        row.branch.count = <uint32_t> len(ranges)
        row.branch.on_none = <uint32_t> none
        for one in ranges:
            memset(&span, 0, sizeof(span))
            span.low = one.low
            span.high = one.high
            span.target = one.target
            self.ranges.put(&span, sizeof(span))
        self.nodes.put(&row, sizeof(row))
        return True
