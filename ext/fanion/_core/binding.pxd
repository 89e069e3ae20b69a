"""What binds a bundle's slots to the values of a question."""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fanion._core.bundle cimport BundleView
from fanion._core.expression cimport Expressions, Finder
from fanion._core.machine cimport machine


cdef class Binder(Finder):
    cdef list names                  # per slot: its name as a dict key; of CONTEXT_KEYS the joined text
    cdef list parts                  # per slot: None, or its dotted name taken apart
    cdef list types                  # per slot: its context type
    cdef Expressions expressions     # None where the bundle has none
    # Borrowed from whoever asks the current question; NULL: none given.
    cdef PyObject *contexts          # tuple of (type, key, attributes)

    cdef int attach(self, BundleView view, machine *m) except -1
    cdef void borrow(self, object members, object attributes, object contexts) noexcept
    cdef PyObject *look_up(self, uint32_t slot, PyObject *values) except? NULL
    cdef int bind_rarer(self, uint32_t slot) except -1
    cdef int bind_keys(self, uint32_t slot) except -1
