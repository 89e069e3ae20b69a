"""A request's headers, for modules that look them up without a step of Python: see the .pyx."""


cdef struct text_span:
    const char *start
    Py_ssize_t size


cdef class RequestHeaders:
    cdef tuple pairs
    """Exact pairs, of bytes or of ASCII text: `take` has looked."""
    cdef bint text
    cdef readonly bint plain
    """Each name stands once and was handed over, and Host says something. What RSGI's server can't hand over
    it doesn't name either beside another of that name (docs/interfaces.md)."""
    cdef tuple unreadable
    """Names, as bytes, that the server has and doesn't hand over; None where there are none."""

    cdef text_span span(self, Py_ssize_t index, Py_ssize_t part) noexcept
    cdef Py_ssize_t find(self, const char *name, Py_ssize_t size, Py_ssize_t end) noexcept
    cdef Py_ssize_t last(self, bytes name) noexcept
    cdef int take(self, pairs, bint text) except -1
    cdef bytes value(self, Py_ssize_t index)


cpdef RequestHeaders of_pairs(list pairs)
cpdef RequestHeaders of_text(named)
cpdef bytes sure_key(headers, bytes own, bint bearer, bint folded)
