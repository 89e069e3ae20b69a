"""A mapped bundle: one owner of the buffer, typed pointers to its sections. See `fanion.bundle` for the format."""

from cpython.buffer cimport Py_buffer
from libc.stdint cimport uint32_t

from fanion._core.layout cimport fanion_entry, fanion_sections, fanion_table, fanion_text


cdef class BundleView:
    cdef Py_buffer buffer        # owned; held from __cinit__ until close()
    cdef bint held
    cdef fanion_sections s
    cdef uint32_t memo_count     # decisions that others ask
    cdef uint32_t slot_count
    cdef uint32_t external_count

    cdef int require(self) except -1
    cdef str text(self, fanion_text place)
    cdef const fanion_entry *find(self, const fanion_table *table, const char *key, size_t length) noexcept nogil
