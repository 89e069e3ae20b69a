"""A request's headers where the HTTP server put them: looked up in their list, without a dict of them.

A request has few headers and is asked for two or three, so a look through the list is less than hashing all. Both
interfaces' lists are taken as they come, names in lower case: pairs of bytes, or of ASCII text, of which only
what is asked for is made bytes. `plain` says in the same pass what every request has to be asked.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcmp


cdef extern from "Python.h":
    bint PyBytes_CheckExact(object o)
    bint PyUnicode_CheckExact(object o)
    bint PyUnicode_IS_COMPACT_ASCII(object o)
    Py_ssize_t PyUnicode_GET_LENGTH(object o)
    void *PyUnicode_DATA(object o)


cdef enum:
    UUID_CHARS = 36

cdef bytes AUTHORIZATION = b"authorization"
cdef bytes BEARER = b"Bearer "


@cython.final
@cython.freelist(32)
@cython.no_gc
cdef class RequestHeaders:
    """Names to values; of a name that stands twice the last value counts. Made by `of_pairs` and `of_text`."""

    cdef text_span span(self, Py_ssize_t index, Py_ssize_t part) noexcept:
        cdef object item = <object> PyTuple_GET_ITEM(<tuple> PyTuple_GET_ITEM(self.pairs, index), part)
        cdef text_span found
        if self.text:
            found.start, found.size = <const char *> PyUnicode_DATA(item), PyUnicode_GET_LENGTH(item)
        else:
            found.start, found.size = PyBytes_AS_STRING(item), PyBytes_GET_SIZE(item)
        return found

    cdef Py_ssize_t find(self, const char *name, Py_ssize_t size, Py_ssize_t end) noexcept:
        """The last of this name before `end`, or -1."""
        cdef text_span known
        while end > 0:
            end -= 1
            known = self.span(end, 0)
            if known.size == size and memcmp(known.start, name, size) == 0:
                return end
        return -1

    cdef int take(self, pairs, bint text) except -1:
        """How many names there are."""
        cdef object pair, part
        cdef Py_ssize_t index, names = 0
        cdef uint64_t seen = 0, bit
        cdef text_span name
        self.pairs, self.text = tuple(pairs), text
        for index in range(PyTuple_GET_SIZE(self.pairs)):
            pair = <object> PyTuple_GET_ITEM(self.pairs, index)
            if not PyTuple_CheckExact(pair) or PyTuple_GET_SIZE(pair) != 2:
                raise TypeError("a header must be a pair")
            for part in <tuple> pair:
                if not (is_ascii(part) if text else PyBytes_CheckExact(part)):
                    raise TypeError("a header must be a pair of bytes, or of ASCII text")
            name = self.span(index, 0)
            bit = <uint64_t> 1 << (sketch(name) & 63)
            if not seen & bit or self.find(name.start, name.size, index) < 0:
                names += 1
            seen |= bit
        cdef Py_ssize_t host = self.find("host", 4, PyTuple_GET_SIZE(self.pairs))
        self.plain = host >= 0 and self.span(host, 1).size > 0 and names == PyTuple_GET_SIZE(self.pairs)
        return names

    cdef bytes value(self, Py_ssize_t index):
        cdef text_span found
        if not self.text:
            return <bytes> PyTuple_GET_ITEM(<tuple> PyTuple_GET_ITEM(self.pairs, index), 1)
        found = self.span(index, 1)
        return PyBytes_FromStringAndSize(found.start, found.size)

    cdef Py_ssize_t last(self, bytes name) noexcept:
        return self.find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), PyTuple_GET_SIZE(self.pairs))

    def get(self, bytes name not None, default=None, /):
        cdef Py_ssize_t index = self.last(name)
        return default if index < 0 else self.value(index)

    def __contains__(self, bytes name not None):
        return self.last(name) >= 0

    def listed(self):
        """All of them as pairs of bytes, in their order; then those that were not handed over, each as two pairs of
        an empty name and its own."""
        pairs = [(name.encode(), value.encode()) for name, value in self.pairs] if self.text else list(self.pairs)
        return pairs + [(b"", name) for name in self.unreadable or () for _ in range(2)]


cpdef RequestHeaders of_pairs(list pairs):
    """ASGI's."""
    cdef RequestHeaders headers = RequestHeaders.__new__(RequestHeaders)
    headers.take(pairs, False)
    return headers


cpdef RequestHeaders of_text(named):
    """RSGI's: what `named` has as `items`, beside which its length and its iterator know all names."""
    cdef RequestHeaders headers = RequestHeaders.__new__(RequestHeaders)
    if headers.take(named.items(), True) != len(named):
        read = {name for name, _ in headers.pairs}
        headers.unreadable = tuple([name.encode() for name in named if name not in read])
        headers.plain = False
    return headers


cpdef bytes behind(headers, bytes name, bytes start):
    """What follows `start` in a header of this name, if something does, and no blank is around it; else nothing.
    Of other headers than `RequestHeaders` nothing is said."""
    if type(headers) is not RequestHeaders:
        return b""
    cdef RequestHeaders known = <RequestHeaders> headers
    cdef Py_ssize_t size = PyBytes_GET_SIZE(start)
    cdef Py_ssize_t index = known.last(name)
    if index < 0:
        return b""
    cdef text_span value = known.span(index, 1)
    if value.size <= size or memcmp(value.start, PyBytes_AS_STRING(start), size) != 0:
        return b""
    if <unsigned char> value.start[size] <= c" " or <unsigned char> value.start[value.size - 1] <= c" ":
        return b""
    return PyBytes_FromStringAndSize(value.start + size, value.size - size)


cpdef bytes sure_key(headers, bytes own, bint bearer, bint folded):
    """A request's raw key where it stands as in most: whole in `own`, a header of the API's own (None: it has none),
    or with `bearer` behind `Authorization: Bearer `. Nothing where blanks are around it, where both headers were
    sent, and of a `folded` one that may be a UUID with capitals: the API has its rules for those."""
    cdef RequestHeaders known
    cdef bytes key
    cdef Py_ssize_t index
    if type(headers) is not RequestHeaders:
        return b""
    known = <RequestHeaders> headers
    index = -1 if own is None else known.last(own)
    if index < 0:
        key = behind(known, AUTHORIZATION, BEARER) if bearer else b""
    elif bearer and known.last(AUTHORIZATION) >= 0:
        key = b""
    else:
        key = behind(known, own, b"")
    if folded and PyBytes_GET_SIZE(key) == UUID_CHARS:
        for index in range(UUID_CHARS):
            if c"A" <= PyBytes_AS_STRING(key)[index] <= c"Z":
                return b""
    return key


cdef inline bint is_ascii(object part) noexcept:
    return PyUnicode_CheckExact(part) and PyUnicode_IS_COMPACT_ASCII(part)


cdef inline uint64_t sketch(text_span name) noexcept nogil:
    """A few bits that names seldom share."""
    if name.size == 0:
        return 0
    return <uint64_t> name.size * 5 + <uint64_t> name.start[0] * 3 + <uint64_t> name.start[name.size - 1] * 11
