"""The native judge of a batch's items, as Cython sees it; what each part means stands in `fanion_judge_table.h`."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "<stdbool.h>" nogil:
    ctypedef bint c_bool "bool"  # of one byte

cdef extern from "fanion_item_judge.h" nogil:
    enum:
        FANION_JUDGE_INTEGER
        FANION_JUDGE_FLOAT
        FANION_JUDGE_TEXT
        FANION_JUDGE_BOOLEAN
        FANION_JUDGE_NULL
        FANION_JUDGE_OBJECT
        FANION_JUDGE_LIST
        FANION_JUDGE_MAP
        FANION_JUDGE_CHOICE
        FANION_JUDGE_ANY
        FANION_JUDGE_FIELDS_MAX
        FANION_JUDGE_MOMENTS_MAX
        FANION_JUDGE_NO_PATTERN
        FANION_JUDGE_MOMENT
        FANION_JUDGE_DIGEST
        FANION_JUDGE_INT64
        FANION_JUDGE_ABOVE_ZERO
        FANION_JUDGE_FROM_ZERO
        FANION_JUDGE_UP_TO_ONE
        FANION_JUDGE_ELSEWHERE
        FANION_JUDGE_UNKNOWN
        FANION_JUDGE_WRONG_CHOICE
        FANION_JUDGE_WRONG_TAG
        FANION_JUDGE_NO_MOMENT
        FANION_JUDGE_FINE
        FANION_JUDGE_WRONG
        FANION_JUDGE_UNSURE

    ctypedef struct fanion_flat_text:
        const char *text
        uint32_t length

    ctypedef struct fanion_judge_text:
        const uint8_t *at
        uint32_t length
        c_bool escaped, ascii, number, raw

    ctypedef struct fanion_judge_shape

    ctypedef struct fanion_judge_type:
        uint32_t number, kinds, unsure, pattern, bounds, length_min, length_max, count_max, choice_count
        const fanion_flat_text *choices
        const fanion_judge_type *items
        fanion_judge_shape *shape

    ctypedef struct fanion_judge_field:
        fanion_flat_text name
        const fanion_judge_type *type
        int32_t note, kept

    ctypedef struct fanion_judge_struct:
        uint32_t number, field_count
        fanion_judge_field *fields
        fanion_flat_text tag
        uint32_t required, exactly_one
        bint closed
        uint32_t moment_count
        uint8_t moments[1]
        uint8_t after[1]

    ctypedef struct fanion_judge_shape:
        uint32_t number
        fanion_flat_text tag_name
        uint32_t struct_count
        fanion_judge_struct **structs

    ctypedef struct fanion_judge_schema:
        fanion_flat_text list_name
        const fanion_judge_type *item
        uint32_t count_max, note_count, fixed_count
        bint open, whole, text_first

    ctypedef struct fanion_judge_bounds:
        uint32_t depth_max, keys_max, digits_max
        uint64_t tokens_max, batch_tokens_max

    ctypedef struct fanion_judge_item:
        uint32_t first, last, verdict
        uint64_t fault
        fanion_judge_text quote

    bint fanion_judge_is_utf8(const uint8_t *at, const uint8_t *end)
    int64_t fanion_judge_batch(
        const fanion_judge_schema *schema, const fanion_judge_bounds *bounds, const uint8_t *body, uint64_t length,
        uint64_t tokens, bint text, const fanion_flat_text *fixed, fanion_judge_item *items, fanion_judge_text *notes,
        c_bool *alone, c_bool *within,
    ) noexcept


cdef enum:
    NOTES_MAX = 16


cdef class JudgeTable:
    cdef fanion_judge_schema schema
    cdef fanion_judge_bounds bounds
    cdef fanion_judge_type *types
    cdef fanion_judge_struct *structs
    cdef fanion_judge_shape *shapes
    cdef fanion_judge_item *items  # of the batch that was judged last
    cdef fanion_judge_text *notes  # of each of them
    cdef bint quotes_moments
    cdef void **blocks             # all that was allocated; owned
    cdef size_t block_count
    cdef list _texts
    cdef dict _words               # fault -> (what stands before the quote, and behind it; None: it quotes nothing)
    cdef object _decode

    cdef void *block(self, size_t count, size_t size) except NULL
    cdef fanion_flat_text borrow(self, str text)
    cdef int make_type(self, uint32_t number, tuple one, Py_ssize_t types, Py_ssize_t shapes) except -1
    cdef int make_struct(self, uint32_t number, tuple one, Py_ssize_t types, uint32_t notes) except -1
    cdef int make_shape(self, uint32_t number, tuple one, Py_ssize_t structs) except -1
