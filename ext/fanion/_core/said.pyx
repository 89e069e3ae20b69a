"""What is said of wrong items in the answer to their batch, written as it is said. Knows no API."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    BEGIN_BYTES = 9
    COMMA_BYTES = 10     # of NEXT, from its comma on

cdef const char *BEGIN = b'{"index":'
cdef bytes NEXT = b'},{"index":'


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
            self.put(index, self.words(message), NULL, 0, None)

    cdef bytes words(self, str message):
        """All that an entry has behind its index, and what the next one begins with."""
        return self.between + self.encode(message) + NEXT

    cdef tuple words_around(self, str before, str behind):
        """The same of a message in which something stands between the two."""
        cdef bytes begin = self.between + self.encode(before)
        return begin[:len(begin) - 1], <bytes>self.encode(behind)[1:] + NEXT

    cdef int put(self, uint64_t index, bytes before, const uint8_t *quote, size_t length, bytes behind) except -1:
        """An entry of one that is counted already: `before` is what `words` made, or both what `words_around` did."""
        cdef size_t size, size_before = <size_t>PyBytes_GET_SIZE(before)
        cdef size_t size_behind = 0 if behind is None else <size_t>PyBytes_GET_SIZE(behind)
        cdef char *to
        self.number(index)
        size = (INDEX_ROOM - self.at) + size_before + length + size_behind
        self.left -= <int64_t>(size - 1)  # without NEXT's comma
        if self.left < 0:
            self.full = True
            return 0
        if self.length + size + BEGIN_BYTES + INDEX_ROOM > self.room:
            self.grow(size + BEGIN_BYTES + INDEX_ROOM)
        to = self.text + self.length
        if not self.length:
            memcpy(to, BEGIN, BEGIN_BYTES)
            to += BEGIN_BYTES
        memcpy(to, self.digits + self.at, INDEX_ROOM)  # as many as there are, and more that are written over
        to += INDEX_ROOM - self.at
        memcpy(to, PyBytes_AS_STRING(before), size_before)
        to += size_before
        if behind is not None:
            memcpy(to, quote, length)
            to += length
            memcpy(to, PyBytes_AS_STRING(behind), size_behind)
            to += size_behind
        self.length = to - self.text
        return 0

    cdef void number(self, uint64_t index) noexcept:
        """Sets `digits`; most indexes stand behind the last."""
        cdef size_t at = INDEX_ROOM
        if self.at and index and index == self.last + 1:
            at -= 1
            while at >= self.at and self.digits[at] == c'9':
                self.digits[at] = c'0'
                at -= 1
            if at < self.at:
                self.at, self.digits[at] = at, c'0'
            self.digits[at] += 1
            self.last = index
            return
        self.last = index
        while True:
            at -= 1
            self.digits[at] = <char>(c'0' + index % 10)
            index //= 10
            if not index:
                break
        self.at = at

    cdef int grow(self, size_t more) except -1:
        cdef size_t room = max(2 * self.room, self.length + more + 1024)
        cdef char *text = <char *>PyMem_Realloc(self.text, room)
        if text == NULL:
            raise MemoryError
        self.text, self.room = text, room
        return 0

    def list(self):
        """As a JSON array."""
        cdef size_t length = self.length - COMMA_BYTES
        cdef bytes made
        if not self.length:
            return b"[]"
        made = PyBytes_FromStringAndSize(NULL, length + 2)
        PyBytes_AS_STRING(made)[0] = c"["
        memcpy(PyBytes_AS_STRING(made) + 1, self.text, length)
        PyBytes_AS_STRING(made)[length + 1] = c"]"
        return made
