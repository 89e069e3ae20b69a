"""What is said of wrong items, one entry of JSON for each as long as there is room; see `said.pyx`."""

from libc.stdint cimport int64_t, uint8_t, uint64_t


cdef enum:
    INDEX_ROOM = 24      # bytes of an index in digits, and more


cdef class Said:
    cdef readonly uint64_t count  # of all items that are wrong
    cdef readonly bint full       # no answer has room for another
    cdef bytes between            # behind an index, before its words
    cdef object encode            # a message as JSON
    cdef int64_t left             # bytes that there is room for
    cdef char *text               # entries, and what the next one begins with; owned
    cdef size_t length, room      # bytes of it that are written, and allocated
    cdef char digits[2 * INDEX_ROOM]    # of the last index, from `at` to INDEX_ROOM; at 0: of none
    cdef size_t at
    cdef uint64_t last

    cdef bytes words(self, str message)
    cdef tuple words_around(self, str before, str behind)
    cdef int put(self, uint64_t index, bytes before, const uint8_t *quote, size_t length, bytes behind) except -1
    cdef void number(self, uint64_t index) noexcept
    cdef int grow(self, size_t more) except -1
