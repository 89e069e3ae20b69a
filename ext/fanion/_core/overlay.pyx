"""Answers from a table with rows: every row's decision is run, and its values are laid over the entries.

The rules stand in `fanion.model.layers`. One `Overlay` belongs to one `Bundle` and to its thread. A request is
`run`, then `emit`, with nothing asked of the bundle in between; the context's objects are kept until `emit`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fanion._core.emit_json cimport put, put_json_text
from fanion._core.evaluate cimport Bundle
from fanion._core.layout cimport *
from fanion._core.machine cimport fanion_integer_text, frame
from fanion._core.match cimport cell
from fanion._core.prepared cimport PreparedList


cdef extern from "Python.h":
    char *PyOS_double_to_string(double value, char format_code, int precision, int flags, int *ptype) except NULL


# A row in the current request.
cdef struct row_state:
    const fanion_row_outcome *outcome
    int64_t bucket
    int64_t choice
    double probability
    uint64_t asked               # number of the last request that asked for one of its entries


# An entry in the current request.
cdef struct entry_state:
    uint64_t asked               # number of the last request that asked for it
    uint64_t patched             # number of the last request in which `fragment` took its own one's place
    uint32_t fragment


cdef class Overlay:
    """The rows of one of a bundle's tables. Raises LookupError where the table has none."""

    cdef Bundle bundle
    cdef const fanion_overlay *overlay     # borrowed from the bundle, as all below, until it is closed
    cdef const fanion_row *rows
    cdef const fanion_entry *entries
    cdef const fanion_table *table
    cdef int number                        # of the table
    cdef row_state *row_states             # owned; one per row
    cdef entry_state *entry_states         # owned; one per entry
    cdef uint32_t *order                   # owned; entries in the order asked for
    cdef uint32_t asked                    # how many there are in it
    cdef uint64_t request                  # number of the current request; 0: none yet
    cdef uint32_t stamp                    # the bundle's stamp of the current request
    cdef dict guests                       # key -> JSON bytes, of the current request
    cdef dict strangers                    # guests that the table has no entry for, as keys
    cdef object context                    # what the bundle has borrowed
    cdef bint assigned                     # whether the current request returns everything

    def __cinit__(self, Bundle bundle not None, int table):
        cdef uint32_t n
        bundle.require()
        self.overlay = NULL
        for n in range(bundle.s.counts[FANION_SECTION_OVERLAYS]):
            if <int> bundle.s.overlays[n].table == table:
                self.overlay = &bundle.s.overlays[n]
        if self.overlay == NULL:
            raise LookupError(f"table {table} has no rows")
        self.bundle = bundle
        self.number = table
        self.table = &bundle.s.tables[table]
        self.rows = &bundle.s.rows[self.overlay.row_first]
        self.entries = &bundle.s.entries[self.table.entry_first]
        self.row_states = <row_state *> calloc(self.overlay.row_count + 1, sizeof(row_state))
        self.entry_states = <entry_state *> calloc(self.table.entry_count + 1, sizeof(entry_state))
        self.order = <uint32_t *> calloc(self.table.entry_count + 1, sizeof(uint32_t))
        if self.row_states == NULL or self.entry_states == NULL or self.order == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.row_states)
        free(self.entry_states)
        free(self.order)

    def run(self, list keys, dict guests, dict members, dict attributes, tuple contexts, bint assigned=False):
        """Decides every row; returns the notes of the outcomes, without zeros, in row order.

        `keys` None asks for every entry but guests. `guests`: key -> JSON bytes, the caller's values for
        keys that the table has none for; with `keys`, only those among them count. `assigned`: this is an answer
        that returns everything, as it is without `keys`.
        """
        cdef uint32_t n
        self.begin(guests, members, attributes, contexts, assigned or keys is None)
        if keys is None:
            for n in range(self.table.entry_count):
                if self.entries[n].row != FANION_NONE:
                    self.ask(n)
            keys = list(guests) if guests else []
        for key in keys:
            self.ask_key(key)
        return self.decide_rows()

    def run_prepared(
        self, PreparedList asked not None, dict members, dict attributes, tuple contexts, bint assigned=False
    ):
        """As `run` without guests, for a list of this table that was looked up before."""
        cdef uint32_t n
        if asked.bundle is not self.bundle or asked.table != self.number:
            raise ValueError("a list of another table")
        self.begin(None, members, attributes, contexts, assigned)
        for n in range(asked.count):
            if asked.entries[n] != FANION_NONE:
                self.ask_known(asked.entries[n] - self.table.entry_first)
        return self.decide_rows()

    cdef int begin(self, dict guests, dict members, dict attributes, tuple contexts, bint assigned) except -1:
        self.bundle.begin(members, attributes, contexts)
        self.context = (members, attributes, contexts)
        self.stamp = self.bundle.machine.stamp
        self.request += 1
        self.asked = 0
        self.guests = guests
        self.assigned = assigned
        self.strangers = {}
        return 0

    cdef tuple decide_rows(self):
        cdef list notes = None
        cdef uint32_t n
        for n in range(self.overlay.row_count):
            self.decide_row(n)
            if self.row_states[n].outcome.note:
                if notes is None:
                    notes = []
                notes.append(self.row_states[n].outcome.note)
        if self.bundle.noted:
            self.bundle.publish()
        return () if notes is None else tuple(notes)

    def text(self, uint32_t slot):
        """A slot's text form as JSON; `""` where it has none. Between `run` and `emit`."""
        cdef const cell *value
        self.check()
        if slot >= self.bundle.slot_count:
            raise IndexError(f"slot {slot} of {self.bundle.slot_count}")
        value = self.bound(slot)
        if value.text == NULL:
            return b'""'
        self.bundle.out.length = 0
        put_json_text(&self.bundle.out, value.text, value.length)
        return PyBytes_FromStringAndSize(self.bundle.out.data, self.bundle.out.length)

    def emit(self, tuple heads not None, bytes unasked not None, bytes chance not None):
        """heads[0], `"key":value` of all that is asked for, heads[1], the rows' first view, heads[2], and so on.

        `unasked` and `chance` are what RowHole.UNASKED and RowHole.PROBABILITY write.
        """
        cdef uint32_t n, view
        cdef uint32_t views = self.overlay.view_count
        cdef bytes head
        self.check()
        if len(heads) != <Py_ssize_t> views + 2:
            raise ValueError(f"{len(heads)} heads for {views} views")
        self.bundle.out.length = 0
        head = heads[0]
        put(&self.bundle.out, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
        for n in range(self.asked):
            if n:
                put(&self.bundle.out, b",", 1)
            self.put_value(self.order[n])
        self.put_strangers(self.asked == 0)
        for view in range(views):
            head = heads[view + 1]
            put(&self.bundle.out, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
            self.put_view(view, unasked, chance)
        head = heads[views + 1]
        put(&self.bundle.out, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
        if self.bundle.noted:
            self.bundle.publish()
        self.context = self.guests = self.strangers = None
        self.stamp = 0
        return PyBytes_FromStringAndSize(self.bundle.out.data, self.bundle.out.length)

    cdef int check(self) except -1:
        self.bundle.require()
        if self.stamp == 0 or self.stamp != self.bundle.machine.stamp:
            raise RuntimeError("the bundle was asked something else since `run`")
        return 0

    cdef int ask(self, uint32_t number) except -1:
        cdef uint32_t row = self.entries[number].row
        if self.entry_states[number].asked == self.request:
            return 0
        self.entry_states[number].asked = self.request
        self.order[self.asked] = number
        self.asked += 1
        if row != 0 and row != FANION_NONE:
            self.row_states[row - 1].asked = self.request
        return 0

    cdef int ask_known(self, uint32_t number) except -1:
        FANION_ASSERT(number < self.table.entry_count)
        return self.ask(number) if self.entries[number].row != FANION_NONE else 0

    cdef int ask_key(self, str key) except -1:
        cdef Py_ssize_t length = 0
        cdef const char *text = PyUnicode_AsUTF8AndSize(key, &length)
        cdef const fanion_entry *entry = self.bundle.find(self.table, text, length)
        if entry == NULL:
            if self.guests is not None and key in self.guests:
                self.strangers[key] = None
        elif entry.row != FANION_NONE or (self.guests is not None and key in self.guests):
            self.ask(<uint32_t> (entry - self.entries))
        return 0

    cdef int decide_row(self, uint32_t number) except -1:
        cdef const fanion_row *row = &self.rows[number]
        cdef row_state *state = &self.row_states[number]
        cdef const fanion_patch *patch
        cdef const frame *registers
        cdef uint32_t n
        cdef const fanion_outcome *outcome = self.bundle.decide(row.decision)
        state.outcome = &self.bundle.s.row_outcomes[row.outcome_first + outcome.number]
        if outcome.reached_count and self.bundle.exposing is not None:
            if self.row_states[row.group].asked == self.request:
                self.bundle.note(outcome, self.number, self.assigned)
        registers = &self.bundle.machine.frames[0]
        state.bucket = registers.bucket
        state.choice = registers.choice
        state.probability = registers.probability
        if self.row_states[row.group].asked == self.request:
            for n in range(state.outcome.patch_first, state.outcome.patch_first + state.outcome.patch_count):
                patch = &self.bundle.s.patches[n]
                self.entry_states[patch.entry].patched = self.request
                self.entry_states[patch.entry].fragment = patch.fragment
        return 0

    cdef const cell *bound(self, uint32_t slot) except NULL:
        if self.bundle.machine.cells[slot].stamp != self.bundle.machine.stamp:
            self.bundle.binder.bind(slot)
        return &self.bundle.machine.cells[slot]

    cdef int put_value(self, uint32_t number) except -1:
        cdef const fanion_entry *entry = &self.entries[number]
        cdef bytes brought
        put(&self.bundle.out, self.bundle.s.blob + entry.json.offset, entry.json.length)
        put(&self.bundle.out, b":", 1)
        if self.entry_states[number].patched == self.request:
            self.bundle.put_fragment(self.entry_states[number].fragment)
        elif entry.row == FANION_NONE:
            brought = self.guests[self.bundle.text(entry.key)]
            put(&self.bundle.out, PyBytes_AS_STRING(brought), PyBytes_GET_SIZE(brought))
        else:
            self.bundle.put_entry(entry, self.number)
        return 0

    cdef int put_strangers(self, bint first) except -1:
        cdef Py_ssize_t length = 0
        cdef const char *text
        cdef bytes brought
        for key in self.strangers:
            if not first:
                put(&self.bundle.out, b",", 1)
            first = False
            text = PyUnicode_AsUTF8AndSize(key, &length)
            put_json_text(&self.bundle.out, text, length)
            put(&self.bundle.out, b":", 1)
            brought = self.guests[key]
            put(&self.bundle.out, PyBytes_AS_STRING(brought), PyBytes_GET_SIZE(brought))
        return 0

    cdef int put_view(self, uint32_t view, bytes unasked, bytes chance) except -1:
        cdef bint first = True
        cdef uint32_t n, k, fragment
        cdef const fanion_fragment *found
        for n in range(self.overlay.row_count):
            fragment = self.row_states[n].outcome.fragment_first + view
            found = &self.bundle.s.fragments[fragment]
            if not found.rope_count:
                continue
            if not first:
                put(&self.bundle.out, b",", 1)
            first = False
            for k in range(found.rope_first, found.rope_first + found.rope_count):
                if self.bundle.s.ropes[k].offset != FANION_NONE:
                    put(
                        &self.bundle.out,
                        self.bundle.s.blob + self.bundle.s.ropes[k].offset,
                        self.bundle.s.ropes[k].length,
                    )
                else:
                    self.put_hole(n, self.bundle.s.ropes[k].length, unasked, chance)
        return 0

    cdef int put_hole(self, uint32_t number, uint32_t hole, bytes unasked, bytes chance) except -1:
        cdef const row_state *state = &self.row_states[number]
        cdef const cell *value
        cdef char[32] digits
        cdef bytes brought
        if hole == ROW_HOLE_BUCKET:
            put(&self.bundle.out, digits, fanion_integer_text(state.bucket, digits))
        elif hole == ROW_HOLE_CHOICE:
            put(&self.bundle.out, digits, fanion_integer_text(state.choice, digits))
        elif hole == ROW_HOLE_PROBABILITY:
            if 0 < state.probability <= 1:
                put(&self.bundle.out, PyBytes_AS_STRING(chance), PyBytes_GET_SIZE(chance))
                brought = shortest(state.probability)
                put(&self.bundle.out, PyBytes_AS_STRING(brought), PyBytes_GET_SIZE(brought))
        elif hole == ROW_HOLE_UNIT:
            value = NULL
            if self.rows[number].slot != FANION_NONE:
                value = self.bound(self.rows[number].slot)
            if value == NULL or value.text == NULL:
                put(&self.bundle.out, b'""', 2)
            else:
                put_json_text(&self.bundle.out, value.text, value.length)
        elif hole == ROW_HOLE_UNASKED:
            if self.row_states[self.rows[number].group].asked != self.request:
                put(&self.bundle.out, PyBytes_AS_STRING(unasked), PyBytes_GET_SIZE(unasked))
        return 0


cdef bytes shortest(double number):
    """The shortest digits that read back as the same double, as JSON."""
    cdef char *text = PyOS_double_to_string(number, c'r', 0, 0, NULL)
    cdef bytes made = text
    PyMem_Free(text)
    return made
