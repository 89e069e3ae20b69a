# cython: language_level=3
"""Files that all workers map. Layouts, locks and memory orders: `fanion_shared.h`, `fanion_atomics.h`."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef extern from "fanion_atomics.h" nogil:
    uint64_t fanion_u64_load_relaxed(const uint64_t *word) noexcept
    uint64_t fanion_u64_load_acquire(const uint64_t *word) noexcept
    void fanion_u64_store_relaxed(uint64_t *word, uint64_t value) noexcept
    void fanion_u64_store_release(uint64_t *word, uint64_t value) noexcept
    uint64_t fanion_u64_add_relaxed(uint64_t *word, uint64_t count) noexcept
    void fanion_u64_raise_acq_rel(uint64_t *word, uint64_t value) noexcept


cdef extern from "fanion_shared.h" nogil:
    int fanion_lock_byte(int fd, long offset) noexcept
    int fanion_unlock_byte(int fd, long offset) noexcept
    int fanion_byte_is_locked(int fd, long offset) noexcept


cdef class SharedFile:
    cdef int fd                    # open for the life of the object; carries the slot locks
    cdef uint8_t *base             # the mapping, header first; NULL once closed
    cdef uint8_t *body             # base + one page; what subclasses lay out
    cdef readonly uint64_t body_bytes
    cdef readonly str path
    cdef readonly bint fresh       # this call created the file or zeroed its body

    cdef try_open(self, bytes header, bint replace, bint per_boot, bint large, uint64_t begin)
    cdef fits(self, int fd, bytes header)
    cdef int lock_file(self) except -1
    cdef int unlock_file(self) except -1
    cdef int check_open(self) except -1


cdef class GenerationWord(SharedFile):
    pass


cdef class LimiterTable(SharedFile):
    cdef uint64_t mask             # slots - 1
