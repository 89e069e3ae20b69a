"""The sections of a bundle while it is compiled."""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from fanion._core.layout cimport fanion_entry, fanion_text

cdef struct Place:
    uint32_t tag  # the lower half of what it is found by
    uint32_t number  # where it begins
    uint32_t count  # how long it is; 0: a free place

cdef class Ground:
    cdef PyObject *whole  # owned, a bytes object that nobody else has; NULL once it is given away
    cdef unsigned char *at  # its first byte

    cdef bytes given(self, size_t size)

cdef class Rows:
    cdef unsigned char *data  # in the ground, or owned; moves as it grows
    cdef Ground ground
    cdef bint grounded  # which of both; the collector may take `ground` away before this goes
    cdef size_t size  # bytes in use
    cdef size_t room  # bytes
    cdef size_t record  # bytes of one record

    cdef int let_go(self) noexcept
    cdef int reserve(self, size_t more) except -1
    cdef int put(self, const void *row, size_t size) except -1

cdef class Places:
    cdef Place *places  # owned; open addressing
    cdef size_t mask  # places - 1
    cdef size_t used

    cdef int grow(self, size_t count) except -1
    cdef int take(self, Place *free, uint64_t digest, uint32_t number, uint32_t count) except -1
    cdef int add(self, uint64_t digest, uint32_t number, uint32_t count) except -1

cdef class Texts:
    cdef Rows blob
    cdef Places known
    cdef uint64_t bytes_max
    cdef fanion_text *fresh  # owned: those that `append` put into the blob and `known` hasn't
    cdef size_t fresh_count
    cdef size_t fresh_room
    cdef uint64_t[1024] found  # a bit for each that `find` put into the blob, by `filter_bit`

    cdef int find(self, const void *content, size_t length, fanion_text *out) except -1
    cdef int put(self, const void *content, size_t length, fanion_text *out) except -1
    cdef int append(self, const void *content, size_t length, fanion_text *out) except -1
    cdef bint may_have(self, const void *content, size_t length) noexcept
    cdef int know_fresh(self) except -1

cdef class KeyIndex:
    cdef Rows rows
    cdef size_t first  # number of the table's first entry
    cdef size_t capacity  # places
    cdef uint32_t *places  # owned; 1 + the number of an entry within the table, 0: a free place
    cdef uint32_t added

    cdef int add(self, const fanion_entry *entry, const char *key, size_t length) except -1
    cdef int finish(self, Rows index) except -1

cdef class Fragments:
    cdef Texts texts
    cdef Rows ropes, fragments
    cdef Places known
    cdef object hole
    cdef uint32_t pieces_max, holes_max
    cdef uint32_t *draft  # owned: of each fragment how many ropes, then those
    cdef size_t draft_room  # words
    cdef Place *fresh  # owned: runs that `drafted_new` added and `known` hasn't
    cdef size_t fresh_count
    cdef size_t fresh_room
    cdef uint64_t[1024] found  # a bit for each that `drafted_number` added, by its digest

    cdef int expect(self, size_t fragments) except -1
    cdef long number(self, tuple fragments) except -1
    cdef long drafted_number(self, size_t words, uint32_t fragments) except -1
    cdef long drafted_new(self, size_t words, uint32_t fragments) except -1
    cdef size_t put_drafted(self, size_t words) except? 0
    cdef int know_fresh(self) except -1
    cdef bint is_run(self, size_t first, size_t count) noexcept
    cdef size_t drafted(self, tuple fragments) except? 0
    cdef int draft_reserve(self, size_t words) except -1
    cdef int entry(
        self, one, key, const char *text, Py_ssize_t length, list outcomes, long overlay, encode, fanion_entry *out
    ) except -1
