"""Questions that were asked before: what a list of keys resolved to. See `prepared.pyx`."""

from libc.stdint cimport uint32_t, uint64_t

from fanion._core.evaluate cimport Bundle
from fanion._core.layout cimport fanion_entry


cdef class PreparedList:
    cdef readonly list names         # what was looked up, in its order
    cdef readonly object extra       # the dialect's own
    cdef Bundle bundle
    cdef int table
    cdef uint32_t count              # of names
    cdef uint32_t *entries           # owned; per name: its entry's number in the bundle; FANION_NONE: absent
    cdef bytes text                  # of a map: what stands before, between and behind its fragments
    cdef uint32_t *text_ends         # owned; per entry that is there, and one more
    cdef bytes span                  # the list as it stands in bodies
    cdef uint64_t hash
    cdef bint client
    cdef bint used                   # since the hand last passed
    cdef size_t size                 # bytes, about

    cdef const fanion_entry *entry(self, uint32_t n) noexcept
    cdef int look_up(self, list names) except -1
    cdef int write_frame(self) except -1
