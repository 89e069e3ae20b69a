"""Exposures: who was served what of a recorded split, once a day each, as one record of the journal a question.

A `Bundle` hands each outcome that was reached through recorded splits to its table's `Exposing`, and tells the
`Recorder` to publish when the question is answered. What was recorded today for the same environment, run, unit and
variant isn't again, by the marks in a table that all workers share. Order: ring space, the record is published, then
the marks are set; a ring that is full drops what there was. Nothing here waits or wakes anybody.

Belongs to the thread of its bundles, the event loop's. The record's form stands in `fanion.journal.exposures`.
"""

import os

cimport cython
from cpython.bool cimport PyBool_Check
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_Check
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from fanion._core.layout cimport *
from fanion._core.machine cimport machine
from fanion._core.match cimport cell
from fanion._core.ring cimport FANION_KIND_EXPOSURES, fanion_u64_load_acquire


cdef extern from "fanion_hash.h" nogil:
    void fanion_sha256(const void *data, size_t length, uint8_t *digest)


cdef extern from "fanion_siphash.h" nogil:
    void fanion_siphash(fanion_siphash_key key, const void *data, size_t length, int wide, uint64_t *out)


cdef extern from "fanion_marks.h" nogil:
    enum:
        FANION_MARKS_IN_LINE

    ctypedef struct fanion_mark_line:
        uint64_t words[8]

    bint fanion_mark_is(const fanion_mark_line *lines, uint64_t mask, const uint64_t *hash, uint64_t day)
    void fanion_mark_put(fanion_mark_line *lines, uint64_t mask, const uint64_t *hash, uint64_t day)


cdef extern from "<time.h>" nogil:
    int CLOCK_REALTIME_COARSE

cdef enum:
    KIND_MARKS = 9         # of a shared file
    KEY_BYTES = 64         # of the body before the lines: the key, and zeros
    ASSIGNED = 1           # bits of an exposure
    INSIDE = 2
    HAS_VARIANT = 4
    HAS_ATTRIBUTES = 8
    SAME_UNIT = 16
    KEYED = 64
    FORM = 1
    HEAD_BYTES = 16
    DIGEST_BYTES = 32
    RUN_BYTES = 16
    COUNT_MAX = 65535
    TEXT_BYTES_MAX_HERE = 65535
    KIND_BYTES_MAX = 1024  # of a context's type, which a request names: a longer one is no unit
    DAY_S = 86400

cdef enum:  # where a unit is looked for
    IN_MEMBERS
    IN_ATTRIBUTES
    IN_MEMBERS_OR_ATTRIBUTES
    CONTEXT_FIRST

MEMBER, ATTRIBUTE = IN_MEMBERS, IN_ATTRIBUTES
MEMBER_OR_ATTRIBUTE, CONTEXT = IN_MEMBERS_OR_ATTRIBUTES, CONTEXT_FIRST


# What a mark is made of: a unit, its kind, what it reached, the day. Each is a keyed hash of its own, a mark joins
# them, so each is made as rarely as it changes. Units' hashes have a key apart: no id is another's kind or day.
cdef inline void mix(mark_hash *mark, const mark_hash *other) noexcept:
    mark.words[0] ^= other.words[0]
    mark.words[1] ^= other.words[1]


cdef packed struct EventsHeader:
    uint16_t dialect_bytes
    uint16_t environment_bytes
    uint32_t dispositions
    uint32_t ids
    uint8_t whole
    uint8_t reserved[3]


@cython.final
cdef class MarkTable(SharedFile):
    """`marks`: how many are kept, a power of two; 8 bytes each. Forgotten at a reboot."""

    def __init__(self, str path, uint64_t marks, *, bint replace=False):
        cdef mark_hash mark
        if marks < 64 or marks & (marks - 1) or marks > (<uint64_t> 1 << 32):
            raise ValueError(f"{marks} marks; a power of two from 64 to 2**32 is allowed")
        self.mask = marks // FANION_MARKS_IN_LINE - 1
        SharedFile.__init__(
            self, path, KIND_MARKS, 1, KEY_BYTES + marks * 8, marks, replace=replace, per_boot=True, large=True
        )
        self.lock_file()
        try:
            memcpy(&self.key, self.body, sizeof(self.key))
            if self.key.k0 == 0 and self.key.k1 == 0:
                drawn = os.urandom(sizeof(self.key))
                memcpy(self.body, <const char *> <bytes> drawn, sizeof(self.key))
                memcpy(&self.key, self.body, sizeof(self.key))
        finally:
            self.unlock_file()
        self.hash(b"units", &mark)
        self.unit_key.k0, self.unit_key.k1 = mark.words[0], mark.words[1]

    cdef void hash(self, bytes text, mark_hash *mark) noexcept:
        fanion_siphash(self.key, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), 1, mark.words)

    cdef void hash_day(self, uint64_t day, mark_hash *mark) noexcept:
        cdef uint64_t[2] text
        memcpy(text, b"day\0\0\0\0", sizeof(uint64_t))
        text[1] = day
        fanion_siphash(self.key, text, sizeof(text), 1, mark.words)

    cdef void *lines(self) noexcept:
        return self.body + KEY_BYTES

    def meet(self, bytes id not None, uint64_t day):
        """For tests and benches: whether an id was marked that day; it is from now on."""
        cdef mark_hash mark, of_day
        self.check_open()
        fanion_siphash(self.unit_key, PyBytes_AS_STRING(id), PyBytes_GET_SIZE(id), 1, mark.words)
        self.hash_day(day, &of_day)
        mix(&mark, &of_day)
        if fanion_mark_is(<fanion_mark_line *> self.lines(), self.mask, mark.words, day):
            return True
        fanion_mark_put(<fanion_mark_line *> self.lines(), self.mask, mark.words, day)
        return False


@cython.final
cdef class Recorder:
    """One worker's. `ring`: where records go, None as long as the journal takes none."""

    def __init__(self, MarkTable marks not None):
        self.marks = marks

    def __dealloc__(self):
        free(self.buffer)
        free(self.pending)

    def lend(self, Ring ring):
        """What the journal appends to now, or None."""
        self.ring = ring

    def counts(self):
        """Since the start: exposures by what became of them."""
        return {
            "served": self.served, "assigned": self.assigned, "repeated": self.repeated, "dropped": self.dropped,
            "lacking": self.lacking, "anonymous": self.anonymous,
        }

    cdef int put(self, const void *bytes, size_t length) except -1:
        cdef void *grown
        if self.room - self.used < length:
            grown = realloc(self.buffer, (self.used + length) * 2 + 256)
            if grown == NULL:
                raise MemoryError
            self.buffer, self.room = <uint8_t *> grown, (self.used + length) * 2 + 256
        memcpy(self.buffer + self.used, bytes, length)
        self.used += length
        return 0

    cdef int put_text(self, const char *text, size_t length) except -1:
        """Cut where a character begins, beyond what its length can say."""
        cdef uint16_t size
        if length > TEXT_BYTES_MAX_HERE:
            length = TEXT_BYTES_MAX_HERE
            while length and text[length] & 0xC0 == 0x80:
                length -= 1
        size = <uint16_t> length
        self.put(&size, 2)
        return self.put(text, length)

    cdef void begin(self) noexcept:
        """Another question's record; one that wasn't published is forgotten."""
        cdef timespec now
        clock_gettime(CLOCK_REALTIME_COARSE, &now)
        if <uint64_t> now.tv_sec // DAY_S != self.day:
            self.day = <uint64_t> now.tv_sec // DAY_S
            self.marks.hash_day(self.day, &self.day_mark)
        self.pending_count = self.pending_served = self.pending_assigned = 0

    cdef int put_head(self, bytes head) except -1:
        """What a record begins with; `publish` fills in how many exposures follow."""
        cdef uint8_t[HEAD_BYTES] told
        memset(told, 0, HEAD_BYTES)
        told[0] = FORM
        memcpy(&told[8], &self.generation, 8)
        self.used = 0
        self.put(PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
        return self.put(told, HEAD_BYTES)

    cdef int keep(self, const mark_hash *mark) except -1:
        """A mark to be set once its exposure, which comes next, is published. 0: a record holds no more."""
        cdef uint32_t room
        cdef void *grown
        if self.pending_count == COUNT_MAX:
            self.dropped += 1
            return 0
        if self.pending_count == self.pending_room:
            room = self.pending_room * 2 + 8
            grown = realloc(self.pending, room * sizeof(mark_hash))
            if grown == NULL:
                raise MemoryError
            self.pending, self.pending_room = <mark_hash *> grown, room
        self.pending[self.pending_count] = mark[0]
        self.pending_count += 1
        return 1

    cdef int publish(self) except -1:
        """What was noted, if there is something: as many exposures as marks."""
        cdef EventsHeader header
        cdef timespec now
        cdef uint16_t count = <uint16_t> self.pending_count
        cdef uint32_t n
        cdef size_t at
        if count == 0:
            return 0
        memcpy(&header, self.buffer, sizeof(header))
        at = sizeof(header) + header.dialect_bytes + header.environment_bytes
        memcpy(self.buffer + at + 2, &count, 2)
        self.pending_count = 0
        clock_gettime(CLOCK_REALTIME, &now)
        if self.ring is None or fanion_u64_load_acquire(&self.ring.ring.control.refuse.word) or (
            self.ring.put(
                FANION_KIND_EXPOSURES, self.buffer, self.used,
                <uint64_t> now.tv_sec * 1000000000 + <uint64_t> now.tv_nsec,
            ) <= 0
        ):
            self.dropped += count
            return 0
        self.served += self.pending_served
        self.assigned += self.pending_assigned
        if self.marks.base != NULL:
            for n in range(count):
                fanion_mark_put(
                    <fanion_mark_line *> self.marks.lines(), self.marks.mask, self.pending[n].words, self.day
                )
        return 0


cdef class Exposing:
    """One bundle's table, as the API that has it records. Made by `Bundle.expose`, whose sections it borrows.

    `places`: (where, name, kind, anonymous) each; the first that holds a text, a whole number or a truth value is the
    unit. Of CONTEXT the first context is looked at: with a kind, where `name` is its type; else its type is the kind,
    an anonymous one where that is `name`. `carried(members, attributes,
    contexts)`: the attributes that travel along as JSON, or None. `key`: of the units' digests; None: they have none.
    """

    def __cinit__(
        self, Recorder recorder not None, str dialect not None, str environment not None, tuple places not None, *,
        bint assigned, bint anonymous, carried, bytes key,
    ):
        cdef EventsHeader header
        cdef bytes api = dialect.encode(), name = environment.encode()
        header = EventsHeader(<uint16_t> len(api), <uint16_t> len(name), 0, 0, 0, [0, 0, 0])
        self.recorder = recorder
        self.head = (<const char *> &header)[:sizeof(header)] + api + name
        self.with_assigned, self.with_anonymous, self.carried = assigned, anonymous, carried
        self.keyed = key is not None
        if self.keyed:
            if len(key) != FANION_UNIT_KEY_BYTES:
                raise ValueError(f"a key of {len(key)} bytes; {FANION_UNIT_KEY_BYTES} are needed")
            fanion_unit_key_set(&self.unit_key, <const uint8_t *> PyBytes_AS_STRING(key))
        self.given = tuple([(where, text, kind.encode(), anonymous) for where, text, kind, anonymous in places])
        self.places = <unit_place *> calloc(len(places) + 1, sizeof(unit_place))
        if self.places == NULL:
            raise MemoryError
        for where, text, kind, alone in self.given:
            self.places[self.place_count].where = where
            self.places[self.place_count].name = <PyObject *> text
            self.places[self.place_count].kind = <PyObject *> kind
            self.places[self.place_count].anonymous = alone
            recorder.marks.hash(b"kind\0" + <bytes> kind, &self.places[self.place_count].mark)
            self.place_count += 1

    def __dealloc__(self):
        free(self.places)
        free(self.salts)

    cdef int salt(self, const fanion_sections *s, str environment, bytes key) except -1:
        """What the marks of each outcome's splits are made of, being told beside being seen. With the key, as another
        digest is another unit; with the kind, where a split has its own unit."""
        cdef uint32_t n, assigned
        cdef const fanion_reached *reached
        cdef const fanion_split *split
        cdef mark_hash *made
        cdef mark_hash of_kind
        cdef bytes text
        self.s = s
        self.salts = <mark_hash *> calloc(2 * <size_t> s.counts[FANION_SECTION_REACHED] + 1, sizeof(mark_hash))
        if self.salts == NULL:
            raise MemoryError
        for n in range(s.counts[FANION_SECTION_REACHED]):
            reached = &s.reached[n]
            split = &s.splits[reached.split]
            text = environment.encode() + b"\0" + s.blob[split.run.offset:split.run.offset + split.run.length]
            if reached.variant.offset != FANION_NONE:
                text += b"\0" + s.blob[reached.variant.offset:reached.variant.offset + reached.variant.length]
            text += b"\0in" if reached.inside else b"\0out"
            if key is not None:
                text += b"\0" + key
            for assigned in range(2):
                made = &self.salts[2 * n + assigned]
                self.recorder.marks.hash((b"told\0" if assigned else b"seen\0") + text, made)
                if split.slot != FANION_NONE:
                    self.recorder.marks.hash(b"kind\0" + self.kind_of(split), &of_kind)
                    mix(made, &of_kind)
        return 0

    cdef bytes kind_of(self, const fanion_split *split):
        """Of a split that has its own unit."""
        if split.unit.length:
            return self.s.blob[split.unit.offset:split.unit.offset + split.unit.length]
        return <bytes> self.places[0].kind if self.place_count else b""

    cdef PyObject *context_unit(self, Binder binder, unit_place *place) except? NULL:
        """The first context's key, where this place takes it."""
        cdef tuple one
        if binder.contexts == NULL or not len(<tuple> binder.contexts):
            return NULL
        one = (<tuple> binder.contexts)[0]
        if PyBytes_GET_SIZE(<bytes> place.kind):
            if one[0] != <object> place.name:
                return NULL
        else:
            if self.context_type is None or one[0] != self.context_type:
                kind = (<str> one[0]).encode("utf-8", "replace")
                if len(kind) > KIND_BYTES_MAX:
                    return NULL
                self.context_kind = kind
                self.context_type = one[0]
                self.recorder.marks.hash(b"kind\0" + self.context_kind, &self.context_mark)
            place.anonymous = <str> place.name and one[0] == <object> place.name
        return <PyObject *> one[1]

    cdef int find_unit(self, Binder binder) except -1:
        """Who the question is about, in the API's own words."""
        cdef Py_ssize_t length = 0
        cdef PyObject *found
        cdef unit_place *place
        cdef uint32_t n
        self.unit = NULL
        for n in range(self.place_count):
            place, found = &self.places[n], NULL
            if place.where == CONTEXT_FIRST:
                found = self.context_unit(binder, place)
            else:
                if place.where != IN_ATTRIBUTES and binder.members != NULL:
                    found = PyDict_GetItem(<dict> binder.members, <object> place.name)
                if found == NULL and place.where != IN_MEMBERS and binder.attributes != NULL:
                    found = PyDict_GetItem(<dict> binder.attributes, <object> place.name)
            if found == NULL:
                continue
            if not PyUnicode_Check(<object> found):
                if PyLong_CheckExact(<object> found):
                    self.held = str(<object> found)
                elif PyBool_Check(<object> found):
                    self.held = "true" if <object> found else "false"
                else:
                    continue
                found = <PyObject *> self.held
            self.unit = PyUnicode_AsUTF8AndSize(<object> found, &length)
            if length == 0:
                self.unit = NULL
                continue
            self.unit_length, self.fell_back = <size_t> length, place.anonymous
            fanion_siphash(self.recorder.marks.unit_key, self.unit, self.unit_length, 1, self.unit_mark.words)
            if PyBytes_GET_SIZE(<bytes> place.kind):
                self.kind = place.kind
                mix(&self.unit_mark, &place.mark)
            else:
                self.kind = <PyObject *> self.context_kind
                mix(&self.unit_mark, &self.context_mark)
            return 0
        return 0

    cdef int note(self, Binder binder, const fanion_outcome *outcome, bint assigned, bint first) except -1:
        """`first`: of the question. 1: the question has a record by now, however empty."""
        cdef Recorder recorder = self.recorder
        cdef machine *m = binder.m
        cdef const fanion_reached *reached
        cdef const fanion_split *split
        cdef const cell *value
        cdef uint32_t n
        cdef mark_hash mark
        if assigned and not self.with_assigned:
            return 0
        if first:
            recorder.begin()
            self.unit_written = False
        if self.stamp != m.stamp:
            self.stamp, self.unit_sought, self.slot = m.stamp, False, FANION_NONE
            if self.attributes_made:
                self.attributes, self.attributes_made = None, False
        for n in range(outcome.reached_first, outcome.reached_first + outcome.reached_count):
            reached = &self.s.reached[n]
            split = &self.s.splits[reached.split]
            mark = self.salts[2 * n + assigned]
            mix(&mark, &recorder.day_mark)
            if split.slot == FANION_NONE:
                if not self.unit_sought:
                    self.find_unit(binder)
                    self.unit_sought = True
                if self.unit == NULL:
                    recorder.lacking += 1
                    continue
                if self.fell_back and not self.with_anonymous:
                    recorder.anonymous += 1
                    continue
                mix(&mark, &self.unit_mark)
            else:
                value = &m.cells[split.slot]
                if value.text == NULL or value.stamp != m.stamp or value.length == 0:
                    recorder.lacking += 1
                    continue
                if self.slot != split.slot:
                    self.slot = split.slot
                    fanion_siphash(
                        recorder.marks.unit_key, value.text, value.length, 1, self.slot_mark.words
                    )
                mix(&mark, &self.slot_mark)
            if recorder.marks.base != NULL and fanion_mark_is(
                <fanion_mark_line *> recorder.marks.lines(), recorder.marks.mask, mark.words, recorder.day
            ):
                recorder.repeated += 1
                continue
            if recorder.keep(&mark):
                self.write(binder, reached, split, assigned)
                recorder.pending_served += not assigned
                recorder.pending_assigned += assigned
        return 1

    cdef int write(
        self, Binder binder, const fanion_reached *reached, const fanion_split *split, bint assigned
    ) except -1:
        """The exposure whose mark was kept last."""
        cdef Recorder recorder = self.recorder
        cdef uint8_t bits = ASSIGNED * assigned + INSIDE * (reached.inside != 0)
        cdef uint8_t[RUN_BYTES] run
        cdef bint own = split.slot == FANION_NONE
        cdef bint same = own and self.unit_written
        if recorder.pending_count == 1:
            recorder.put_head(self.head)
        if not self.attributes_made:
            self.attributes_made = True
            if self.carried is not None:
                self.attributes = self.carried(
                    None if binder.members == NULL else <dict> binder.members,
                    None if binder.attributes == NULL else <dict> binder.attributes,
                    None if binder.contexts == NULL else <tuple> binder.contexts,
                )
        if same:
            bits |= SAME_UNIT
        if reached.variant.offset != FANION_NONE and reached.variant.length <= TEXT_BYTES_MAX_HERE:
            bits |= HAS_VARIANT
        if self.attributes is not None:
            bits |= HAS_ATTRIBUTES
        if self.keyed:
            bits |= KEYED
        recorder.put(&bits, 1)
        if own and not same:
            self.write_unit(<bytes> self.kind, self.unit, self.unit_length)
        elif not own:
            self.write_unit(
                self.kind_of(split), binder.m.cells[split.slot].text, binder.m.cells[split.slot].length
            )
        self.unit_written = own
        hexadecimal(self.s.blob + split.run.offset, split.run.length, run)
        recorder.put(run, RUN_BYTES)
        recorder.put_text(self.s.blob + split.flag.offset, split.flag.length)
        if bits & HAS_VARIANT:
            recorder.put_text(self.s.blob + reached.variant.offset, reached.variant.length)
        if bits & HAS_ATTRIBUTES:
            recorder.put_text(PyBytes_AS_STRING(self.attributes), PyBytes_GET_SIZE(self.attributes))
        return 0

    cdef int write_unit(self, bytes kind, const char *unit, size_t length) except -1:
        cdef uint8_t[DIGEST_BYTES] digest
        fanion_sha256(unit, length, digest)
        if self.keyed:
            fanion_unit_key_apply(&self.unit_key, digest)
        self.recorder.put_text(PyBytes_AS_STRING(kind), PyBytes_GET_SIZE(kind))
        return self.recorder.put(digest, DIGEST_BYTES)


cdef void hexadecimal(const char *digits, uint32_t count, uint8_t *bytes) noexcept:
    """The run's 16 bytes of its 32 digits; zeros of anything else."""
    cdef uint32_t n
    cdef int digit
    for n in range(RUN_BYTES):
        bytes[n] = 0
    if count != 2 * RUN_BYTES:
        return
    for n in range(count):
        digit = digits[n] - (c'0' if digits[n] <= c'9' else c'a' - 10)
        bytes[n // 2] |= <uint8_t> ((digit & 15) << (0 if n & 1 else 4))
