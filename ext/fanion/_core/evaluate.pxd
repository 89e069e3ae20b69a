"""What decides on a bundle, and one question to it."""

from libc.stdint cimport uint32_t, uint64_t

from fanion._core.binding cimport Binder
from fanion._core.bundle cimport BundleView
from fanion._core.emit_json cimport output
from fanion._core.exposures cimport Recorder
from fanion._core.layout cimport fanion_entry, fanion_outcome
from fanion._core.machine cimport machine


# Which answer stands in a place of `Bundle.kept_answers`.
ctypedef struct kept_answer:
    uint32_t fragment  # 1 + its number, 0: the place is free
    int resolution


cdef class Bundle(BundleView):
    cdef object external             # callable (op, operand, text) -> bool, or None
    cdef readonly str environment
    cdef readonly dict identifiers
    cdef Binder binder
    cdef list external_operands      # str, per external
    cdef dict tables                 # name -> number
    cdef uint64_t *seen              # owned; per entry: number of the last map that it stands in
    cdef uint64_t maps               # written so far
    cdef kept_answer *kept           # owned; NULL until a first answer is kept
    cdef list kept_answers           # by place: (resolution, fragment, rest), or None
    cdef uint32_t kept_mask          # places - 1
    cdef output out                  # owned
    cdef list exposing               # by table: Exposing or None; None where nothing is recorded
    cdef Recorder recorder           # its
    cdef bint noted                  # whether the current question has something for it
    cdef machine machine             # its cells, memos and externals are owned, as its scratch is

    cdef int read_meta(self) except -1
    cdef int begin(self, object members, object attributes, object contexts) except -1
    cdef int forget(self) except -1
    cdef int answer_external(self) except -1
    cdef const fanion_outcome *decide(self, uint32_t decision) except NULL
    cdef const fanion_outcome *decide_number(self, uint32_t decision) except NULL
    cdef const fanion_entry *visible(self, int table, str key, bint client) except? NULL
    cdef uint32_t fragment_of(
        self, const fanion_entry *entry, int table, int *resolution, bint assigned
    ) except? 0xFFFFFFFF
    cdef int put_head(self, uint32_t number) except -1
    cdef int put_fragment(self, uint32_t number) except -1
    cdef int put_entry(self, const fanion_entry *entry, int table) except -1
    cdef tuple resolution(self, int table, str key, bint client, bint assigned)
    cdef tuple resolved(self, const fanion_entry *entry, int table, bint assigned)
    cdef int note(self, const fanion_outcome *outcome, int table, bint assigned) except -1
    cdef int publish(self) except -1
    cdef tuple make_resolution(self, uint32_t number, int resolution)
    cdef int keep(self, uint32_t number, int resolution, tuple made) except -1


cdef class Question:
    cdef Bundle bundle
    cdef uint32_t stamp              # the bundle's, when this was asked
    # Kept until the question is gone: the bundle's cells borrow from them.
    cdef dict members
    cdef dict attributes
    cdef tuple contexts

    cdef int check(self) except -1
