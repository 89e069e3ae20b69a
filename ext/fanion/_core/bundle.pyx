"""Mapping and verifying a bundle. Everything is checked here, once; the kernel then trusts every offset."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from fanion._core.hash cimport fanion_hash_xxh64
from fanion._core.layout cimport *

cdef extern from "fanion_expression.h" nogil:
    const char *fanion_expression_fault(const fanion_sections *s, uint32_t number, uint32_t *at)

cdef extern from "fanion_short.h" nogil:
    int fanion_equal(const char *a, const char *b, size_t length)


SECTIONS = {fanion_section_names[_n].decode(): fanion_record_sizes[_n] for _n in range(FANION_SECTION_COUNT)}


class Refused(ValueError):
    """The bytes are no bundle that this version can run; the message says what was found where."""


class NewerVersion(Refused):
    """The bundle has another format version."""


cdef class BundleView:
    """Holds a bundle's buffer and proves it. `close` lets go of the buffer; afterwards every use raises."""

    def __cinit__(self, buffer, *arguments, **named):
        self.held = False
        memset(&self.s, 0, sizeof(self.s))
        PyObject_GetBuffer(buffer, &self.buffer, PyBUF_SIMPLE)
        self.held = True
        map_sections(self)
        _Verifier(self).verify()

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.buffer)

    def close(self):
        """Let go of the buffer. Safe to call twice."""
        if self.held:
            self.held = False
            PyBuffer_Release(&self.buffer)

    cdef int require(self) except -1:
        if not self.held:
            raise ValueError("the bundle was closed")
        return 0

    cdef str text(self, fanion_text place):
        return PyUnicode_DecodeUTF8(self.s.blob + place.offset, place.length, "strict")

    cdef const fanion_entry *find(
        self, const fanion_table *table, const char *key, size_t length
    ) noexcept nogil:
        """The entry of a key, or NULL. Ends because an index always has an empty place."""
        cdef const uint32_t *index = self.s.index + table.index_first
        cdef uint32_t at = <uint32_t> fanion_hash_xxh64(key, length) & table.index_mask
        cdef const fanion_entry *entry
        while index[at]:
            FANION_ASSERT(index[at] <= table.entry_count)
            entry = &self.s.entries[table.entry_first + index[at] - 1]
            FANION_ASSERT(readable(&self.s, entry.key))
            if entry.key.length == length and fanion_equal(self.s.blob + entry.key.offset, key, length):
                return entry
            at = (at + 1) & table.index_mask
        return NULL


cdef int map_sections(BundleView view) except -1:
    cdef const fanion_bundle_header *header = <const fanion_bundle_header *> view.buffer.buf
    cdef const char *base = <const char *> view.buffer.buf
    cdef uint64_t size = <uint64_t> view.buffer.len, place
    cdef int n
    if size < sizeof(fanion_bundle_header):
        raise Refused(f"{size} bytes, a bundle has at least {sizeof(fanion_bundle_header)}")
    if <size_t> base % 8:
        raise Refused("the buffer is not aligned to 8 bytes")
    if header.magic != FANION_BUNDLE_MAGIC:
        raise Refused("the first 8 bytes are not a bundle's")
    if header.version != FANION_BUNDLE_VERSION:
        raise NewerVersion(f"bundle format {header.version}, this version reads {FANION_BUNDLE_VERSION}")
    if header.total_size != size or header.section_count != FANION_SECTION_COUNT:
        raise Refused(f"{size} bytes, the header says {header.total_size}")
    if fanion_hash_xxh64(base + 32, size - 32) != header.checksum:
        raise Refused("the checksum does not match")
    for n in range(FANION_SECTION_COUNT):
        place = header.sections[n].offset
        if header.sections[n].size != fanion_record_sizes[n] or place % 8 or place > size or (
            <uint64_t> header.sections[n].count * fanion_record_sizes[n] > size - place
        ):
            raise Refused(f"section {n} leaves the bundle")
    fanion_sections_map(&view.s, header)
    view.slot_count = view.s.counts[FANION_SECTION_SLOTS]
    view.external_count = view.s.counts[FANION_SECTION_EXTERNALS]
    return 0


cdef class _Verifier:
    """Walks every record of a mapped bundle once and raises Refused at the first that leaves its range."""

    cdef BundleView view
    cdef fanion_sections *s
    cdef uint32_t current  # number of the record being checked, for the message

    def __cinit__(self, BundleView view):
        self.view = view
        self.s = &view.s

    cdef int verify(self) except -1:
        self.slots()
        self.constants()
        self.expressions()
        self.vectors()
        self.splits()
        self.decisions()
        self.fragments()
        self.tables()
        self.overlays()
        return 0

    cdef int span(self, int section, uint64_t first, uint64_t count, const char *what) except -1:
        if first + count > self.s.counts[section]:
            raise Refused(
                f"{what.decode()} {self.current}: records {first} to {first + count} of {self.s.counts[section]}"
            )
        return 0

    cdef int place(self, fanion_text text, const char *what) except -1:
        return self.span(FANION_SECTION_BLOB, text.offset, text.length, what)

    cdef int slots(self) except -1:
        cdef uint32_t n
        for n in range(self.s.counts[FANION_SECTION_SLOTS]):
            self.current = n
            self.place(self.s.slots[n].name, b"slot name")
            self.place(self.s.slots[n].context_type, b"slot context type")
            if self.s.slots[n].source > SOURCE_COMPUTED or self.s.slots[n].profile > PROFILE_VERSIONED:
                raise Refused(f"slot {n} has an unknown source or profile")
            if (self.s.slots[n].source == SOURCE_COMPUTED) != (self.s.slots[n].expression != FANION_NONE):
                raise Refused(f"slot {n} is computed without an expression, or the other way round")
        return 0

    cdef int expressions(self) except -1:
        cdef uint32_t n, at = 0, computed = 0, count = self.s.counts[FANION_SECTION_EXPRESSIONS]
        cdef const fanion_constant *constant
        cdef const fanion_expression *one
        cdef const char *fault
        for n in range(self.s.counts[FANION_SECTION_CONSTANTS]):
            self.current = n
            constant = &self.s.constants[n]
            if constant.kind == FANION_CONSTANT_TEXT:
                self.place(constant.content.text, b"constant")
                if constant.content.text.length > TEXT_BYTES_MAX:
                    raise Refused(f"constant {n} is a text of {constant.content.text.length} bytes")
            elif constant.kind == FANION_CONSTANT_LIST:
                if <uint64_t> constant.content.first + constant.count > n or constant.count > STRINGS_MAX:
                    raise Refused(f"constant {n} is a list of what does not stand before it, or too long")
            elif constant.kind > FANION_CONSTANT_LIST:
                raise Refused(f"constant {n} is of kind {constant.kind}")
        for n in range(self.view.slot_count):
            if self.s.slots[n].expression != FANION_NONE:
                if self.s.slots[n].expression != computed or computed >= count or (
                    self.s.expressions[computed].slot != n
                ):
                    raise Refused(f"slot {n} has not expression {computed} of {count}")
                computed += 1
        if computed != count:
            raise Refused(f"{count} expressions for {computed} slots")
        for n in range(count):
            self.current = n
            one = &self.s.expressions[n]
            self.span(FANION_SECTION_STEPS, one.step_first, one.step_count, b"expression")
            fault = fanion_expression_fault(self.s, n, &at)
            if fault != NULL:
                raise Refused(f"expression {n}, step {at}: {fault.decode()}")
        return 0

    cdef int constants(self) except -1:
        cdef uint32_t n, at, empty
        cdef const fanion_set *one
        cdef uint32_t versions = self.s.counts[FANION_SECTION_VERSIONS]
        for n in range(versions):
            self.current = n
            self.place(self.s.versions[n].pre, b"version")
            self.place(self.s.versions[n].build, b"version")
        for n in range(self.s.counts[FANION_SECTION_COMPARATORS]):
            self.current = n
            if self.s.comparators[n].low >= versions or (
                self.s.comparators[n].high != FANION_NONE and self.s.comparators[n].high >= versions
            ):
                raise Refused(f"comparator {n} has no such version")
        for n in range(self.s.counts[FANION_SECTION_SETS]):
            self.current = n
            one = &self.s.sets[n]
            self.span(FANION_SECTION_SET_ITEMS, one.first, one.capacity, b"set")
            empty = 0
            for at in range(one.capacity):
                if self.s.set_items[one.first + at].text.length == FANION_NONE:
                    empty += 1
                else:
                    self.place(self.s.set_items[one.first + at].text, b"set item")
            if not one.folded and one.capacity > FANION_SET_LINEAR:
                if one.capacity & (one.capacity - 1) or not empty:
                    raise Refused(f"set {n} is no table with an empty place")
            elif empty:
                raise Refused(f"set {n} has a hole")
        for n in range(self.s.counts[FANION_SECTION_EXTERNALS]):
            self.current = n
            self.place(self.s.externals[n].operand, b"external")
            if self.s.externals[n].op < OP_TEXT_REGEX or self.s.externals[n].op > OP_LIST_MEMBER:
                raise Refused(f"external {n} has operator {self.s.externals[n].op}")
            if self.s.externals[n].slot >= self.view.slot_count:
                raise Refused(f"external {n} has no such slot")
        return 0

    cdef int decisions(self) except -1:
        cdef uint32_t n, at, count = self.s.counts[FANION_SECTION_DECISIONS], outcomes
        cdef const fanion_decision *one
        cdef const fanion_node *node = NULL
        for n in range(count):
            self.current = n
            one = &self.s.decisions[n]
            self.place(one.key, b"decision key")
            self.span(FANION_SECTION_NODES, one.node_first, one.node_count, b"decision")
            if not one.node_count or one.node_count > 65535 or not 0 < one.depth <= FANION_DEPTH_MAX:
                raise Refused(f"decision {n} has {one.node_count} nodes, depth {one.depth}")
            if one.memo != FANION_NONE:
                if one.memo >= count:
                    raise Refused(f"decision {n} has memo cell {one.memo}")
                self.view.memo_count = max(self.view.memo_count, one.memo + 1)
            outcomes = 0
            for at in range(one.node_count):
                node = &self.s.nodes[one.node_first + at]
                self.node(n, one, node, at)
                if node.type == FANION_OUTCOME:
                    if node.outcome.number != outcomes:
                        raise Refused(f"decision {n} miscounts its outcomes")
                    outcomes += 1
            if node.type != FANION_OUTCOME or outcomes != one.outcome_count:
                raise Refused(f"decision {n} does not end in an outcome, or miscounts them")
        return 0

    cdef int node(self, uint32_t n, const fanion_decision *one, const fanion_node *node, uint32_t at) except -1:
        cdef uint32_t k
        if node.type == FANION_TEST:
            for k in range(4):
                self.target(n, one, at, node.test.exits[k])
            self.operand(n, one, &node.test)
        elif node.type == FANION_HASH:
            self.target(n, one, at, node.hash.on_done)
            if node.hash.on_missing != FANION_NONE:
                self.target(n, one, at, node.hash.on_missing)
            self.pieces(n, node.hash.piece_first, node.hash.piece_count)
            if node.hash.hash > HASH_MURMUR3_32 or node.hash.reduction > REDUCE_UNIT53 or (
                node.hash.reduction != REDUCE_UNIT53
                and not 0 < node.hash.modulus <= <uint64_t> 1 << 31
            ):
                raise Refused(f"decision {n} has an unknown hash or reduction")
        elif node.type == FANION_RANGES:
            self.target(n, one, at, node.branch.on_none)
            self.span(FANION_SECTION_RANGES, node.branch.first, node.branch.count, b"decision")
            for k in range(node.branch.first, node.branch.first + node.branch.count):
                self.target(n, one, at, self.s.ranges[k].target)
        elif node.type == FANION_WEIGHTS:
            self.span(FANION_SECTION_WEIGHTS, node.branch.first, node.branch.count, b"decision")
            if not node.branch.count:
                raise Refused(f"decision {n} has no weights")
            for k in range(node.branch.first, node.branch.first + node.branch.count):
                self.target(n, one, at, self.s.weights[k].target)
        elif node.type == FANION_SCORES:
            self.scores(n, one, at, node.branch.first)
        elif node.type == FANION_KEYED:
            self.target(n, one, at, node.branch.on_none)
            self.keyed(n, one, at, node.branch.first)
        elif node.type == FANION_OUTCOME:
            self.span(FANION_SECTION_REACHED, node.outcome.reached_first, node.outcome.reached_count, b"decision")
        else:
            raise Refused(f"decision {n} has a node of type {node.type}")
        return 0

    cdef int splits(self) except -1:
        cdef uint32_t n
        cdef const fanion_split *split
        cdef const fanion_reached *reached
        for n in range(self.s.counts[FANION_SECTION_SPLITS]):
            self.current = n
            split = &self.s.splits[n]
            self.place(split.flag, b"split")
            self.place(split.run, b"split")
            self.place(split.unit, b"split")
            if split.slot != FANION_NONE and (
                split.slot >= self.view.slot_count or not self.s.slots[split.slot].needs & FANION_NEEDS_TEXT
            ):
                raise Refused(f"split {n} reads no text in slot {split.slot}")
        for n in range(self.s.counts[FANION_SECTION_REACHED]):
            self.current = n
            reached = &self.s.reached[n]
            if reached.split >= self.s.counts[FANION_SECTION_SPLITS] or reached.inside > 1:
                raise Refused(f"reached {n} names split {reached.split}")
            if reached.variant.offset != FANION_NONE:
                self.place(reached.variant, b"reached")
        return 0

    cdef int pieces(self, uint32_t n, uint32_t first, uint32_t count) except -1:
        cdef uint32_t k
        self.span(FANION_SECTION_PIECES, first, count, b"decision")
        for k in range(first, first + count):
            if self.s.pieces[k].kind == PIECE_LITERAL:
                self.place(self.s.pieces[k].literal, b"literal")
            elif self.s.pieces[k].kind > PIECE_BYTE_LENGTH:
                raise Refused(f"decision {n} has a piece of kind {self.s.pieces[k].kind}")
            else:
                self.slot(n, self.s.pieces[k].slot, FANION_NEEDS_TEXT)
        return 0

    cdef int vectors(self) except -1:
        cdef uint32_t n
        for n in range(self.s.counts[FANION_SECTION_VECTORS]):
            self.current = n
            self.place(self.s.vectors[n].key, b"vector")
            self.place(self.s.vectors[n].note, b"vector")
            self.span(FANION_SECTION_NUMBERS, self.s.vectors[n].first, self.s.vectors[n].count, b"vector")
        for n in range(self.s.counts[FANION_SECTION_VALUES]):
            self.current = n
            self.place(self.s.values[n].text, b"value")
        return 0

    cdef int scores(self, uint32_t n, const fanion_decision *one, uint32_t at, uint32_t number) except -1:
        cdef uint32_t k, j
        cdef const fanion_model *model
        cdef const fanion_alternative *alternative
        cdef const fanion_term *term
        self.span(FANION_SECTION_MODELS, number, 1, b"decision")
        model = &self.s.models[number]
        self.span(FANION_SECTION_ALTERNATIVES, model.first, model.count, b"model")
        if not 0 < model.count <= ALTERNATIVES_MAX:
            raise Refused(f"decision {n} scores {model.count} alternatives")
        for k in range(model.first, model.first + model.count):
            alternative = &self.s.alternatives[k]
            self.target(n, one, at, alternative.target)
            self.span(FANION_SECTION_TERMS, alternative.term_first, alternative.term_count, b"alternative")
            for j in range(alternative.term_first, alternative.term_first + alternative.term_count):
                term = &self.s.terms[j]
                if term.kind > FANION_TERM_TEXT:
                    raise Refused(f"decision {n} has a term of kind {term.kind}")
                self.slot(n, term.slot, FANION_NEEDS_TEXT if term.kind == FANION_TERM_TEXT else 0)
                self.span(FANION_SECTION_VALUES, term.first, term.count, b"term")
        return 0

    cdef int keyed(self, uint32_t n, const fanion_decision *one, uint32_t at, uint32_t number) except -1:
        cdef uint32_t k, targets
        cdef const fanion_keyed *keyed
        self.span(FANION_SECTION_KEYED, number, 1, b"decision")
        keyed = &self.s.keyed[number]
        self.pieces(n, keyed.piece_first, keyed.piece_count)
        self.span(FANION_SECTION_VECTORS, keyed.vector_first, keyed.vector_count, b"decision")
        if keyed.fallback != FANION_NONE:
            self.span(FANION_SECTION_VECTORS, keyed.fallback, 1, b"decision")
        if not 0 < keyed.count <= ALTERNATIVES_MAX:
            raise Refused(f"decision {n} weighs {keyed.count} alternatives")
        targets = keyed.count
        if keyed.count_slot != FANION_NONE:
            targets = 1
            self.slot(n, keyed.count_slot, 0)
        self.span(FANION_SECTION_TARGETS, keyed.target_first, targets, b"decision")
        for k in range(keyed.target_first, keyed.target_first + targets):
            self.target(n, one, at, self.s.targets[k])
        return 0

    cdef int target(self, uint32_t n, const fanion_decision *one, uint32_t at, uint32_t target) except -1:
        if not at < target < one.node_count:
            raise Refused(f"decision {n}: node {at} points to {target} of {one.node_count}")
        return 0

    cdef int slot(self, uint32_t n, uint32_t slot, uint32_t needs) except -1:
        if slot >= self.view.slot_count:
            raise Refused(f"decision {n} reads slot {slot} of {self.view.slot_count}")
        if needs & ~(<uint32_t> self.s.slots[slot].needs):
            raise Refused(f"decision {n} needs more of slot {slot} than it gives")
        return 0

    cdef int operand(self, uint32_t n, const fanion_decision *one, const fanion_test *test) except -1:
        cdef uint32_t k, op = test.op
        cdef const fanion_decision *asked
        if op == OP_DECISION_IS:
            if test.operand.asked.decision >= n:
                raise Refused(f"decision {n} asks decision {test.operand.asked.decision}")
            asked = &self.s.decisions[test.operand.asked.decision]
            if asked.memo == FANION_NONE or asked.depth >= one.depth:
                raise Refused(f"decision {n} asks one without a memo cell, or too deep")
            return 0
        if op > OP_LIST_MEMBER or test.relation > 3:
            raise Refused(f"decision {n} has operator {op}")
        self.slot(n, test.slot, 0)
        if OP_TEXT_IN <= op <= OP_TEXT_ENDS or op >= OP_TEXT_REGEX:
            self.slot(n, test.slot, FANION_NEEDS_TEXT)
        if op == OP_ORDER_TEXT:
            self.slot(n, test.slot, FANION_NEEDS_NUMBER)
        if op in (OP_STRING_IN, OP_TEXT_IN):
            self.span(FANION_SECTION_SETS, test.operand.record.first, 1, b"decision")
            if (test.flags & FANION_FOLD != 0) != (self.s.sets[test.operand.record.first].folded != 0):
                raise Refused(f"decision {n} folds a set that is not, or the other way round")
        elif op == OP_EQ_STRING or OP_STRING_CONTAINS <= op <= OP_STRING_ENDS or (
            OP_TEXT_CONTAINS <= op <= OP_TEXT_ENDS
        ):
            self.place(test.operand.text, b"decision")
        elif op in (OP_EQ_VERSION, OP_ORDER_VERSION):
            self.span(FANION_SECTION_VERSIONS, test.operand.record.first, 1, b"decision")
        elif op == OP_VERSION_MATCHES:
            k = test.operand.record.count
            self.span(FANION_SECTION_COMPARATORS, test.operand.record.first, k, b"decision")
        elif op >= OP_TEXT_REGEX:
            self.span(FANION_SECTION_EXTERNALS, test.operand.record.first, 1, b"decision")
            if self.s.externals[test.operand.record.first].slot != test.slot or (
                self.s.externals[test.operand.record.first].op != op
            ):
                raise Refused(f"decision {n} has another external's number")
        return 0

    cdef int fragments(self) except -1:
        cdef uint32_t n
        for n in range(self.s.counts[FANION_SECTION_ROPES]):
            self.current = n
            if self.s.ropes[n].offset == FANION_NONE:
                if self.s.ropes[n].length >= HOLES_MAX:
                    raise Refused(f"rope {n} is hole {self.s.ropes[n].length}")
            else:
                self.place(self.s.ropes[n], b"rope")
        for n in range(self.s.counts[FANION_SECTION_FRAGMENTS]):
            self.current = n
            self.span(
                FANION_SECTION_ROPES, self.s.fragments[n].rope_first, self.s.fragments[n].rope_count, b"fragment"
            )
        for n in range(self.s.counts[FANION_SECTION_DOCUMENTS]):
            self.current = n
            self.place(self.s.documents[n].name, b"document name")
            self.place(self.s.documents[n].content, b"document")
        return 0

    cdef int tables(self) except -1:
        cdef uint32_t n, at, empty
        cdef const fanion_table *table
        cdef const fanion_entry *entry
        for n in range(self.s.counts[FANION_SECTION_TABLES]):
            self.current = n
            table = &self.s.tables[n]
            self.place(table.name, b"table name")
            self.span(FANION_SECTION_ENTRIES, table.entry_first, table.entry_count, b"table")
            self.span(FANION_SECTION_INDEX, table.index_first, <uint64_t> table.index_mask + 1, b"table index")
            self.span(FANION_SECTION_FRAGMENTS, table.absent, 1, b"absent fragment")
            empty = 0
            for at in range(table.index_mask + 1):
                if self.s.index[table.index_first + at] > table.entry_count:
                    raise Refused(f"table {n} has an index place without an entry")
                empty += self.s.index[table.index_first + at] == 0
            if table.index_mask & (table.index_mask + 1) or not empty:
                raise Refused(f"table {n} has an index that is no table with an empty place")
        for n in range(self.s.counts[FANION_SECTION_ENTRIES]):
            self.current = n
            entry = &self.s.entries[n]
            self.place(entry.key, b"entry key")
            self.place(entry.json, b"entry key as JSON")
            if entry.decision >= self.s.counts[FANION_SECTION_DECISIONS]:
                raise Refused(f"entry {n} has no such decision")
            at = self.s.decisions[entry.decision].outcome_count
            self.span(FANION_SECTION_FRAGMENTS, entry.fragment_first, at, b"entry")
        return 0

    cdef int overlays(self) except -1:
        cdef uint32_t n, at
        cdef const fanion_overlay *overlay
        cdef const fanion_entry *entry
        for n in range(self.s.counts[FANION_SECTION_OVERLAYS]):
            self.current = n
            overlay = &self.s.overlays[n]
            self.span(FANION_SECTION_TABLES, overlay.table, 1, b"overlay")
            self.span(FANION_SECTION_ROWS, overlay.row_first, overlay.row_count, b"overlay")
            if not 0 < overlay.view_count <= HOLES_MAX:
                raise Refused(f"overlay {n} has {overlay.view_count} views")
            for at in range(self.s.tables[overlay.table].entry_count):
                entry = &self.s.entries[self.s.tables[overlay.table].entry_first + at]
                if entry.row != FANION_NONE and entry.row > overlay.row_count:
                    raise Refused(f"entry {at} of overlay {n} names row {entry.row}")
            for at in range(overlay.row_first, overlay.row_first + overlay.row_count):
                self.current = at
                self.row(overlay, &self.s.rows[at])
        return 0

    cdef int row(self, const fanion_overlay *overlay, const fanion_row *row) except -1:
        cdef uint32_t n, at, count
        cdef const fanion_row_outcome *outcome
        if row.decision >= self.s.counts[FANION_SECTION_DECISIONS]:
            raise Refused(f"row {self.current} has no such decision")
        if row.group >= overlay.row_count:
            raise Refused(f"row {self.current} is of group {row.group}")
        if row.slot != FANION_NONE:
            self.slot(row.decision, row.slot, FANION_NEEDS_TEXT)
        count = self.s.decisions[row.decision].outcome_count
        self.span(FANION_SECTION_ROW_OUTCOMES, row.outcome_first, count, b"row")
        for n in range(row.outcome_first, row.outcome_first + count):
            outcome = &self.s.row_outcomes[n]
            self.span(FANION_SECTION_FRAGMENTS, outcome.fragment_first, overlay.view_count, b"row")
            self.span(FANION_SECTION_PATCHES, outcome.patch_first, outcome.patch_count, b"row")
            for at in range(outcome.patch_first, outcome.patch_first + outcome.patch_count):
                self.span(FANION_SECTION_FRAGMENTS, self.s.patches[at].fragment, 1, b"patch")
                if self.s.patches[at].entry >= self.s.tables[overlay.table].entry_count:
                    raise Refused(f"patch {at} names entry {self.s.patches[at].entry}")
        return 0
