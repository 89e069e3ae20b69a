"""The decision kernel and the object that runs it on a bundle."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t

from fanion._core.bundle cimport BundleView
from fanion._core.emit_json cimport output
from fanion._core.layout cimport fanion_decision, fanion_entry, fanion_fragment, fanion_node, fanion_outcome
from fanion._core.match cimport cell


# An asked decision's outcome, valid while `stamp` is the request's.
ctypedef struct memo_cell:
    uint32_t stamp
    uint32_t node      # absolute number of the outcome node


# An external leaf's answer, valid while `stamp` is the request's.
ctypedef struct external_cell:
    uint32_t stamp
    uint32_t passed


ctypedef struct frame:
    const fanion_decision *decision
    const fanion_node *nodes     # the decision's first node
    uint32_t at                  # node to run next
    int64_t bucket               # -1 until a hash set it
    double unit


# One run, resumable: when it stops at an unbound slot or an external leaf, supply that and run again.
ctypedef struct machine:
    frame frames[32]
    int depth
    uint32_t wanted              # the slot or external leaf it stopped at


cdef enum run_status:
    RUN_DONE
    RUN_UNBOUND
    RUN_EXTERNAL
    RUN_NO_MEMORY


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
    cdef char *scratch               # owned; hash input that does not fit the stack
    cdef size_t scratch_capacity
    cdef machine machine
    # Borrowed from the caller of the current request.
    cdef PyObject *members
    cdef PyObject *attributes
    cdef PyObject *contexts

    cdef int read_meta(self) except -1
    cdef int begin(self, object members, object attributes, object contexts) except -1
    cdef int bind(self, uint32_t slot) except -1
    cdef int bind_keys(self, uint32_t slot) except -1
    cdef int run(self) noexcept nogil
    cdef int hash(self, frame *f, const fanion_node *node) noexcept nogil
    cdef int answer_external(self) except -1
    cdef const fanion_outcome *decide(self, uint32_t decision) except NULL
    cdef const fanion_entry *visible(self, int table, str key, bint client) except? NULL
    cdef int put_fragment(self, uint32_t number, tuple holes) except -1
    cdef int put_entry(self, const fanion_entry *entry, int table, tuple holes) except -1
