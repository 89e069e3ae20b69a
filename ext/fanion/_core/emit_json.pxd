"""Putting an answer together from ready pieces: a growing buffer that its bundle keeps between requests."""

from libc.stdint cimport uint8_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy


cdef extern from "fanion_short.h" nogil:
    void fanion_copy(char *to, const char *source, size_t length)


ctypedef struct output:
    char *data        # owned by the bundle
    size_t length     # bytes of this answer
    size_t capacity


cdef inline int reserve(output *out, size_t more) except -1:
    cdef size_t wanted = out.length + more
    cdef char *grown
    if wanted > out.capacity:
        wanted += wanted // 2 + 256
        grown = <char *> realloc(out.data, wanted)
        if grown == NULL:
            raise MemoryError
        out.data = grown
        out.capacity = wanted
    return 0


cdef inline int put(output *out, const char *data, size_t length) except -1:
    reserve(out, length)
    fanion_copy(out.data + out.length, data, length)
    out.length += length
    return 0


cdef inline int put_json_text(output *out, const char *text, size_t length) except -1:
    """A UTF-8 text as a JSON string: quotes, backslashes and control characters escaped, nothing else."""
    cdef const char *digits = b"0123456789abcdef"
    cdef char *p
    cdef uint8_t c
    cdef size_t n
    reserve(out, 6 * length + 2)
    p = out.data + out.length
    p[0] = c'"'
    p += 1
    for n in range(length):
        c = <uint8_t> text[n]
        if c == c'"' or c == c'\\':
            p[0] = c'\\'
            p[1] = <char> c
            p += 2
        elif c < 32:
            memcpy(p, b"\\u00", 4)
            p[4] = digits[c >> 4]
            p[5] = digits[c & 15]
            p += 6
        else:
            p[0] = <char> c
            p += 1
    p[0] = c'"'
    out.length = p + 1 - out.data
    return 0
