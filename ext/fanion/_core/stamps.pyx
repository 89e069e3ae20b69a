"""Request ids and times of day as text, made ahead of need.

`RequestIds` hands out version-4 UUIDs of the system's random source, which is asked for 256 at a time; `UtcClock`
writes the current time once a millisecond. `tests/unit/test_stamps.py` says the same by the standard library.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec


cdef extern from "<time.h>" nogil:
    ctypedef int64_t time_t
    struct tm:
        int tm_year, tm_mon, tm_mday, tm_hour, tm_min, tm_sec
    tm *gmtime_r(const time_t *seconds, tm *broken)


cdef enum:
    ID_BYTES = 16
    IDS_PER_DRAW = 256
    ID_CHARS = 36
    TIME_CHARS = 24

cdef const char *DIGITS = b"0123456789abcdef"


@cython.final
cdef class RequestIds:
    """A pool of UUIDs. Event loop only."""

    cdef bytes drawn
    cdef int left

    def take(self):
        """36 bytes, e.g. b"9fd3e4bc-5f2a-4ba2-b7f4-8a74054b8132"."""
        if self.left == 0:
            self.drawn = os.urandom(ID_BYTES * IDS_PER_DRAW)
            self.left = IDS_PER_DRAW
        self.left -= 1
        cdef const uint8_t *drawn = <const uint8_t *> PyBytes_AS_STRING(self.drawn) + self.left * ID_BYTES
        cdef bytes text = PyBytes_FromStringAndSize(NULL, ID_CHARS)
        cdef char *at = PyBytes_AS_STRING(text)
        cdef uint8_t byte
        cdef int index
        for index in range(ID_BYTES):
            byte = drawn[index]
            if index == 6:
                byte = 0x40 | (byte & 0x0F)  # the version
            elif index == 8:
                byte = 0x80 | (byte & 0x3F)  # the variant, RFC 9562's
            if index == 4 or index == 6 or index == 8 or index == 10:
                at[0] = c"-"
                at += 1
            at[0] = DIGITS[byte >> 4]
            at[1] = DIGITS[byte & 15]
            at += 2
        return text


@cython.final
cdef class UtcClock:
    """The time of day as the APIs write it. Event loop only."""

    cdef int64_t millisecond
    cdef bytes written

    def __cinit__(self):
        self.millisecond = -1

    def text(self, now_ns=None):
        """E.g. b"2026-02-01T10:30:00.123Z"; `now_ns`: Unix time, the current one unless given. From 1970 to 9999."""
        cdef timespec now
        cdef int64_t millisecond
        if now_ns is None:
            clock_gettime(CLOCK_REALTIME, &now)
            millisecond = <int64_t> now.tv_sec * 1000 + now.tv_nsec // 1_000_000
        else:
            millisecond = now_ns // 1_000_000
        if millisecond != self.millisecond or self.written is None:
            self.written = write(millisecond)
            self.millisecond = millisecond
        return self.written


cdef bytes write(int64_t millisecond):
    cdef time_t second = millisecond // 1000
    cdef tm broken
    if millisecond < 0 or gmtime_r(&second, &broken) == NULL or broken.tm_year + 1900 > 9999:
        raise ValueError(f"{millisecond} ms is no time from 1970 to 9999")
    cdef bytes text = PyBytes_FromStringAndSize(b"0000-00-00T00:00:00.000Z", TIME_CHARS)
    cdef char *at = PyBytes_AS_STRING(text)
    put(at, broken.tm_year + 1900, 4)
    put(at + 5, broken.tm_mon + 1, 2)
    put(at + 8, broken.tm_mday, 2)
    put(at + 11, broken.tm_hour, 2)
    put(at + 14, broken.tm_min, 2)
    put(at + 17, broken.tm_sec, 2)
    put(at + 20, <int> (millisecond - <int64_t> second * 1000), 3)
    return text


cdef void put(char *at, int number, int digits) noexcept nogil:
    while digits > 0:
        digits -= 1
        at[digits] = <char> (c"0" + number % 10)
        number //= 10
