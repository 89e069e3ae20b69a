"""A bundle's decisions and entries taken over into another that is being compiled, as if they were compiled again.

Texts, fragments and tests find their places in the new bundle by the way that new ones take, in the order in which a
compiler meets them, so that the bytes are those of a compilation. Nothing is checked again: the bundle is proven.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint32_t
from libc.string cimport memcmp, memset

from fanion._core.bundle cimport BundleView
from fanion._core.layout cimport (
    FANION_HASH,
    FANION_NEEDS_TEXT,
    FANION_NONE,
    FANION_OUTCOME,
    FANION_RANGES,
    FANION_SECTION_DECISIONS,
    FANION_SECTION_FRAGMENTS,
    FANION_SECTION_TABLES,
    FANION_TEST,
    OP_DECISION_IS,
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
from fanion._core.sections cimport Fragments, KeyIndex, Rows, Texts


@cython.final
cdef class Copier:
    """From `bundle`, which stays open meanwhile, into the sections of one that is compiled. `needs`, `outcomes`,
    `depths`: of its slots and decisions so far. `writer` has `test(node, number, count)` and `other(node, number,
    count)`, which give the bytes of the bundle's node `node`, as number so many of a decision of `count`, and
    `ask(decision, number)`, which gives how deep a decision asks. Outcomes that reach splits are not for this."""

    cdef BundleView bundle
    cdef Rows decisions, nodes, pieces, ranges
    cdef Texts texts
    cdef Fragments fragments
    cdef list needs, outcomes, depths
    cdef object writer
    cdef dict tests  # a test's bytes in the bundle -> its bytes in the new one
    cdef uint32_t *runs  # owned; where a run of fragments is in the new one, by its first; FANION_NONE: not met yet

    def __cinit__(self, BundleView bundle not None, Rows decisions not None, Rows nodes not None,
                  Rows pieces not None, Rows ranges not None, Fragments fragments not None, list needs not None,
                  list outcomes not None, list depths not None, writer):
        cdef size_t count
        bundle.require()
        self.bundle = bundle
        self.decisions, self.nodes, self.pieces, self.ranges = decisions, nodes, pieces, ranges
        self.texts, self.fragments = fragments.texts, fragments
        self.needs, self.outcomes, self.depths = needs, outcomes, depths
        self.writer = writer
        self.tests = {}
        count = bundle.s.counts[FANION_SECTION_FRAGMENTS]
        self.runs = <uint32_t *> PyMem_RawMalloc((count + 1) * sizeof(uint32_t))
        if self.runs == NULL:
            raise MemoryError
        memset(self.runs, 0xff, (count + 1) * sizeof(uint32_t))

    def __dealloc__(self):
        PyMem_RawFree(self.runs)

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
        return self.texts.find(self.bundle.s.blob + old.offset, old.length, out)

    cdef long copy_test(self, const fanion_node *node, uint32_t place, uint32_t number, uint32_t count) except -1:
        """How deep the decision asks by this."""
        cdef bytes old = PyBytes_FromStringAndSize(<const char *> node, sizeof(fanion_node))
        cdef bytes packed = self.tests.get(old)
        if packed is None:
            packed = self.tests[old] = self.writer.test(place, number, count)
        self.nodes.put(PyBytes_AS_STRING(packed), PyBytes_GET_SIZE(packed))
        if node.test.op == OP_DECISION_IS:
            return 1 + <long> self.writer.ask(node.test.operand.asked.decision, number)
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
                self.needs[piece.slot] = <long> self.needs[piece.slot] | FANION_NEEDS_TEXT
            self.pieces.put(&piece, sizeof(piece))
        return self.nodes.put(&row, sizeof(row))

    cdef int copy_ranges(self, const fanion_node *node) except -1:
        cdef fanion_node row = node[0]
        row.branch.first = <uint32_t> (self.ranges.size // sizeof(fanion_range))
        self.ranges.put(self.bundle.s.ranges + node.branch.first, node.branch.count * sizeof(fanion_range))
        return self.nodes.put(&row, sizeof(row))

    def copy_entries(self, uint32_t table, Rows rows not None, Rows index not None, dict instead not None, encode):
        """Appends the entries of table `table`, and the index of their keys. `instead`: decision -> what stands in
        the place of its entry; `encode`: text to JSON. All decisions are there. ValueError as of `entries`."""
        cdef const fanion_table *one
        cdef const fanion_entry *old
        cdef fanion_entry entry
        cdef KeyIndex keys
        cdef const char *text
        cdef Py_ssize_t length
        cdef uint32_t n
        self.bundle.require()
        if not table < self.bundle.s.counts[FANION_SECTION_TABLES]:
            raise IndexError(f"table {table}")
        one = &self.bundle.s.tables[table]
        keys = KeyIndex(rows, one.entry_count)
        for n in range(one.entry_first, one.entry_first + one.entry_count):
            old = &self.bundle.s.entries[n]
            given = instead.get(old.decision) if instead else None
            if given is None:
                self.copy_entry(old, &entry)
                keys.add(&entry, self.bundle.s.blob + old.key.offset, old.key.length)
            else:
                key = given.key
                text = PyUnicode_AsUTF8AndSize(key, &length)
                self.fragments.entry(given, key, text, length, self.outcomes, 0, encode, &entry)
                keys.add(&entry, text, length)
        keys.finish(index)

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
        self.runs[first] = <uint32_t> self.fragments.drafted_number(at, count)
        return self.runs[first]
