"""What was served of recorded splits, on its way into the journal. See `exposures.pyx`."""

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


cdef class MarkTable(SharedFile):
    cdef uint64_t mask               # lines - 1
    cdef fanion_siphash_key key      # of all hashes; random, one for the file's life

    cdef void *lines(self) noexcept


# A mark that is set once its record is published.
ctypedef struct mark_hash:
    uint64_t words[2]


cdef class Recorder:
    cdef MarkTable marks
    cdef Ring ring                   # None: the journal takes nothing now
    cdef public uint64_t generation  # what questions are answered from
    cdef uint64_t served, assigned, repeated, dropped, lacking, anonymous
    cdef uint64_t day                # of the record that is being made
    cdef uint8_t *buffer             # owned; the record's payload
    cdef size_t used, room
    cdef mark_hash *pending          # owned
    cdef uint32_t pending_count, pending_room

    cdef int put(self, const void *bytes, size_t length) except -1
    cdef int put_text(self, const char *text, size_t length) except -1
    cdef int begin(self, bytes head) except -1
    cdef int publish(self) except -1


cdef class Exposing:
    cdef Recorder recorder
    cdef const fanion_sections *s    # borrowed from the bundle that owns this
    cdef bytes head                  # the payload up to the body
    cdef tuple places                # where the unit is looked for
    cdef bint with_assigned, with_anonymous, keyed
    cdef fanion_unit_key unit_key    # of digests, where they are `keyed`
    cdef object carried              # callable (members, attributes, contexts) -> bytes or None; None: nothing is
    cdef uint64_t *salts             # owned; by the number of a reached record: what its marks begin with
    # Of the current question, as long as `stamp` is its.
    cdef uint32_t stamp
    cdef const char *unit            # borrowed from the context or from `held`; NULL: there is none
    cdef size_t unit_length
    cdef bytes kind
    cdef object held
    cdef bint fell_back              # only an anonymous one was found
    cdef bytes attributes            # None: not made yet, or none
    cdef bint attributes_made
    cdef bint unit_written           # into the record

    cdef int salt(self, const fanion_sections *s, str environment, bytes key) except -1
    cdef int find_unit(self, Binder binder) except -1
    cdef int note(self, Binder binder, const fanion_outcome *outcome, bint assigned, bint first) except -1
    cdef int write(
        self, Binder binder, const fanion_reached *reached, const fanion_split *split, const char *unit,
        size_t length, bytes kind, bint own, bint assigned,
    ) except -1
