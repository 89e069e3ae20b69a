"""Where the members of objects stand in a JSON text that a decoder has taken.

Of another text it says something or nothing, and reads no byte outside it. Keys are compared as they are written.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp

cdef extern from "string.h" nogil:
    void *memmem(const void *text, size_t size, const void *word, size_t length)

cdef extern from "fanion_json_text.h" nogil:
    const uint8_t *fanion_json_string_end(const uint8_t *at, const uint8_t *end)
    const uint8_t *fanion_json_blanks_end(const uint8_t *at, const uint8_t *end)


cdef const uint8_t *value_end(const uint8_t *at, const uint8_t *end) noexcept nogil:
    """Behind the value that begins at `at`; NULL where none ends."""
    cdef uint64_t depth = 0
    while at < end:
        if at[0] == b'"':
            at = fanion_json_string_end(at, end)
            if at == NULL:
                return NULL
            if not depth:
                return at
            continue
        if at[0] == b"{" or at[0] == b"[":
            depth += 1
        elif at[0] == b"}" or at[0] == b"]":
            if not depth:
                return at  # of what surrounds a number or a word
            depth -= 1
            if not depth:
                return at + 1
        elif not depth and (at[0] == b"," or at[0] <= b" "):
            return at
        at += 1
    if depth:
        return NULL
    return at


cdef const uint8_t *member(const uint8_t *at, const uint8_t *end, const uint8_t **key) noexcept nogil:
    """The value of an object's next member, and where its key begins; NULL where there is none. `at` is behind the
    bracket or the member before."""
    at = fanion_json_blanks_end(at, end)
    if at < end and at[0] == b",":
        at = fanion_json_blanks_end(at + 1, end)
    if at >= end or at[0] != b'"':
        return NULL
    key[0] = at
    at = fanion_json_string_end(at, end)
    if at == NULL:
        return NULL
    at = fanion_json_blanks_end(at, end)
    return fanion_json_blanks_end(at + 1, end) if at < end and at[0] == b":" else NULL


cdef const uint8_t *collect(const uint8_t *text, const uint8_t *at, const uint8_t *end, tuple path, Py_ssize_t depth,
                            list found) except? NULL:
    """Behind the value that begins at `at`; NULL where none ends."""
    cdef const uint8_t *start = at
    cdef const uint8_t *key
    cdef const uint8_t *value
    if at >= end or at[0] != b"{":
        return value_end(at, end)
    if depth == len(path):
        at = value_end(at, end)
        if at != NULL:
            found.append((start - text, at - text))
        return at
    at += 1
    while True:
        value = member(at, end, &key)
        if value == NULL:
            at = fanion_json_blanks_end(at, end)
            return at + 1 if at < end and at[0] == b"}" else NULL
        if is_key(key, value, path[depth]):
            at = collect(text, value, end, path, depth + 1, found)
        else:
            at = value_end(value, end)
        if at == NULL:
            return NULL


cdef bint is_key(const uint8_t *key, const uint8_t *end, name) except -1:
    """Whether the key that stands before `end` is this one; any is None."""
    cdef bytes wanted = name
    cdef size_t length
    if wanted is None:
        return True
    length = PyBytes_GET_SIZE(wanted)
    return <size_t> (end - key) >= length and memcmp(key, PyBytes_AS_STRING(wanted), length) == 0


def objects_at(bytes text not None, tuple path not None):
    """Where each object begins and ends that stands at `path`: a key of each object above it, as it is written,
    quotes included; None: any."""
    cdef const uint8_t *at = <const uint8_t *> PyBytes_AS_STRING(text)
    cdef const uint8_t *end = at + PyBytes_GET_SIZE(text)
    found = []
    collect(at, fanion_json_blanks_end(at, end), end, path, 0, found)
    return found


cdef struct Span:
    size_t first, end


def members_of(bytes text not None, size_t first, size_t end, size_t at, size_t behind, size_t beside):
    """Where members of the object in [first, end) begin, each with its key, and end, with its value: all that end at
    `at` or later and begin at `behind` or before, and up to `beside` on either side of those."""
    cdef const uint8_t *start = <const uint8_t *> PyBytes_AS_STRING(text)
    cdef const uint8_t *place
    cdef const uint8_t *key
    cdef const uint8_t *value
    cdef Span *before = NULL  # the last that end before `at`, around
    cdef size_t count = 0, n, more = 0
    if not first < end <= <size_t> PyBytes_GET_SIZE(text):
        raise IndexError(f"bytes {first} to {end}")
    found = []
    before = <Span *> PyMem_RawMalloc((beside + 1) * sizeof(Span))
    if before == NULL:
        raise MemoryError
    try:
        place = start + first + 1
        while beside == 0 or more < beside:
            value = member(place, start + end, &key)
            if value == NULL:
                break
            place = value_end(value, start + end)
            if place == NULL:
                break
            if <size_t> (place - start) < at:
                if beside:
                    before[count % beside].first = key - start
                    before[count % beside].end = place - start
                    count += 1
                continue
            if <size_t> (key - start) > behind:
                if more == beside:
                    break
                more += 1
            found.append((key - start, place - start))
        ahead = [
            (before[n % beside].first, before[n % beside].end)
            for n in range(count - min(count, beside), count)
        ]
    finally:
        PyMem_RawFree(before)
    return ahead + found


def has(bytes text not None, bytes word not None):
    """Whether a word stands anywhere in it: `in`, in a third of its time for short words in long texts."""
    return memmem(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), PyBytes_AS_STRING(word),
                  PyBytes_GET_SIZE(word)) != NULL


def same_ends(bytes one not None, bytes other not None):
    """How many bytes both begin with, and how many of the others both end with."""
    cdef const char *left = PyBytes_AS_STRING(one)
    cdef const char *right = PyBytes_AS_STRING(other)
    cdef size_t size = PyBytes_GET_SIZE(one), others = PyBytes_GET_SIZE(other), most = min(size, others)
    cdef size_t first = 0, last = 0
    with nogil:
        while first + 4096 <= most and memcmp(left + first, right + first, 4096) == 0:
            first += 4096
        while first < most and left[first] == right[first]:
            first += 1
        most -= first
        while last + 4096 <= most and memcmp(left + size - last - 4096, right + others - last - 4096, 4096) == 0:
            last += 4096
        while last < most and left[size - last - 1] == right[others - last - 1]:
            last += 1
    return first, last
