"""What was served of recorded splits, on its way into the journal. See `exposures.pyx`."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fanion._core.binding cimport Binder
from fanion._core.layout cimport fanion_outcome, fanion_reached, fanion_sections, fanion_split
from fanion._core.ring cimport Ring
from fanion._core.shared cimport SharedFile


cdef extern from "fanion_siphash.h" nogil:
    ctypedef struct fanion_siphash_key:
        uint64_t k0, k1


cdef extern from "fanion_unit_key.h" nogil:
    enum:
        FANION_UNIT_KEY_BYTES

    ctypedef struct fanion_unit_key:
        pass

    void fanion_unit_key_set(fanion_unit_key *made, const uint8_t *key)
    void fanion_unit_key_apply(const fanion_unit_key *key, uint8_t *digest)


# What a mark is found by, or a part of it.
ctypedef struct mark_hash:
    uint64_t words[2]


# Where a unit is looked for.
ctypedef struct unit_place:
    int where
    bint anonymous                   # of CONTEXT without a kind: of the current question
    PyObject *name                   # a str; borrowed from `given`, as the next is
    PyObject *kind                   # bytes; empty: the context's type
    mark_hash mark                   # the kind's


cdef class MarkTable(SharedFile):
    cdef uint64_t mask               # lines - 1
    cdef fanion_siphash_key key      # of kinds, splits and days; random, one for the file's life
    cdef fanion_siphash_key unit_key  # of units; made from it

    cdef void *lines(self) noexcept
    cdef void hash(self, bytes text, mark_hash *mark) noexcept
    cdef void hash_day(self, uint64_t day, mark_hash *mark) noexcept


cdef class Recorder:
    cdef MarkTable marks
    cdef Ring ring                   # None: the journal takes nothing now
    cdef public uint64_t generation  # what questions are answered from
    cdef uint64_t served, assigned, repeated, dropped, lacking, anonymous
    cdef uint64_t day                # of the record that is being made
    cdef mark_hash day_mark
    cdef uint8_t *buffer             # owned; the record's payload
    cdef size_t used, room
    cdef mark_hash *pending          # owned; of the record's exposures, set once it is published
    cdef uint32_t pending_count, pending_room
    cdef uint32_t pending_served, pending_assigned  # of pending_count; counted once they are published

    cdef int put(self, const void *bytes, size_t length) except -1
    cdef int put_text(self, const char *text, size_t length) except -1
    cdef void begin(self) noexcept
    cdef int put_head(self, bytes head) except -1
    cdef int keep(self, const mark_hash *mark) except -1
    cdef int publish(self) except -1


cdef class Exposing:
    cdef Recorder recorder
    cdef const fanion_sections *s    # borrowed from the bundle that owns this
    cdef bytes head                  # the payload up to the body
    cdef tuple given                 # where the unit is looked for: what `places` borrow from
    cdef unit_place *places          # owned
    cdef uint32_t place_count
    cdef bint with_assigned, with_anonymous, keyed
    cdef fanion_unit_key unit_key    # of digests, where they are `keyed`
    cdef object carried              # callable (members, attributes, contexts) -> bytes or None; None: nothing is
    cdef mark_hash *salts            # owned; by twice the number of a reached record, and 1 for being told only
    cdef str context_type            # the last one met, its UTF-8 and its hash
    cdef bytes context_kind
    cdef mark_hash context_mark
    # Of the current question, as long as `stamp` is its.
    cdef uint32_t stamp
    cdef bint unit_sought
    cdef const char *unit            # borrowed from the context or from `held`; NULL: there is none
    cdef size_t unit_length
    cdef PyObject *kind              # its; borrowed from `given` or `context_kind`
    cdef mark_hash unit_mark         # of the unit and its kind
    cdef uint32_t slot               # the last one that was a split's own unit, and its hash
    cdef mark_hash slot_mark
    cdef object held
    cdef bint fell_back              # only an anonymous one was found
    cdef bytes attributes            # None: not made yet, or none
    cdef bint attributes_made
    cdef bint unit_written           # into the record

    cdef int salt(self, const fanion_sections *s, str environment, bytes key) except -1
    cdef bytes kind_of(self, const fanion_split *split)
    cdef PyObject *context_unit(self, Binder binder, unit_place *place) except? NULL
    cdef int find_unit(self, Binder binder) except -1
    cdef int note(self, Binder binder, const fanion_outcome *outcome, bint assigned, bint first) except -1
    cdef int write(
        self, Binder binder, const fanion_reached *reached, const fanion_split *split, bint assigned
    ) except -1
    cdef int write_unit(self, bytes kind, const char *unit, size_t length) except -1
