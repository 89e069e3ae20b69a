"""The decision kernel: a bundle's program over bound slots, and its answers. Long: one class owns the cells.

One `Bundle` belongs to one thread (a worker's event loop). A request binds the slots that the asked flags name,
each once, runs the program without allocating, and copies ready fragments. Leaves that need a library stop the
run; `external` answers them under the GIL, once per request, and the run resumes where it stopped.
"""

import msgspec

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fanion._core.bundle import Refused

from fanion._core.bind cimport bind_value, walk
from fanion._core.choice cimport choose_keyed, choose_scored
from fanion._core.emit_json cimport put, put_json_text
from fanion._core.hash cimport (
    fanion_hash_murmur3_32,
    fanion_hash_murmur3_128,
    fanion_hash_sha256,
    fanion_hash_xxh64,
)
from fanion._core.layout cimport *
from fanion._core.machine cimport *
from fanion._core.match cimport leaf


cdef void *allocate(size_t count, size_t size) except NULL:
    cdef void *made = calloc(count + 1, size)
    if made == NULL:
        raise MemoryError
    return made


def parts_of(str name):
    """A dotted name taken apart for `bind.walk`: (part, array index or -1) each, then a place of its own."""
    parts = []
    for part in name.split("."):
        canonical = part.isascii() and part.isdigit() and len(part) <= 9 and (part == "0" or part[0] != "0")
        parts.append((part, int(part) if canonical else -1))
    parts.append(None)
    return parts


cdef class Bundle(BundleView):
    """A verified bundle, ready to decide.

    `Bundle(buffer, external=None)` raises ValueError where the bytes do not verify. `external(op, operand, text)`
    answers TEXT_REGEX, STRING_REGEX and LIST_MEMBER; without it they are false.
    """

    def __cinit__(self, buffer, external=None):
        cdef uint32_t n
        self.external = external
        self.cells = <cell *> allocate(self.slot_count, sizeof(cell))
        self.memos = <memo_cell *> allocate(self.memo_count, sizeof(memo_cell))
        self.externals = <external_cell *> allocate(self.external_count, sizeof(external_cell))
        self.seen = <uint32_t *> allocate(self.s.counts[FANION_SECTION_ENTRIES], sizeof(uint32_t))
        self.names = []
        self.parts = []
        self.types = []
        for n in range(self.slot_count):
            self.names.append(self.text(self.s.slots[n].name))
            self.types.append(self.text(self.s.slots[n].context_type))
            self.parts.append(parts_of(self.names[n]) if self.s.slots[n].dotted else None)
        self.external_operands = [
            self.text(self.s.externals[n].operand) for n in range(self.external_count)
        ]
        self.tables = {
            self.text(self.s.tables[n].name): n for n in range(self.s.counts[FANION_SECTION_TABLES])
        }
        self.read_meta()

    def __dealloc__(self):
        cdef uint32_t n
        if self.cells != NULL:
            for n in range(self.slot_count):
                free(self.cells[n].buffer)
                free(self.cells[n].strings)
        free(self.cells)
        free(self.memos)
        free(self.externals)
        free(self.seen)
        free(self.out.data)
        free(self.machine.scratch)

    cdef int read_meta(self) except -1:
        try:
            meta = msgspec.json.decode(
                PyBytes_FromStringAndSize(self.s.meta, self.s.counts[FANION_SECTION_META])
            )
            self.environment = meta["environment"]
            self.identifiers = meta["identifiers"]
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise Refused(f"the meta section is not what it should be: {error!r}") from None
        return 0

    # -- what a dialect asks

    def table(self, str name):
        """The number of a dialect's table, -1 where this environment does not serve that dialect."""
        return self.tables.get(name, -1)

    def document(self, str name):
        """A stored document as bytes, or None."""
        cdef uint32_t n
        self.require()
        for n in range(self.s.counts[FANION_SECTION_DOCUMENTS]):
            if self.text(self.s.documents[n].name) == name:
                return PyBytes_FromStringAndSize(
                    self.s.blob + self.s.documents[n].content.offset, self.s.documents[n].content.length
                )
        return None

    def keys(self, int table):
        """Every key of a table, in the order of its entries."""
        cdef uint32_t n
        cdef const fanion_entry *entries
        self.require()
        if not 0 <= table < len(self.tables):
            return []
        entries = &self.s.entries[self.s.tables[table].entry_first]
        return [self.text(entries[n].key) for n in range(self.s.tables[table].entry_count)]

    def emit_one(
        self,
        int table,
        str key not None,
        dict members,
        dict attributes,
        tuple contexts,
        bint client,
        bytes prefix not None,
        bytes suffix not None,
        tuple holes=(),
    ):
        """prefix + the key's fragment + suffix; the table's `absent` fragment where `key` may not be seen."""
        self.begin(members, attributes, contexts)
        self.out.length = 0
        put(&self.out, PyBytes_AS_STRING(prefix), PyBytes_GET_SIZE(prefix))
        self.put_entry(self.visible(table, key, client), table, holes)
        put(&self.out, PyBytes_AS_STRING(suffix), PyBytes_GET_SIZE(suffix))
        return PyBytes_FromStringAndSize(self.out.data, self.out.length)

    def emit_map(
        self,
        int table,
        list keys not None,
        dict members,
        dict attributes,
        tuple contexts,
        bint client,
        bytes prefix not None,
        bytes entry_open not None,
        bytes entry_close not None,
        bytes suffix not None,
    ):
        """prefix, then `"key":` entry_open fragment entry_close for each key in order, commas between, suffix.

        A key that stands twice is written at its first place only.
        """
        cdef const fanion_entry *entry
        cdef uint32_t number
        cdef Py_ssize_t length = 0
        cdef const char *text
        cdef bint first = True
        cdef set absent = None
        self.begin(members, attributes, contexts)
        self.out.length = 0
        put(&self.out, PyBytes_AS_STRING(prefix), PyBytes_GET_SIZE(prefix))
        for key in keys:
            entry = self.visible(table, key, client)
            if entry != NULL:
                number = <uint32_t> (entry - self.s.entries)
                if self.seen[number] == self.stamp:
                    continue
                self.seen[number] = self.stamp
            else:
                if absent is None:
                    absent = set()
                elif key in absent:
                    continue
                absent.add(key)
            if not first:
                put(&self.out, b",", 1)
            first = False
            if entry != NULL:
                put(&self.out, self.s.blob + entry.json.offset, entry.json.length)
            else:
                text = PyUnicode_AsUTF8AndSize(key, &length)
                put_json_text(&self.out, text, length)
            put(&self.out, b":", 1)
            put(&self.out, PyBytes_AS_STRING(entry_open), PyBytes_GET_SIZE(entry_open))
            self.put_entry(entry, table, ())
            put(&self.out, PyBytes_AS_STRING(entry_close), PyBytes_GET_SIZE(entry_close))
        put(&self.out, PyBytes_AS_STRING(suffix), PyBytes_GET_SIZE(suffix))
        return PyBytes_FromStringAndSize(self.out.data, self.out.length)

    def resolve(self, int table, str key not None, dict members, dict attributes, tuple contexts, bint client):
        """(decision, outcome number, bucket or -1, resolution), or None where `key` may not be seen."""
        cdef const fanion_entry *entry
        cdef const fanion_outcome *outcome
        self.begin(members, attributes, contexts)
        entry = self.visible(table, key, client)
        if entry == NULL:
            return None
        outcome = self.decide(entry.decision)
        return entry.decision, outcome.number, self.machine.frames[0].bucket, outcome.resolution

    def evaluate(self, uint32_t decision, dict members, dict attributes, tuple contexts):
        """(outcome number, bucket or -1) of a decision by its number. Raises IndexError for an unknown one."""
        cdef const fanion_outcome *outcome
        self.begin(members, attributes, contexts)
        if decision >= self.s.counts[FANION_SECTION_DECISIONS]:
            raise IndexError(f"decision {decision} of {self.s.counts[FANION_SECTION_DECISIONS]}")
        outcome = self.decide(decision)
        return outcome.number, self.machine.frames[0].bucket

    def evaluate_many(self, tuple decisions not None, dict members, dict attributes, tuple contexts):
        """[(outcome number, bucket or -1)] for several decisions, their slots bound once."""
        cdef const fanion_outcome *outcome
        cdef uint32_t decision
        cdef list found = []
        self.begin(members, attributes, contexts)
        for decision in decisions:
            if decision >= self.s.counts[FANION_SECTION_DECISIONS]:
                raise IndexError(f"decision {decision} of {self.s.counts[FANION_SECTION_DECISIONS]}")
            outcome = self.decide(decision)
            found.append((outcome.number, self.machine.frames[0].bucket))
        return found

    def chosen(self):
        """(choice or -1, probability, vector or -1) of the decision that was evaluated last."""
        cdef const frame *f = &self.machine.frames[0]
        return f.choice, f.probability, -1 if f.vector == FANION_NONE else <int64_t> f.vector

    def vector(self, uint32_t number):
        """(key, weights, note) of the weights that `chosen` named."""
        cdef const fanion_vector *found
        cdef uint32_t n
        self.require()
        if number >= self.s.counts[FANION_SECTION_VECTORS]:
            raise IndexError(f"vector {number} of {self.s.counts[FANION_SECTION_VECTORS]}")
        found = &self.s.vectors[number]
        weights = [self.s.numbers[found.first + n] for n in range(found.count)]
        return self.text(found.key), weights, self.text(found.note)

    def repeat(self, uint32_t decision, uint32_t count, dict members, dict attributes, tuple contexts):
        """For benches: binds once, then runs the kernel alone `count` times. Returns the last outcome number."""
        cdef uint32_t _, outcome = 0
        self.evaluate(decision, members, attributes, contexts)
        with nogil:
            for _ in range(count):
                self.machine.depth = 0
                self.machine.frames[0].at = 0
                self.machine.frames[0].bucket = -1
                if self.run() != RUN_DONE:
                    break
                outcome += self.machine.frames[0].at
        return outcome

    # -- one request

    cdef int begin(self, object members, object attributes, object contexts) except -1:
        self.require()
        self.members = <PyObject *> members if members is not None else NULL
        self.attributes = <PyObject *> attributes if attributes is not None else NULL
        self.contexts = <PyObject *> contexts if contexts is not None else NULL
        self.stamp += 1
        if self.stamp == 0:   # after 2**32 requests: forget every stamp, then start over
            for n in range(self.slot_count):
                self.cells[n].stamp = 0
            memset(self.memos, 0, self.memo_count * sizeof(memo_cell))
            memset(self.externals, 0, self.external_count * sizeof(external_cell))
            memset(self.seen, 0, self.s.counts[FANION_SECTION_ENTRIES] * sizeof(uint32_t))
            self.stamp = 1
        return 0

    cdef const fanion_entry *visible(self, int table, str key, bint client) except? NULL:
        """The entry of a key that the caller may see, else NULL: the one place where visibility is decided."""
        cdef Py_ssize_t length = 0
        cdef const char *text
        cdef const fanion_entry *entry
        if table < 0 or table >= <int> self.s.counts[FANION_SECTION_TABLES]:
            raise IndexError(f"table {table} of {self.s.counts[FANION_SECTION_TABLES]}")
        text = PyUnicode_AsUTF8AndSize(key, &length)
        entry = self.find(&self.s.tables[table], text, length)
        if entry != NULL and client and not entry.client_safe:
            return NULL
        return entry

    cdef int put_entry(self, const fanion_entry *entry, int table, tuple holes) except -1:
        if entry == NULL:
            return self.put_fragment(self.s.tables[table].absent, holes)
        return self.put_fragment(entry.fragment_first + self.decide(entry.decision).number, holes)

    cdef int put_fragment(self, uint32_t number, tuple holes) except -1:
        cdef const fanion_fragment *fragment = &self.s.fragments[number]
        cdef uint32_t n
        cdef bytes filling
        for n in range(fragment.rope_first, fragment.rope_first + fragment.rope_count):
            if self.s.ropes[n].offset != FANION_NONE:
                put(&self.out, self.s.blob + self.s.ropes[n].offset, self.s.ropes[n].length)
            elif self.s.ropes[n].length < <uint32_t> len(holes):
                filling = holes[self.s.ropes[n].length]
                put(&self.out, PyBytes_AS_STRING(filling), PyBytes_GET_SIZE(filling))
        return 0

    cdef const fanion_outcome *decide(self, uint32_t number) except NULL:
        """Runs a decision, binding slots as it reads them; frame 0 of the machine then holds its registers."""
        cdef int status
        self.machine.depth = 0
        enter(&self.machine.frames[0], &self.s, &self.s.decisions[number])
        status = self.run()
        while status != RUN_DONE:
            if status == RUN_UNBOUND:
                self.bind(self.machine.wanted)
            elif status == RUN_EXTERNAL:
                self.answer_external()
            else:
                raise MemoryError
            status = self.run()
        return &self.machine.frames[0].nodes[self.machine.frames[0].at].outcome

    cdef int bind(self, uint32_t slot) except -1:
        cdef const fanion_slot *spec = &self.s.slots[slot]
        cdef PyObject *values = self.attributes
        cdef PyObject *found = NULL
        if spec.source == SOURCE_CONTEXT_KEYS:
            return self.bind_keys(slot)
        if spec.source == SOURCE_CONTEXT_KEY or spec.source == SOURCE_CONTEXT_ATTRIBUTE:
            values = NULL
            if self.contexts != NULL:
                for context in <tuple> self.contexts:
                    if context[0] == self.types[slot]:
                        values = <PyObject *> context[2]
                        found = <PyObject *> context[1]
                        break
            if spec.source == SOURCE_CONTEXT_KEY:
                values = NULL
            else:
                found = NULL
        elif spec.source != SOURCE_ATTRIBUTE and self.members != NULL:
            found = self.look_up(slot, self.members)
            if found != NULL or spec.source == SOURCE_MEMBER:
                values = NULL
        elif spec.source == SOURCE_MEMBER:
            values = NULL
        if values != NULL:
            found = self.look_up(slot, values)
        bind_value(&self.cells[slot], found, spec)
        self.cells[slot].stamp = self.stamp
        return 0

    cdef PyObject *look_up(self, uint32_t slot, PyObject *values) except? NULL:
        """A slot's value among members or attributes, NULL where it is missing: the name itself, then its walk."""
        cdef PyObject *found = PyDict_GetItemWithError(<dict> values, self.names[slot])
        if found == NULL and self.s.slots[slot].dotted:
            found = walk(<object> values, self.parts[slot])
        return found

    cdef int bind_keys(self, uint32_t slot) except -1:
        """CONTEXT_KEYS: the joined text is kept in `names`, so that the cell may borrow it."""
        cdef object joined = None
        if self.contexts != NULL and len(<tuple> self.contexts):
            joined = "".join([context[1] for context in <tuple> self.contexts])
            self.names[slot] = joined
        bind_value(&self.cells[slot], NULL if joined is None else <PyObject *> joined, &self.s.slots[slot])
        self.cells[slot].stamp = self.stamp
        return 0

    cdef int answer_external(self) except -1:
        cdef uint32_t number = self.machine.wanted
        cdef const cell *value = &self.cells[self.s.externals[number].slot]
        cdef bint passed = False
        if self.external is not None:
            text = PyUnicode_DecodeUTF8(value.text, value.length, "strict")
            passed = self.external(self.s.externals[number].op, self.external_operands[number], text)
        self.externals[number].stamp = self.stamp
        self.externals[number].passed = passed
        return 0

    # -- the kernel

    cdef int run(self) noexcept nogil:
        """Runs the machine until frame 0 stands on an outcome, or a node reads what is not there yet."""
        cdef machine *m = &self.machine
        cdef frame *f = &m.frames[m.depth]
        cdef const fanion_node *node
        cdef const fanion_decision *asked
        cdef const cell *value
        cdef memo_cell *memo
        cdef uint32_t n
        cdef int way
        while True:
            node = &f.nodes[f.at]
            if node.type == FANION_TEST:
                if node.test.op != OP_DECISION_IS and self.cells[node.test.slot].stamp != self.stamp:
                    m.wanted = node.test.slot
                    return RUN_UNBOUND
                if node.test.op < OP_DECISION_IS:
                    way = leaf(&self.s, &node.test, &self.cells[node.test.slot])
                elif node.test.op == OP_DECISION_IS:
                    asked = &self.s.decisions[node.test.operand.asked.decision]
                    memo = &self.memos[asked.memo]
                    if memo.stamp != self.stamp:
                        m.depth += 1
                        f = &m.frames[m.depth]
                        enter(f, &self.s, asked)
                        continue
                    if self.s.nodes[memo.node].outcome.resolution == RESOLUTION_ERROR:
                        way = EXIT_MISMATCH
                    elif self.s.nodes[memo.node].outcome.variant == node.test.operand.asked.variant:
                        way = EXIT_TRUE
                    else:
                        way = EXIT_FALSE
                else:
                    value = &self.cells[node.test.slot]
                    n = node.test.operand.record.first
                    if value.kind == KIND_MISSING:
                        way = EXIT_MISSING
                    elif value.text == NULL or (node.test.op == OP_STRING_REGEX and value.kind != KIND_STRING):
                        way = EXIT_MISMATCH
                    elif self.externals[n].stamp != self.stamp:
                        m.wanted = n
                        return RUN_EXTERNAL
                    else:
                        way = EXIT_TRUE if self.externals[n].passed else EXIT_FALSE
                f.at = node.test.exits[way]
            elif node.type == FANION_OUTCOME:
                if f.decision.memo != FANION_NONE:
                    self.memos[f.decision.memo].stamp = self.stamp
                    self.memos[f.decision.memo].node = f.decision.node_first + f.at
                if m.depth == 0:
                    return RUN_DONE
                m.depth -= 1
                f = &m.frames[m.depth]
            elif node.type == FANION_HASH:
                way = self.hash(f, node)
                if way != RUN_DONE:
                    return way
            elif node.type == FANION_RANGES:
                way = -1
                for n in range(node.branch.first, node.branch.first + node.branch.count):
                    if self.s.ranges[n].low <= f.bucket <= self.s.ranges[n].high:
                        way = <int> self.s.ranges[n].target
                        break
                f.at = node.branch.on_none if way < 0 else <uint32_t> way
            elif node.type == FANION_WEIGHTS:
                f.at = branch_weights(self, node, f.unit)
            else:
                way = self.choose(m, f, node)
                if way != RUN_DONE:
                    return way

    cdef int choose(self, machine *m, frame *f, const fanion_node *node) noexcept nogil:
        """Scores or weights under a key; a run_status."""
        if node.type == FANION_SCORES:
            return choose_scored(&self.s, self.cells, self.stamp, m, f, &self.s.models[node.branch.first])
        return choose_keyed(
            &self.s, self.cells, self.stamp, m, f, &self.s.keyed[node.branch.first], node.branch.on_none
        )

    cdef int hash(self, frame *f, const fanion_node *node) noexcept nogil:
        """Puts the input together, hashes and reduces it into the frame; a run_status."""
        cdef char[STACK_BYTES] stack
        cdef char *input = NULL
        cdef size_t length = 0
        cdef uint64_t low, high = 0
        cdef int status = join(
            &self.s,
            self.cells,
            self.stamp,
            &self.machine,
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


cdef uint32_t branch_weights(Bundle self, const fanion_node *node, double unit) noexcept nogil:
    """The first target whose running sum of weights exceeds u, else the last."""
    cdef double total = 0.0
    cdef uint32_t n, last = node.branch.first + node.branch.count - 1
    for n in range(node.branch.first, last):
        total += self.s.weights[n].weight
        if unit < total:
            return self.s.weights[n].target
    return self.s.weights[last].target
