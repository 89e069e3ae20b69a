"""The decision kernel and the object that runs it on a bundle."""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fanion._core.bundle cimport BundleView
from fanion._core.emit_json cimport output
from fanion._core.layout cimport fanion_entry, fanion_fragment, fanion_node, fanion_outcome
from fanion._core.machine cimport external_cell, frame, machine, memo_cell
from fanion._core.match cimport cell


cdef class Bundle(BundleView):
    cdef object external             # callable (op, operand, text) -> bool, or None
    cdef readonly str environment
    cdef readonly dict identifiers
    cdef list names                  # slot names, as dict keys
    cdef list parts                  # per slot: None, or its dotted name taken apart
    cdef list types                  # context types, per slot
    cdef list external_operands      # str, per external
    cdef dict tables                 # name -> number
    cdef cell *cells                 # owned; one per slot
    cdef memo_cell *memos            # owned; one per asked decision
    cdef external_cell *externals    # owned; one per external
    cdef uint32_t *seen              # owned; per entry: stamp of the last emit_map that wrote it
    cdef uint32_t stamp              # of the current request; never 0
    cdef output out                  # owned
    cdef machine machine
    # Borrowed from the caller of the current request.
    cdef PyObject *members
    cdef PyObject *attributes
    cdef PyObject *contexts

    cdef int read_meta(self) except -1
    cdef int begin(self, object members, object attributes, object contexts) except -1
    cdef int bind(self, uint32_t slot) except -1
    cdef PyObject *look_up(self, uint32_t slot, PyObject *values) except? NULL
    cdef int bind_keys(self, uint32_t slot) except -1
    cdef int run(self) noexcept nogil
    cdef int choose(self, machine *m, frame *f, const fanion_node *node) noexcept nogil
    cdef int hash(self, frame *f, const fanion_node *node) noexcept nogil
    cdef int answer_external(self) except -1
    cdef const fanion_outcome *decide(self, uint32_t decision) except NULL
    cdef const fanion_entry *visible(self, int table, str key, bint client) except? NULL
    cdef int put_fragment(self, uint32_t number, tuple holes) except -1
    cdef int put_entry(self, const fanion_entry *entry, int table, tuple holes) except -1
