"""What binds a bundle's slots to the values of a question."""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fanion._core.bundle cimport BundleView
from fanion._core.machine cimport machine


cdef class Binder:
    cdef machine *m                  # borrowed from the bundle that owns both
    cdef list names                  # per slot: its name as a dict key; of CONTEXT_KEYS the joined text
    cdef list parts                  # per slot: None, or its dotted name taken apart
    cdef list types                  # per slot: its context type
    # Borrowed from whoever asks the current question; NULL: none given.
    cdef PyObject *members           # dict
    cdef PyObject *attributes        # dict
    cdef PyObject *contexts          # tuple of (type, key, attributes)

    cdef int attach(self, BundleView view, machine *m) except -1
    cdef void borrow(self, object members, object attributes, object contexts) noexcept
    cdef int bind(self, uint32_t slot) except -1
    cdef PyObject *look_up(self, uint32_t slot, PyObject *values) except? NULL
    cdef int bind_keys(self, uint32_t slot) except -1
