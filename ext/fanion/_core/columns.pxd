from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "fanion_columns.h" nogil:
    ctypedef struct fanion_bytes:
        uint8_t *at
        uint64_t used, room

    ctypedef struct fanion_texts:
        fanion_bytes text, offsets

    ctypedef struct fanion_dictionary:
        fanion_texts texts
        uint32_t count

    bint fanion_bytes_reserve(fanion_bytes *b, uint64_t more)
    void fanion_bytes_free(fanion_bytes *b)
    uint64_t fanion_texts_count(const fanion_texts *t)
    bint fanion_texts_begin(fanion_texts *t)
    bint fanion_texts_add(fanion_texts *t, const char *text, uint64_t length)
    void fanion_texts_cut(fanion_texts *t, uint64_t count)
    void fanion_texts_free(fanion_texts *t)
    bint fanion_dictionary_begin(fanion_dictionary *d)
    int32_t fanion_dictionary_number(fanion_dictionary *d, const char *text, uint64_t length)
    void fanion_dictionary_free(fanion_dictionary *d)
    uint64_t fanion_pack_bits(uint8_t *bits, const uint8_t *bytes, uint64_t count)
    void fanion_numbers_finish(int32_t *numbers, uint8_t *valid, uint64_t count)


# The columns, in the order of `fanion.journal.rows.Row`.
cdef enum:
    MACHINE, WRITER, EPOCH, SEQUENCE, INDEX, PART, RECEIVED_AT, EVENT_AT, TIME_FROM, SENT_AT, ENVIRONMENT, DIALECT
    KIND, DISPOSITION, COUNTS, VERIFIED, EVENT_ID, UNIT_KIND, UNIT, UNIT_HASHED, FLAG, PARAMETER, VARIANT, METRIC
    VALUE, VALUE_TEXT, REASON, RUN, GENERATION, ATTRIBUTES, UNIT_KEY, EVENT_KEY
    COLUMN_COUNT


cdef enum:
    NAME_TYPE  # a text by its number in a dictionary
    TEXT_TYPE
    TIME_TYPE
    LONG_TYPE
    INTEGER_TYPE
    DOUBLE_TYPE
    BOOLEAN_TYPE


cdef struct Column:
    fanion_bytes data  # a value for each row: int32 number in `names` (-1: null), 1 byte a boolean; nothing of texts
    fanion_bytes valid  # a byte for each row, of columns that may be null but names
    fanion_texts texts
    fanion_dictionary names
    fanion_bytes bits, truth  # when finished: validity, and of booleans the values, as Arrow has them
    int64_t nulls


cdef class Columns:
    cdef Column columns[COLUMN_COUNT]
    cdef readonly uint64_t rows
    cdef uint64_t room  # rows that every fixed column has room for
    cdef readonly bint finished
    cdef bint keyed  # the keys are made

    cdef int make_room(self) except -1
    cdef int cut(self, uint64_t rows) except -1
    cdef int finish(self) except -1
    cdef int add_keys(self) except -1
    cdef int copy_nulls(self, int source, int target) except -1
    cdef uint64_t text_bytes(self) noexcept
    cdef list values(self, int place)
