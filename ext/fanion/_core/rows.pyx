"""Records to columns: the fast twin of `fanion.journal.rows`; see `fanion_rows.h`. Long: one class, called per row.

A shape names the members. What can't be read exactly is asked of `plain`, event by event or record by record, so
that both say the same.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fanion._core.columns cimport (
    ATTRIBUTES, COUNTS, DIALECT, DISPOSITION, ENVIRONMENT, EPOCH, EVENT_AT, EVENT_ID, FLAG, GENERATION, INDEX, KIND,
    MACHINE, METRIC, PARAMETER, PART, REASON, RECEIVED_AT, RUN, SENT_AT, SEQUENCE, TIME_FROM, UNIT, UNIT_HASHED,
    UNIT_KIND, VALUE, VALUE_TEXT, VARIANT, VERIFIED, WRITER, Columns, fanion_dictionary_number, fanion_texts_add,
)
from fanion._core.exposure_body cimport (
    ASSIGNED, DIGEST_BYTES, EXPOSURE_FORM, EXPOSURE_HEAD, INSIDE, KEYED, RUN_BYTES, Reading, Said, hexadecimal,
    read_exposure,
)
from fanion._core.row_shape cimport (
    FANION_SAID_FALSE, FANION_SAID_NOTHING, FANION_SAID_NUMBER, FANION_SAID_TEXT, FANION_SAID_TRUE, T_EVENT_ID,
    T_FLAG, T_METRIC, T_PARAMETER, T_REASON, T_SENT, T_UNIT, T_UNIT_KIND, T_VALUE, T_VARIANT, Shape,
    fanion_rows_cursor, fanion_rows_take, fanion_flat_text, fanion_rows_begin, fanion_rows_end, fanion_rows_event,
    fanion_rows_event_read, fanion_rows_value, pick,
)


cdef extern from "fanion_unit_key.h" nogil:
    enum:
        FANION_UNIT_KEY_BYTES

    ctypedef struct fanion_unit_key:
        pass

    void fanion_unit_key_set(fanion_unit_key *made, const uint8_t *key)
    void fanion_unit_key_apply(const fanion_unit_key *key, uint8_t *digest)
    void fanion_unit_key_name(
        const fanion_unit_key *key, const char *text, uint64_t length, bint hashed, uint8_t *digest
    )


cdef extern from "fanion_journal_format.h" nogil:
    enum:
        FANION_KIND_EXPOSURES


# Dispositions, as records have them.
cdef enum:
    KEPT = 0
    VERIFIED_CODE = 1
    DUPLICATE = 2


# Whose columns: a kind's own, or those of all others.
cdef enum:
    OTHERS = 0
    OWN = 1


# What all rows of a record share.
cdef struct Known:
    int32_t environment[2]  # its number on either side
    int32_t dialect[2]
    uint64_t sequence
    int64_t received_us
    const uint8_t *dispositions
    uint32_t disposition_count
    uint32_t environment_number  # the reader's
    bint keyed                   # units' digests are, by the builder's key


cdef class RowBuilder:
    """Fills `Columns`, batch after batch, until they are taken.

    `kinds`, `dispositions`, `times`: the texts that rows have for them, `times` of a time that was sent, received,
    implausible. `age_max_us`, `ahead_max_us`: how far a sent time may lie before and behind the receipt. `own`: a
    kind whose rows have columns of their own; None: none.
    """

    cdef Columns _columns  # of the side that rows are added to
    cdef Columns _others, _own  # made when they are needed: what was taken may be gone by then, and leave its memory
    cdef int _side
    cdef int32_t _own_kind  # number of a kind; -1: none
    cdef fanion_rows_event _event
    cdef tuple _kinds, _dispositions, _times
    cdef int64_t _age_max_us, _ahead_max_us
    cdef int32_t _served, _assigned  # numbers of kinds
    cdef dict _flags  # (side, dialect's number, environment's, parameter's) -> the flag's
    cdef int32_t _machine[2]
    cdef uint32_t _writer
    cdef uint64_t _epoch
    cdef bytes _key  # whose `_unit_key` is; None: no environment's yet
    cdef fanion_unit_key _unit_key

    def __init__(
        self, *, tuple kinds, tuple dispositions, tuple times, int64_t age_max_us, int64_t ahead_max_us, str own=None,
    ):
        self._kinds, self._dispositions, self._times = kinds, dispositions, times
        self._served, self._assigned = kinds.index("served"), kinds.index("assigned")
        self._age_max_us, self._ahead_max_us = age_max_us, ahead_max_us
        self._own_kind = -1 if own is None else kinds.index(own)

    cdef int begin(self) except -1:
        """Nothing, if there are columns."""
        if self._others is None:
            self._flags = {}
            self._own = self.begun()
            self._others = self._own if self._own_kind < 0 else self.begun()
            self.turn(OTHERS)
        return 0

    cdef Columns begun(self):
        self._columns = Columns()
        for place, texts in ((KIND, self._kinds), (DISPOSITION, self._dispositions), (TIME_FROM, self._times)):
            for text in texts:
                self.number(place, text)
        return self._columns

    cdef inline int turn(self, int side) except -1:
        self._side, self._columns = side, self._own if side == OWN else self._others
        return 0

    cdef inline int turn_to(self, int32_t kind) except -1:
        """To the columns of this kind's rows."""
        cdef int side = OWN if kind == self._own_kind else OTHERS
        return self.turn(side) if side != self._side else 0

    @property
    def rows(self):
        if self._others is None:
            return 0
        return self._others.rows if self._own is self._others else self._others.rows + self._own.rows

    @property
    def text_bytes(self):
        """Of the column that has the most; beyond 2 GiB no text can be added."""
        return 0 if self._others is None else max(self._own.text_bytes(), self._others.text_bytes())

    def take(self):
        """The `Columns` filled so far, which are the caller's then: where a kind has its own, those and the others,
        as far as there are rows; else one."""
        cdef Columns one
        self.begin()
        taken = [self._own]
        if self._others is not self._own:
            taken = [one for one in (self._own, self._others) if one.rows]
        for one in taken:
            one.finish()
        self._columns = self._own = self._others = None
        return taken

    cdef int32_t number(self, int place, str text) except -1:
        cdef bytes raw = text.encode()
        return self.number_of(place, raw, len(raw))

    cdef inline int32_t number_of(self, int place, const char *text, uint64_t length) except -1:
        cdef int32_t number = fanion_dictionary_number(&self._columns.columns[place].names, text, length)
        if number < 0:
            raise MemoryError
        return number

    def expand(
        self, const uint8_t[::1] buffer not None, table not None, str machine not None, uint32_t writer,
        uint64_t epoch, list dialects not None, list environments not None, list keys not None,
        dict shapes not None, plain not None, flag_of not None,
    ):
        """The rows of a batch's records. `table`: a `RecordTable` over `buffer`. `keys`: of each of the
        `environments` the key of its units' digests, or None. `shapes`: dialect -> Shape.

        `plain(row, index)`: the rows of the record's event, or of the whole record for index -1, as
        `fanion.journal.rows.Row`. `flag_of(dialect, environment, parameter)`: a flag or None.
        """
        cdef uint64_t[::1] sequences = table.sequence, received = table.received_ns
        cdef uint32_t[::1] dialect = table.dialect, environment = table.environment
        cdef uint32_t[::1] dispositions = table.dispositions, disposition_count = table.disposition_count
        cdef uint32_t[::1] body = table.body, body_bytes = table.body_bytes
        cdef uint8_t[::1] whole = table.whole, kind = table.kind
        cdef uint64_t available = <uint64_t>buffer.shape[0]
        cdef uint32_t row, count = table.count
        cdef uint32_t known_dialect = 0xFFFFFFFF, known_environment = 0xFFFFFFFF
        cdef Known known
        cdef Shape shape
        self.begin()
        self.cut(self._own.rows, self._others.rows)  # what a row that failed half way has left
        self._writer, self._epoch = writer, epoch
        self.number_both(MACHINE, machine, self._machine)
        for row in range(count):
            if <uint64_t>body[row] + body_bytes[row] > available or not body_bytes[row]:
                self.add_all(plain(row, -1))
                continue
            if <uint64_t>dispositions[row] + disposition_count[row] > available:
                raise ValueError("the table is of another buffer")
            shape = None
            if kind[row] != FANION_KIND_EXPOSURES:
                shape = shapes.get(dialects[dialect[row]])
                if shape is None:
                    self.add_all(plain(row, -1))
                    continue
            if dialect[row] != known_dialect:
                self.number_both(DIALECT, dialects[dialect[row]], known.dialect)
                known_dialect = dialect[row]
            if environment[row] != known_environment:
                self.number_both(ENVIRONMENT, environments[environment[row]], known.environment)
                known.keyed = self.set_key(keys[environment[row]])
                known.environment_number = known_environment = environment[row]
            known.sequence, known.received_us = sequences[row], <int64_t>(received[row] // 1000)
            known.dispositions = &buffer[0] + dispositions[row]
            known.disposition_count = disposition_count[row]
            if shape is None:
                self.exposures(&known, &buffer[0] + body[row], body_bytes[row], row, plain)
                continue
            self.record(
                shape, &known, &buffer[0] + body[row], body_bytes[row], whole[row] != 0, row, plain, flag_of,
                (dialects[dialect[row]], environments[environment[row]]),
            )

    cdef int number_both(self, int place, str text, int32_t *numbers) except -1:
        """On either side."""
        cdef int side
        for side in range(2):
            self.turn(side)
            numbers[side] = self.number(place, text)
        return 0

    cdef int cut(self, uint64_t own, uint64_t others) except -1:
        """Takes back all behind these rows."""
        self._own.cut(own)
        self._others.cut(others)
        return 0

    cdef bint set_key(self, bytes key) except -1:
        """Whether there is one, which the next units are keyed by."""
        if key is not None and key is not self._key:
            if len(key) != FANION_UNIT_KEY_BYTES:
                raise ValueError(f"a key of {len(key)} bytes; {FANION_UNIT_KEY_BYTES} are needed")
            fanion_unit_key_set(&self._unit_key, <const uint8_t *><const char *>key)
            self._key = key
        return key is not None

    cdef int exposures(self, Known *known, const uint8_t *body, uint64_t length, uint32_t row, plain) except -1:
        cdef Reading reading
        cdef Said said
        cdef uint64_t own = self._own.rows, others = self._others.rows
        cdef uint32_t index = 0, count = 0
        reading.at, reading.end = body, body + length
        memset(&said, 0, sizeof(said))
        if length >= EXPOSURE_HEAD and body[0] == EXPOSURE_FORM:
            count = body[2] | <uint32_t>body[3] << 8
            memcpy(&said.generation, body + 8, 8)
            reading.at += EXPOSURE_HEAD
            while index < count and read_exposure(&reading, &said):
                self.add_exposure(known, index, &said)
                index += 1
            if index == count and reading.at == reading.end:
                return 0
        self.cut(own, others)
        return self.add_all(plain(row, -1))

    cdef int add_exposure(self, Known *known, uint32_t index, const Said *said) except -1:
        cdef int32_t kind = self._assigned if said.bits & ASSIGNED else self._served
        cdef uint64_t row = self.identify(known, kind, index, 0)
        cdef Columns columns = self._columns
        cdef char[2 * DIGEST_BYTES] digits
        cdef uint8_t[DIGEST_BYTES] digest
        cdef int place
        (<int32_t *>columns.columns[DISPOSITION].data.at)[row] = KEPT
        columns.columns[COUNTS].data.at[row] = True
        columns.columns[VERIFIED].data.at[row] = columns.columns[VERIFIED].valid.at[row] = False
        columns.columns[UNIT_HASHED].data.at[row] = True
        self.set_time(row, known.received_us, NULL)
        for place in (PARAMETER, METRIC):
            (<int32_t *>columns.columns[place].data.at)[row] = -1
        self.put_text(EVENT_ID, row, "", 0, False)
        self.set_value(row, NULL)
        self.set_number(UNIT_KIND, row, &said.unit_kind)
        if known.keyed and not said.bits & KEYED:
            memcpy(digest, said.unit, DIGEST_BYTES)
            fanion_unit_key_apply(&self._unit_key, digest)
            self.put_digest(row, digest)
        else:
            self.put_digest(row, said.unit)
        self.set_number(FLAG, row, &said.flag)
        self.set_number(VARIANT, row, &said.variant)
        (<int32_t *>columns.columns[REASON].data.at)[row] = (
            self.number_of(REASON, "in", 2) if said.bits & INSIDE else self.number_of(REASON, "out", 3)
        )
        hexadecimal(said.run, RUN_BYTES, digits)
        (<int32_t *>columns.columns[RUN].data.at)[row] = self.number_of(RUN, digits, 2 * RUN_BYTES)
        (<uint64_t *>columns.columns[GENERATION].data.at)[row] = said.generation
        columns.columns[GENERATION].valid.at[row] = True
        self.put_text(
            ATTRIBUTES, row, said.attributes.text, said.attributes.length, said.attributes.text != NULL
        )
        columns.rows = row + 1
        return 0

    cdef inline uint64_t identify(
        self, Known *known, int32_t kind, uint32_t index, uint32_t part
    ) except? 0xFFFFFFFFFFFFFFFF:
        """Where the next row stands in its kind's columns, which says what it is of."""
        self.turn_to(kind)
        cdef Columns columns = self._columns
        cdef uint64_t row = columns.rows
        if row == columns.room:
            columns.make_room()
        (<int32_t *>columns.columns[KIND].data.at)[row] = kind
        (<int32_t *>columns.columns[MACHINE].data.at)[row] = self._machine[self._side]
        (<uint32_t *>columns.columns[WRITER].data.at)[row] = self._writer
        (<uint64_t *>columns.columns[EPOCH].data.at)[row] = self._epoch
        (<uint64_t *>columns.columns[SEQUENCE].data.at)[row] = known.sequence
        (<uint32_t *>columns.columns[INDEX].data.at)[row] = index
        (<uint32_t *>columns.columns[PART].data.at)[row] = part
        (<int32_t *>columns.columns[ENVIRONMENT].data.at)[row] = known.environment[self._side]
        (<int32_t *>columns.columns[DIALECT].data.at)[row] = known.dialect[self._side]
        return row

    cdef int set_number(self, int place, uint64_t row, const fanion_flat_text *text) except -1:
        cdef int32_t number = -1
        if text.text != NULL:
            number = self.number_of(place, text.text, text.length)
        (<int32_t *>self._columns.columns[place].data.at)[row] = number
        return 0

    cdef int record(
        self, Shape shape, Known *known, const uint8_t *body, uint64_t length, bint whole, uint32_t row, plain,
        flag_of, tuple names,
    ) except -1:
        cdef fanion_rows_cursor cursor
        cdef uint64_t own = self._own.rows, others = self._others.rows
        cdef uint32_t index = 0
        cdef int found
        memset(&cursor, 0, sizeof(cursor))
        cursor.at, cursor.end = body, body + length
        found = fanion_rows_begin(&cursor, whole)
        if found == 1:
            while True:
                found = fanion_rows_event_read(&cursor, &shape.event, &self._event)
                if found == 1:
                    self.add_event(shape, known, index, flag_of, names)
                elif found == 0:
                    self.add_all(plain(row, index))
                else:
                    break
                index += 1
                if not fanion_rows_take(&cursor, b","):
                    found = 0 if fanion_rows_take(&cursor, b"]") else -1
                    break
        if found < 0 or not fanion_rows_end(&cursor, whole):
            self.cut(own, others)
            self.add_all(plain(row, -1))
        return 0

    cdef int add_event(self, Shape shape, Known *known, uint32_t index, flag_of, tuple names) except -1:
        cdef uint32_t n, variant = shape.variant(self._event.values)
        cdef uint32_t parts = self._event.part_count if shape.with_parts[variant] else 0
        if not parts:
            return self.add_row(shape, known, variant, index, 0, NULL, flag_of, names)
        for n in range(parts):
            self.add_row(shape, known, variant, index, n, self._event.parts[n], flag_of, names)
        return 0

    cdef int add_row(
        self, Shape shape, Known *known, uint32_t variant, uint32_t index, uint32_t part,
        const fanion_rows_value *part_values, flag_of, tuple names,
    ) except -1:
        cdef uint64_t row = self.identify(known, shape.kinds[variant], index, part)
        cdef Columns columns = self._columns
        cdef uint32_t without = shape.without[variant], code = KEPT
        cdef int32_t parameter
        if index < known.disposition_count:
            code = known.dispositions[index]
        (<int32_t *>columns.columns[DISPOSITION].data.at)[row] = (
            <int32_t>code if code < <uint32_t>len(self._dispositions) else self.number(DISPOSITION, str(code))
        )
        columns.columns[COUNTS].data.at[row] = code != DUPLICATE
        columns.columns[VERIFIED].data.at[row] = code == VERIFIED_CODE
        columns.columns[VERIFIED].valid.at[row] = shape.traced
        self.set_time(row, known.received_us, self.find(shape, T_SENT, without, part_values))
        self.set_unit(shape, known, row, part_values)
        self.set_text(EVENT_ID, row, self.find(shape, T_EVENT_ID, without, part_values))
        self.set_name(FLAG, row, self.find(shape, T_FLAG, without, part_values))
        parameter = self.set_name(PARAMETER, row, self.find(shape, T_PARAMETER, without, part_values))
        if shape.resolves and parameter >= 0:
            (<int32_t *>columns.columns[FLAG].data.at)[row] = self.flag(known, parameter, flag_of, names)
        self.set_name(VARIANT, row, self.find(shape, T_VARIANT, without, part_values))
        self.set_name(METRIC, row, self.find(shape, T_METRIC, without, part_values))
        self.set_name(REASON, row, self.find(shape, T_REASON, without, part_values))
        self.set_value(row, self.find(shape, T_VALUE, without, part_values))
        # What only the server knows of an answer; no event says it.
        (<int32_t *>columns.columns[RUN].data.at)[row] = -1
        (<uint64_t *>columns.columns[GENERATION].data.at)[row] = 0
        columns.columns[GENERATION].valid.at[row] = False
        self.put_text(ATTRIBUTES, row, "", 0, False)
        columns.rows = row + 1
        return 0

    cdef const fanion_rows_value *find(
        self, Shape shape, int target, uint32_t without, const fanion_rows_value *part_values
    ) noexcept:
        """What the part says, else the event."""
        cdef const fanion_rows_value *said = NULL
        if without >> <uint32_t>target & 1:
            return NULL
        if part_values != NULL:
            said = pick(&shape.of_part, target, part_values)
        return pick(&shape.of_event, target, self._event.values) if said == NULL else said

    cdef int set_time(self, uint64_t row, int64_t received_us, const fanion_rows_value *said) except -1:
        cdef Columns columns = self._columns
        cdef int64_t sent_us = 0, event_us = received_us
        cdef int32_t source = 1
        if said != NULL:
            sent_us, source = said.us, 2
            if received_us - self._age_max_us <= sent_us <= received_us + self._ahead_max_us:
                event_us, source = sent_us, 0
        (<int64_t *>columns.columns[RECEIVED_AT].data.at)[row] = received_us
        (<int64_t *>columns.columns[EVENT_AT].data.at)[row] = event_us
        (<int64_t *>columns.columns[SENT_AT].data.at)[row] = sent_us
        columns.columns[SENT_AT].valid.at[row] = said != NULL
        (<int32_t *>columns.columns[TIME_FROM].data.at)[row] = source
        return 0

    cdef int set_unit(
        self, Shape shape, Known *known, uint64_t row, const fanion_rows_value *part_values
    ) except -1:
        cdef const fanion_rows_value *kind = NULL
        cdef const fanion_rows_value *unit = NULL
        cdef int64_t slot = -1
        cdef int32_t number
        cdef bint hashed
        cdef uint8_t[DIGEST_BYTES] digest
        if part_values != NULL:
            kind = pick(&shape.of_part, T_UNIT_KIND, part_values)
            unit = pick(&shape.of_part, T_UNIT, part_values)
        if kind == NULL and unit == NULL:
            kind = pick(&shape.of_event, T_UNIT_KIND, self._event.values)
            unit = pick(&shape.of_event, T_UNIT, self._event.values)
            slot = unit - self._event.values if unit != NULL else -1
        hashed = shape.units_hashed or (slot >= 0 and shape.hashed >> <uint32_t>slot & 1)
        if known.keyed and unit != NULL:
            fanion_unit_key_name(&self._unit_key, unit.text.text, unit.text.length, hashed, digest)
            self.put_digest(row, digest)
            hashed = True
        else:
            self.set_text(UNIT, row, unit)
        self._columns.columns[UNIT_HASHED].data.at[row] = hashed
        if slot >= 0 and shape.unit_kinds[slot] != NULL:
            number = self.number_of(UNIT_KIND, shape.unit_kinds[slot], shape.unit_kind_lengths[slot])
            (<int32_t *>self._columns.columns[UNIT_KIND].data.at)[row] = number
        else:
            self.set_name(UNIT_KIND, row, kind)
        return 0

    cdef int put_digest(self, uint64_t row, const uint8_t *digest) except -1:
        cdef char[2 * DIGEST_BYTES] digits
        hexadecimal(digest, DIGEST_BYTES, digits)
        return self.put_text(UNIT, row, digits, 2 * DIGEST_BYTES, True)

    cdef int32_t set_name(self, int place, uint64_t row, const fanion_rows_value *said) except -2:
        """The text's number, -1: there is none."""
        cdef int32_t number = -1
        if said != NULL:
            number = self.number_of(place, said.text.text, said.text.length)
        (<int32_t *>self._columns.columns[place].data.at)[row] = number
        return number

    cdef int set_text(self, int place, uint64_t row, const fanion_rows_value *said) except -1:
        if said == NULL:
            return self.put_text(place, row, "", 0, False)
        return self.put_text(place, row, said.text.text, said.text.length, True)

    cdef int put_text(self, int place, uint64_t row, const char *text, uint64_t length, bint valid) except -1:
        self._columns.columns[place].valid.at[row] = valid
        if not fanion_texts_add(&self._columns.columns[place].texts, text, length):
            raise MemoryError
        return 0

    cdef int set_value(self, uint64_t row, const fanion_rows_value *said) except -1:
        cdef Columns columns = self._columns
        cdef double value = 0
        cdef uint8_t kind = FANION_SAID_NOTHING if said == NULL else said.said
        if kind == FANION_SAID_NUMBER:
            value = said.number
        elif kind == FANION_SAID_TRUE:
            value = 1
        (<double *>columns.columns[VALUE].data.at)[row] = value
        columns.columns[VALUE].valid.at[row] = kind >= FANION_SAID_NUMBER
        if kind == FANION_SAID_TEXT:
            return self.put_text(VALUE_TEXT, row, said.text.text, said.text.length, True)
        if kind == FANION_SAID_TRUE:
            return self.put_text(VALUE_TEXT, row, "true", 4, True)
        if kind == FANION_SAID_FALSE:
            return self.put_text(VALUE_TEXT, row, "false", 5, True)
        return self.put_text(VALUE_TEXT, row, "", 0, False)

    cdef int32_t flag(self, Known *known, int32_t parameter, flag_of, tuple names) except -2:
        key = (self._side, known.dialect[self._side], known.environment_number, parameter)
        found = self._flags.get(key)
        if found is None:
            text = flag_of(names[0], names[1], name_of(self._columns, PARAMETER, parameter))
            found = self._flags[key] = -1 if text is None else self.number(FLAG, text)
        return found

    cdef int add_all(self, rows) except -1:
        for row in rows:
            self.add(row)
        return 0

    cdef int add(self, row) except -1:
        """A plain row."""
        self.turn_to(self._kinds.index(row.kind))
        cdef Columns columns = self._columns
        cdef uint64_t at = columns.rows
        if at == columns.room:
            columns.make_room()
        for place, text in (
            (MACHINE, row.machine), (TIME_FROM, row.time_from), (ENVIRONMENT, row.environment),
            (DIALECT, row.dialect), (KIND, row.kind), (DISPOSITION, row.disposition), (UNIT_KIND, row.unit_kind),
            (FLAG, row.flag), (PARAMETER, row.parameter), (VARIANT, row.variant), (METRIC, row.metric),
            (REASON, row.reason), (RUN, row.run),
        ):
            (<int32_t *>columns.columns[<int>place].data.at)[at] = -1 if text is None else self.number(place, text)
        for place, text in (
            (EVENT_ID, row.event_id), (UNIT, row.unit), (VALUE_TEXT, row.value_text), (ATTRIBUTES, row.attributes),
        ):
            raw = b"" if text is None else text.encode()
            self.put_text(place, at, raw, len(raw), text is not None)
        (<uint32_t *>columns.columns[WRITER].data.at)[at] = row.writer
        (<uint64_t *>columns.columns[EPOCH].data.at)[at] = row.epoch
        (<uint64_t *>columns.columns[SEQUENCE].data.at)[at] = row.sequence
        (<uint32_t *>columns.columns[INDEX].data.at)[at] = row.index
        (<uint32_t *>columns.columns[PART].data.at)[at] = row.part
        (<int64_t *>columns.columns[RECEIVED_AT].data.at)[at] = row.received_at
        (<int64_t *>columns.columns[EVENT_AT].data.at)[at] = row.event_at
        (<int64_t *>columns.columns[SENT_AT].data.at)[at] = 0 if row.sent_at is None else row.sent_at
        columns.columns[SENT_AT].valid.at[at] = row.sent_at is not None
        columns.columns[COUNTS].data.at[at] = row.counts
        columns.columns[VERIFIED].data.at[at] = row.verified is True
        columns.columns[VERIFIED].valid.at[at] = row.verified is not None
        columns.columns[UNIT_HASHED].data.at[at] = row.unit_hashed
        (<double *>columns.columns[VALUE].data.at)[at] = 0 if row.value is None else row.value
        columns.columns[VALUE].valid.at[at] = row.value is not None
        (<uint64_t *>columns.columns[GENERATION].data.at)[at] = 0 if row.generation is None else row.generation
        columns.columns[GENERATION].valid.at[at] = row.generation is not None
        columns.rows = at + 1
        return 0


cdef str name_of(Columns columns, int place, int32_t number):
    cdef int32_t *ends = <int32_t *>columns.columns[place].names.texts.offsets.at
    cdef const char *text = <const char *>columns.columns[place].names.texts.text.at
    return text[ends[number]:ends[number + 1]].decode()
