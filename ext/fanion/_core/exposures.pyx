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
from libc.string cimport memcpy
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
    DAY_S = 86400

MEMBER, ATTRIBUTE, MEMBER_OR_ATTRIBUTE, CONTEXT = range(4)
"""Where a unit is looked for."""


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

    cdef void *lines(self) noexcept:
        return self.body + KEY_BYTES

    def meet(self, bytes id not None, uint64_t day):
        """For tests and benches: whether an id was marked that day; it is from now on."""
        cdef uint64_t[5] mixed
        cdef mark_hash mark
        self.check_open()
        mixed[0] = mixed[3] = 0
        fanion_siphash(self.key, PyBytes_AS_STRING(id), PyBytes_GET_SIZE(id), 1, &mixed[1])
        mixed[4] = day
        fanion_siphash(self.key, mixed, sizeof(mixed), 1, mark.words)
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
        cdef uint16_t size = <uint16_t> length
        self.put(&size, 2)
        return self.put(text, length)

    cdef int begin(self, bytes head) except -1:
        """Another record; one that wasn't published is forgotten."""
        cdef timespec now
        cdef uint8_t[HEAD_BYTES] zeros
        clock_gettime(CLOCK_REALTIME_COARSE, &now)
        self.day = <uint64_t> now.tv_sec // DAY_S
        self.used = self.pending_count = 0
        self.put(PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
        for n in range(HEAD_BYTES):
            zeros[n] = 0
        zeros[0] = FORM
        memcpy(&zeros[8], &self.generation, 8)
        return self.put(zeros, HEAD_BYTES)

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
        self.places = tuple([(where, text, kind.encode(), anonymous) for where, text, kind, anonymous in places])
        self.with_assigned, self.with_anonymous, self.carried = assigned, anonymous, carried
        self.keyed = key is not None
        if self.keyed:
            if len(key) != FANION_UNIT_KEY_BYTES:
                raise ValueError(f"a key of {len(key)} bytes; {FANION_UNIT_KEY_BYTES} are needed")
            fanion_unit_key_set(&self.unit_key, <const uint8_t *> PyBytes_AS_STRING(key))

    def __dealloc__(self):
        free(self.salts)

    cdef int salt(self, const fanion_sections *s, str environment, bytes key) except -1:
        """What the marks of each outcome's splits begin with. With the key, as another digest is another unit."""
        cdef uint32_t n
        cdef const fanion_reached *reached
        cdef const fanion_split *split
        cdef bytes text
        self.s = s
        self.salts = <uint64_t *> calloc(s.counts[FANION_SECTION_REACHED] + 1, sizeof(uint64_t))
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
            fanion_siphash(
                self.recorder.marks.key, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), 0, &self.salts[n]
            )
        return 0

    cdef int find_unit(self, Binder binder) except -1:
        """Who the question is about, in the API's own words."""
        cdef Py_ssize_t length = 0
        cdef PyObject *found
        self.stamp = binder.m.stamp
        self.unit, self.unit_length, self.fell_back, self.held = NULL, 0, False, None
        self.attributes, self.attributes_made, self.unit_written = None, False, False
        for where, name, kind, anonymous in self.places:
            found = NULL
            self.kind = kind
            if where == CONTEXT:
                if binder.contexts == NULL or not len(<tuple> binder.contexts):
                    continue
                one = (<tuple> binder.contexts)[0]
                if kind:
                    if one[0] != name:
                        continue
                else:
                    self.kind = (<str> one[0]).encode("utf-8", "replace")
                    anonymous = name and one[0] == name
                self.held = one[1]
            else:
                if where != ATTRIBUTE and binder.members != NULL:
                    found = PyDict_GetItem(<dict> binder.members, name)
                if found == NULL and where != MEMBER and binder.attributes != NULL:
                    found = PyDict_GetItem(<dict> binder.attributes, name)
                if found == NULL:
                    continue
                self.held = <object> found
            if PyLong_CheckExact(self.held):
                self.held = str(self.held)
            elif PyBool_Check(self.held):
                self.held = "true" if self.held else "false"
            if not PyUnicode_Check(self.held):
                continue
            self.unit = PyUnicode_AsUTF8AndSize(self.held, &length)
            if length == 0:
                self.unit = NULL
                continue
            self.unit_length, self.fell_back = <size_t> length, anonymous
            return 0
        return 0

    cdef int note(self, Binder binder, const fanion_outcome *outcome, bint assigned, bint first) except -1:
        """`first`: of the question. 1: the question has a record by now, however empty."""
        cdef Recorder recorder = self.recorder
        cdef machine *m = binder.m
        cdef const fanion_sections *s = self.s
        cdef const fanion_reached *reached
        cdef const fanion_split *split
        cdef const cell *value
        cdef const char *unit
        cdef size_t length
        cdef bytes kind
        cdef bint own
        cdef uint32_t n
        cdef uint64_t[5] mixed
        cdef mark_hash mark
        cdef void *grown
        if assigned and not self.with_assigned:
            return 0
        if first:
            recorder.begin(self.head)
            self.unit_written = False
        if self.stamp != m.stamp:
            self.find_unit(binder)
        for n in range(outcome.reached_first, outcome.reached_first + outcome.reached_count):
            reached = &s.reached[n]
            split = &s.splits[reached.split]
            unit, length, kind, own = self.unit, self.unit_length, self.kind, split.slot == FANION_NONE
            if not own:
                value = &m.cells[split.slot]
                unit, length = value.text, value.length
                if value.stamp != m.stamp or length == 0:
                    unit = NULL
                if split.unit.length:
                    kind = s.blob[split.unit.offset:split.unit.offset + split.unit.length]
                elif self.places:
                    kind = (<tuple> self.places[0])[2]
            if unit == NULL:
                recorder.lacking += 1
                continue
            if own and self.fell_back and not self.with_anonymous:
                recorder.anonymous += 1
                continue
            # The unit as 64 bits of its kind and 64 of its id, then what is reached, and when.
            fanion_siphash(
                recorder.marks.key, PyBytes_AS_STRING(kind), PyBytes_GET_SIZE(kind), 0, &mixed[0]
            )
            fanion_siphash(recorder.marks.key, unit, length, 1, &mixed[1])
            mixed[3] = self.salts[n] ^ <uint64_t> assigned
            mixed[4] = recorder.day
            fanion_siphash(recorder.marks.key, mixed, sizeof(mixed), 1, mark.words)
            if recorder.marks.base != NULL and fanion_mark_is(
                <fanion_mark_line *> recorder.marks.lines(), recorder.marks.mask, mark.words, recorder.day
            ):
                recorder.repeated += 1
                continue
            if recorder.pending_count == recorder.pending_room:
                grown = realloc(recorder.pending, (recorder.pending_room * 2 + 8) * sizeof(mark_hash))
                if grown == NULL:
                    raise MemoryError
                recorder.pending, recorder.pending_room = <mark_hash *> grown, recorder.pending_room * 2 + 8
            if recorder.pending_count == COUNT_MAX:
                recorder.dropped += 1
                continue
            self.write(binder, reached, split, unit, length, kind, own, assigned)
            recorder.pending[recorder.pending_count] = mark
            recorder.pending_count += 1
            recorder.served += not assigned
            recorder.assigned += assigned
        return 1

    cdef int write(
        self, Binder binder, const fanion_reached *reached, const fanion_split *split, const char *unit,
        size_t length, bytes kind, bint own, bint assigned,
    ) except -1:
        cdef Recorder recorder = self.recorder
        cdef uint8_t bits = ASSIGNED * assigned + INSIDE * (reached.inside != 0)
        cdef uint8_t[DIGEST_BYTES] digest
        cdef uint8_t[RUN_BYTES] run
        cdef bint same = own and self.unit_written
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
        if not same:
            fanion_sha256(unit, length, digest)
            if self.keyed:
                fanion_unit_key_apply(&self.unit_key, digest)
            recorder.put_text(PyBytes_AS_STRING(kind), PyBytes_GET_SIZE(kind))
            recorder.put(digest, DIGEST_BYTES)
        self.unit_written = own
        hexadecimal(self.s.blob + split.run.offset, split.run.length, run)
        recorder.put(run, RUN_BYTES)
        recorder.put_text(self.s.blob + split.flag.offset, min(split.flag.length, <uint32_t> TEXT_BYTES_MAX_HERE))
        if bits & HAS_VARIANT:
            recorder.put_text(self.s.blob + reached.variant.offset, reached.variant.length)
        if bits & HAS_ATTRIBUTES:
            recorder.put_text(PyBytes_AS_STRING(self.attributes), PyBytes_GET_SIZE(self.attributes))
        return 0


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
