"""What is said of wrong items in the answer to their batch, written as it is said. Knows no API."""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    INDEX_ROOM = 24      # bytes of an index in digits, and more
    BEGIN_BYTES = 11
    ENTRY_BYTES = 9      # of those, where nothing stands before

cdef const char *BEGIN = b'},{"index":'


cdef class Said:
    """`{"index":0,"NAME":"what is wrong"}` of the first items that together keep within `room` bytes; the rest is
    counted. `encode(message)` makes JSON of one."""

    def __cinit__(self, str name not None, uint32_t room, encode):
        self.between = b',"%b":' % name.encode()
        self.encode = encode
        self.left = room
        self.text = NULL

    def __dealloc__(self):
        PyMem_Free(self.text)

    def say(self, uint64_t index, str message not None):
        """One more item, and its words."""
        self.count += 1
        if not self.full:
            self.put(index, self.between + self.encode(message), NULL, 0, None)

    cdef int put(self, uint64_t index, bytes before, const uint8_t *quote, size_t length, bytes behind) except -1:
        """An entry of one that is counted already; its words are JSON, `before` and what stands between."""
        cdef char digits[INDEX_ROOM]
        cdef size_t at = INDEX_ROOM, first = BEGIN_BYTES - ENTRY_BYTES, size, size_before = <size_t>len(before)
        cdef size_t size_behind = 0 if behind is None else <size_t>len(behind)
        cdef char *to
        while True:
            at -= 1
            digits[at] = <char>(c'0' + index % 10)
            index //= 10
            if not index:
                break
        size = ENTRY_BYTES + (INDEX_ROOM - at) + size_before + length + size_behind
        self.left -= <int64_t>(size + 1)
        if self.left < 0:
            self.full = True
            return 0
        if self.length + size + BEGIN_BYTES > self.room:
            self.grow(size + BEGIN_BYTES)
        if self.length:
            first = 0
        to = self.text + self.length
        memcpy(to, BEGIN + first, BEGIN_BYTES - first)
        to += BEGIN_BYTES - first
        while at < INDEX_ROOM:
            to[0] = digits[at]
            to += 1
            at += 1
        memcpy(to, PyBytes_AS_STRING(before), size_before)
        to += size_before
        if behind is not None:
            memcpy(to, quote, length)
            to += length
            memcpy(to, PyBytes_AS_STRING(behind), size_behind)
            to += size_behind
        self.length = to - self.text
        return 0

    cdef int grow(self, size_t more) except -1:
        cdef size_t room = max(2 * self.room, self.length + more + 1024)
        cdef char *text = <char *>PyMem_Realloc(self.text, room)
        if text == NULL:
            raise MemoryError
        self.text, self.room = text, room
        return 0

    def list(self):
        """As a JSON array."""
        return b"[%b}]" % self.text[:self.length] if self.length else b"[]"
