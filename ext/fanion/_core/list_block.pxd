"""The reader of a list segment; see `list_block.pyx`."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "fanion_siphash.h" nogil:
    ctypedef struct fanion_siphash_key:
        uint64_t k0, k1

cdef extern from "fanion_list_block.h" nogil:
    ctypedef struct fanion_list_block:
        const uint8_t *starts
        uint32_t size
        uint16_t groups
        uint8_t depth


cdef class ListReader:
    cdef object set_range              # of a cursor over the lists, whose values are views into the map
    cdef object value                  # of the same cursor
    cdef uint64_t number
    cdef fanion_siphash_key key
    cdef fanion_list_block *blocks     # owned; 2**bits, by the first bits of a hash, each borrowed from the map
    cdef int bits

    cdef int has(self, const uint8_t *own, size_t length) except -1
    cdef int open_block(self, uint64_t hash, fanion_list_block *found) except -1
