# cython: language_level=3
"""Counters of all workers. Layouts: `fanion_shared.h`."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fanion._core.shared cimport SharedFile


cdef class MetricFile(SharedFile):
    cdef readonly int slots        # rows, one per worker
    cdef readonly int cells        # counters in a row
    cdef uint64_t series_max       # entries of the directory
    cdef uint64_t row_bytes        # a row, padded so that two workers share no cache line
    cdef uint8_t *rows_start       # body + directory

    cdef int find(self, bytes name, uint32_t width) except -2
    cdef object append(self, bytes name, uint32_t width)


cdef class MetricSlot:
    cdef MetricFile owner          # keeps the mapping alive
    cdef uint64_t *row             # borrowed from owner; relaxed adds by this process, relaxed loads by all
    cdef int cells
    cdef readonly int number

    cdef uint64_t *at(self, int cell) except NULL
