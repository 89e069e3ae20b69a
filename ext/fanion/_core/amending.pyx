"""A bundle's decisions and entries taken over into another that is being compiled, as if they were compiled again.

They are met in the order in which a compiler meets them, so that the bytes are those of a compilation. Nothing is
checked again: the bundle is proven.

Texts. A compiler puts each into the blob when it meets it first. So what of the bundle's blob stands behind all that
was met is met for the first time, and is put behind the new blob without being looked for, unless what is new has put
one like it there before; what stands before has its place by the stretch that it lies in (`Stretch`). A text of a
decision that isn't taken over lies in no stretch: it is looked for when another asks for it. Runs of fragments go the
same way, by their numbers.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memmove, memset

from fanion._core.bundle cimport BundleView
from fanion._core.layout cimport (
    FANION_HASH,
    FANION_NEEDS_TEXT,
    FANION_NONE,
    FANION_OUTCOME,
    FANION_RANGES,
    FANION_SECTION_DECISIONS,
    FANION_SECTION_FRAGMENTS,
    FANION_SECTION_SETS,
    FANION_SECTION_TABLES,
    FANION_TEST,
    OP_DECISION_IS,
    OP_EQ_STRING,
    OP_EQ_VERSION,
    OP_ORDER_VERSION,
    OP_STRING_CONTAINS,
    OP_STRING_ENDS,
    OP_STRING_IN,
    OP_TEXT_CONTAINS,
    OP_TEXT_ENDS,
    OP_TEXT_IN,
    PIECE_LITERAL,
    fanion_decision,
    fanion_entry,
    fanion_fragment,
    fanion_node,
    fanion_piece,
    fanion_range,
    fanion_table,
    fanion_text,
)
from fanion._core.sections cimport Fragments, Rows, Texts


cdef struct Stretch:
    uint32_t start, end  # of the bundle's blob
    uint32_t place  # where its first byte is in the new one


cdef uint32_t *unmet(size_t count) except NULL:
    """Room for so many numbers and one more, all FANION_NONE."""
    cdef uint32_t *numbers = <uint32_t *> PyMem_RawMalloc((count + 1) * sizeof(uint32_t))
    if numbers == NULL:
        raise MemoryError
    memset(numbers, 0xff, (count + 1) * sizeof(uint32_t))
    return numbers


cdef bint is_text(uint8_t op) noexcept:
    """Whether an operator's operand is a text in the blob."""
    return (op == OP_EQ_STRING or OP_STRING_CONTAINS <= op <= OP_STRING_ENDS
            or OP_TEXT_CONTAINS <= op <= OP_TEXT_ENDS)


@cython.final
cdef class Copier:
    """From `bundle`, which stays open meanwhile, into the sections of one that is compiled. `needs`, `outcomes`,
    `depths`: of its slots and decisions so far; `reads`: of each operator, what it reads of its slot. `writer` has
    `test(node, number, count)` and `other(node, number, count)`, which give the bytes of the bundle's node `node`, as
    number so many of a decision of `count`, and `ask(decision, number)`, which gives how deep a decision asks.
    Outcomes that reach splits are not for this."""

    cdef BundleView bundle
    cdef Rows decisions, nodes, pieces, ranges
    cdef Texts texts
    cdef Fragments fragments
    cdef list needs, outcomes, depths
    cdef object writer
    cdef uint8_t[256] reads  # of each operator
    cdef uint8_t *needed  # owned; what of each slot's `needs` is said already
    cdef dict tests  # the rarer ones: bytes in the bundle -> bytes in the new one
    # Both owned, by the number in the bundle: where a run of fragments is in the new one, by its first, and where a
    # set is. FANION_NONE: not met yet.
    cdef uint32_t *runs
    cdef uint32_t *sets
    cdef uint8_t *instead  # owned; of each decision, whether its entry is another in the table that is written
    cdef Stretch *stretches  # owned; ascending, apart
    cdef size_t stretch_count, stretch_room
    cdef size_t last  # the stretch that was asked for last
    cdef uint32_t met  # how many bytes of the bundle's blob were met

    def __cinit__(self, BundleView bundle not None, Rows decisions not None, Rows nodes not None,
                  Rows pieces not None, Rows ranges not None, Fragments fragments not None, list needs not None,
                  list reads not None, list outcomes not None, list depths not None, writer):
        bundle.require()
        self.bundle = bundle
        self.decisions, self.nodes, self.pieces, self.ranges = decisions, nodes, pieces, ranges
        self.texts, self.fragments = fragments.texts, fragments
        self.needs, self.outcomes, self.depths = needs, outcomes, depths
        for op, read in enumerate(reads):
            self.reads[op] = read
        self.writer = writer
        self.tests = {}
        self.runs = unmet(bundle.s.counts[FANION_SECTION_FRAGMENTS])
        self.sets = unmet(bundle.s.counts[FANION_SECTION_SETS])
        self.needed = <uint8_t *> PyMem_RawCalloc(len(needs) + 1, 1)
        self.instead = <uint8_t *> PyMem_RawCalloc(bundle.s.counts[FANION_SECTION_DECISIONS] + 1, 1)
        if self.needed == NULL or self.instead == NULL:
            raise MemoryError
        fragments.expect(bundle.s.counts[FANION_SECTION_FRAGMENTS])

    def __dealloc__(self):
        PyMem_RawFree(self.runs)
        PyMem_RawFree(self.sets)
        PyMem_RawFree(self.needed)
        PyMem_RawFree(self.instead)
        PyMem_RawFree(self.stretches)

    def decisions_of(self, str key not None):
        """The numbers of the bundle's decisions with this key."""
        cdef Py_ssize_t length
        cdef const char *text = PyUnicode_AsUTF8AndSize(key, &length)
        cdef const fanion_decision *one
        cdef uint32_t n
        found = []
        self.bundle.require()
        for n in range(self.bundle.s.counts[FANION_SECTION_DECISIONS]):
            one = &self.bundle.s.decisions[n]
            if one.key.length == <size_t> length and memcmp(self.bundle.s.blob + one.key.offset, text, length) == 0:
                found.append(n)
        return found

    def copy_decisions(self, uint32_t first, uint32_t end):
        """Those from `first` on, before `end`; their numbers stay."""
        cdef uint32_t n
        self.bundle.require()
        if not first <= end <= self.bundle.s.counts[FANION_SECTION_DECISIONS] or first != len(self.outcomes):
            raise IndexError(f"decisions {first} to {end}")
        for n in range(first, end):
            self.copy_decision(&self.bundle.s.decisions[n])

    cdef int copy_decision(self, const fanion_decision *one) except -1:
        cdef long depth = 1
        cdef uint32_t number
        cdef size_t first = self.nodes.size // sizeof(fanion_node)
        cdef const fanion_node *node
        cdef fanion_decision row = one[0]
        cdef bytes packed
        for number in range(one.node_count):
            node = &self.bundle.s.nodes[one.node_first + number]
            if node.type == FANION_TEST:
                depth = max(depth, self.copy_test(node, one.node_first + number, number, one.node_count))
            elif node.type == FANION_OUTCOME:
                self.nodes.put(node, sizeof(fanion_node))
            elif node.type == FANION_HASH:
                self.copy_hash(node)
            elif node.type == FANION_RANGES:
                self.copy_ranges(node)
            else:
                packed = self.writer.other(one.node_first + number, number, one.node_count)
                self.nodes.put(PyBytes_AS_STRING(packed), PyBytes_GET_SIZE(packed))
        self.outcomes.append(one.outcome_count)
        self.find(one.key, &row.key)
        row.node_first = <uint32_t> first
        row.memo = FANION_NONE
        row.depth = <uint32_t> depth
        self.depths.append(depth)
        return self.decisions.put(&row, sizeof(row))

    cdef int find(self, fanion_text old, fanion_text *out) except -1:
        cdef Stretch *stretch
        if old.length == 0:
            out.offset = out.length = 0
            return 0
        if self.stretch_count:
            stretch = &self.stretches[self.last]
            if stretch.start <= old.offset and old.offset + old.length <= stretch.end:
                out.offset = stretch.place + (old.offset - stretch.start)
                out.length = old.length
                return 0
        return self.look(old, out)

    cdef int look(self, fanion_text old, fanion_text *out) except -1:
        cdef const char *content = self.bundle.s.blob + old.offset
        cdef size_t at
        if old.offset >= self.met:
            self.met = old.offset + old.length
            if self.texts.may_have(content, old.length):
                self.texts.find(content, old.length, out)
            else:
                self.texts.append(content, old.length, out)
            return self.note(self.stretch_count, old, out.offset)
        at = self.behind(old.offset)
        if at and old.offset + old.length <= self.stretches[at - 1].end:
            self.last = at - 1
            out.offset = self.stretches[at - 1].place + (old.offset - self.stretches[at - 1].start)
            out.length = old.length
            return 0
        self.texts.find(content, old.length, out)
        if (at and self.stretches[at - 1].end > old.offset) or (
                at < self.stretch_count and self.stretches[at].start < old.offset + old.length):
            return 0  # no text of a compiler's: partly in a stretch
        return self.note(at, old, out.offset)

    cdef size_t behind(self, uint32_t offset) noexcept:
        """The number of the first stretch that begins behind `offset`."""
        cdef size_t low = 0, high = self.stretch_count, middle
        while low < high:
            middle = (low + high) // 2
            if self.stretches[middle].start <= offset:
                low = middle + 1
            else:
                high = middle
        return low

    cdef int note(self, size_t at, fanion_text old, uint32_t place) except -1:
        """That a text of the bundle is at `place`: in the stretch before number `at`, or in one of its own there."""
        cdef void *moved
        cdef Stretch *before
        if at:
            before = &self.stretches[at - 1]
            if before.end == old.offset and before.place + (before.end - before.start) == place:
                before.end += old.length
                self.last = at - 1
                return 0
        if self.stretch_count == self.stretch_room:
            moved = PyMem_RawRealloc(self.stretches, 2 * (self.stretch_room + 64) * sizeof(Stretch))
            if moved == NULL:
                raise MemoryError
            self.stretches = <Stretch *> moved
            self.stretch_room = 2 * (self.stretch_room + 64)
        memmove(&self.stretches[at + 1], &self.stretches[at], (self.stretch_count - at) * sizeof(Stretch))
        self.stretches[at].start = old.offset
        self.stretches[at].end = old.offset + old.length
        self.stretches[at].place = place
        self.stretch_count += 1
        self.last = at
        return 0

    cdef int need(self, uint32_t slot, uint8_t what) except -1:
        if self.needed[slot] & what != what:
            self.needed[slot] |= what
            self.needs[slot] = <long> self.needs[slot] | what
        return 0

    cdef long copy_test(self, const fanion_node *node, uint32_t place, uint32_t number, uint32_t count) except -1:
        """How deep the decision asks by this."""
        cdef fanion_node row = node[0]
        cdef uint8_t op = node.test.op
        cdef bytes packed
        if op == OP_DECISION_IS:
            self.nodes.put(&row, sizeof(row))
            return 1 + <long> self.writer.ask(node.test.operand.asked.decision, number)
        if is_text(op):
            self.find(node.test.operand.text, &row.test.operand.text)
        elif op == OP_STRING_IN or op == OP_TEXT_IN:
            if self.sets[node.test.operand.record.first] == FANION_NONE:
                packed = self.writer.test(place, number, count)
                row = (<const fanion_node *> PyBytes_AS_STRING(packed))[0]
                self.sets[node.test.operand.record.first] = row.test.operand.record.first
            row.test.operand.record.first = self.sets[node.test.operand.record.first]
        elif op == OP_EQ_VERSION or op == OP_ORDER_VERSION or op > OP_TEXT_ENDS:
            return self.copy_rare(node, place, number, count)
        self.need(node.test.slot, self.reads[op])
        self.nodes.put(&row, sizeof(row))
        return 1

    cdef long copy_rare(self, const fanion_node *node, uint32_t place, uint32_t number, uint32_t count) except -1:
        """A test whose operand stands in a section that equal tests share."""
        cdef bytes old = PyBytes_FromStringAndSize(<const char *> node, sizeof(fanion_node))
        cdef bytes packed = self.tests.get(old)
        if packed is None:
            packed = self.tests[old] = self.writer.test(place, number, count)
        self.nodes.put(PyBytes_AS_STRING(packed), PyBytes_GET_SIZE(packed))
        return 1

    cdef int copy_hash(self, const fanion_node *node) except -1:
        cdef fanion_node row = node[0]
        cdef fanion_piece piece
        cdef uint32_t n
        row.hash.piece_first = <uint32_t> (self.pieces.size // sizeof(fanion_piece))
        for n in range(node.hash.piece_first, node.hash.piece_first + node.hash.piece_count):
            piece = self.bundle.s.pieces[n]
            if piece.kind == PIECE_LITERAL:
                self.find(piece.literal, &piece.literal)
            else:
                self.need(piece.slot, FANION_NEEDS_TEXT)
            self.pieces.put(&piece, sizeof(piece))
        return self.nodes.put(&row, sizeof(row))

    cdef int copy_ranges(self, const fanion_node *node) except -1:
        cdef fanion_node row = node[0]
        row.branch.first = <uint32_t> (self.ranges.size // sizeof(fanion_range))
        self.ranges.put(self.bundle.s.ranges + node.branch.first, node.branch.count * sizeof(fanion_range))
        return self.nodes.put(&row, sizeof(row))

    def copy_entries(self, uint32_t table, Rows rows not None, Rows index not None, dict instead not None, encode):
        """Appends the entries of table `table`, and the index of their keys. `instead`: decision -> what stands in
        the place of its entry, under the same key; `encode`: text to JSON. All decisions are there. ValueError as of
        `entries`."""
        cdef const fanion_table *one
        cdef const fanion_entry *old
        cdef fanion_entry entry
        cdef const char *text
        cdef Py_ssize_t length
        cdef uint32_t n
        self.bundle.require()
        if not table < self.bundle.s.counts[FANION_SECTION_TABLES]:
            raise IndexError(f"table {table}")
        one = &self.bundle.s.tables[table]
        memset(self.instead, 0, self.bundle.s.counts[FANION_SECTION_DECISIONS])
        for number in instead:
            if not 0 <= number < self.bundle.s.counts[FANION_SECTION_DECISIONS]:
                raise IndexError(f"decision {number}")
            self.instead[<uint32_t> number] = 1
        for n in range(one.entry_first, one.entry_first + one.entry_count):
            old = &self.bundle.s.entries[n]
            if not self.instead[old.decision]:
                self.copy_entry(old, &entry)
            else:
                given = instead[old.decision]
                key = given.key
                text = PyUnicode_AsUTF8AndSize(key, &length)
                if old.key.length != <size_t> length or memcmp(self.bundle.s.blob + old.key.offset, text, length):
                    raise ValueError(None, f"the key {key!r}", "an entry keeps its key")
                self.fragments.entry(given, key, text, length, self.outcomes, 0, encode, &entry)
            rows.put(&entry, sizeof(entry))
        # What stands where in the index hangs on the keys and their order alone.
        index.put(self.bundle.s.index + one.index_first, (<size_t> one.index_mask + 1) * sizeof(uint32_t))

    cdef int copy_entry(self, const fanion_entry *old, fanion_entry *out) except -1:
        out[0] = old[0]
        self.find(old.json, &out.json)
        out.fragment_first = <uint32_t> self.run(
            old.fragment_first, self.bundle.s.decisions[old.decision].outcome_count
        )
        return self.find(old.key, &out.key)

    cdef long run(self, uint32_t first, uint32_t count) except -1:
        """Where a run of fragments is in the new bundle."""
        cdef size_t at = 0
        cdef uint32_t n, k
        cdef const fanion_fragment *fragment
        cdef fanion_text rope
        if self.runs[first] != FANION_NONE:
            return self.runs[first]
        for n in range(first, first + count):
            fragment = &self.bundle.s.fragments[n]
            self.fragments.draft_reserve(at + 1 + 2 * fragment.rope_count)
            self.fragments.draft[at] = fragment.rope_count
            at += 1
            for k in range(fragment.rope_first, fragment.rope_first + fragment.rope_count):
                rope = self.bundle.s.ropes[k]
                if rope.offset != FANION_NONE:
                    self.find(rope, &rope)
                self.fragments.draft[at] = rope.offset
                self.fragments.draft[at + 1] = rope.length
                at += 2
        self.runs[first] = <uint32_t> self.fragments.drafted_new(at, count)
        return self.runs[first]
