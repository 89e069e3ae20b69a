"""What a shape and the reading of events are in C; see `row_shape.pyx` and `fanion_rows.h`."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "fanion_rows.h" nogil:
    enum:
        FANION_ROWS_FIELDS_MAX
        FANION_ROWS_PART_SLOTS
        FANION_ROWS_TEXT
        FANION_ROWS_OBJECT
        FANION_ROWS_PARTS
        FANION_SAID_NOTHING
        FANION_SAID_TEXT
        FANION_SAID_NUMBER
        FANION_SAID_FALSE
        FANION_SAID_TRUE
        FANION_SAID_TIME

    ctypedef struct fanion_flat_text:
        const char *text
        uint32_t length

    ctypedef struct fanion_rows_cursor:
        const uint8_t *at
        const uint8_t *end

    ctypedef struct fanion_rows_value:
        fanion_flat_text text
        double number
        int64_t us
        uint8_t said

    ctypedef struct fanion_rows_object

    ctypedef struct fanion_rows_field:
        fanion_flat_text name
        uint8_t reads, slot
        fanion_rows_object *object

    ctypedef struct fanion_rows_object:
        uint32_t field_count
        uint8_t after[25]
        fanion_rows_field fields[24]

    ctypedef struct fanion_rows_event:
        fanion_rows_value values[24]
        uint32_t part_count
        fanion_rows_value parts[64][8]

    int fanion_rows_event_read(fanion_rows_cursor *c, fanion_rows_object *object, fanion_rows_event *event)
    int fanion_rows_begin(fanion_rows_cursor *c, bint whole)
    bint fanion_rows_end(fanion_rows_cursor *c, bint whole)
    bint fanion_rows_take(fanion_rows_cursor *c, uint8_t byte)
    bint fanion_rows_is_utf8(const uint8_t *p, uint64_t length)


# What a member fills, one bit each in a variant's `without`.
cdef enum:
    T_SENT, T_EVENT_ID, T_UNIT_KIND, T_UNIT, T_FLAG, T_PARAMETER, T_VARIANT, T_METRIC, T_VALUE, T_REASON, TARGET_COUNT

cdef enum:
    CANDIDATES_MAX = 4  # members for one column
    VARIANTS_MAX = 8


# The slots of the members for each column, in their order.
cdef struct Sources:
    uint8_t counts[TARGET_COUNT]
    uint8_t slots[TARGET_COUNT][CANDIDATES_MAX]


cdef class Shape:
    cdef fanion_rows_object event, part
    cdef fanion_rows_object inner[2]
    cdef Sources of_event, of_part
    cdef const char *unit_kinds[FANION_ROWS_FIELDS_MAX]  # by slot of the event; NULL: none
    cdef uint32_t unit_kind_lengths[FANION_ROWS_FIELDS_MAX]
    cdef uint8_t tag_slot
    cdef uint32_t variant_count
    cdef const char *tags[VARIANTS_MAX]
    cdef uint32_t tag_lengths[VARIANTS_MAX]
    cdef int32_t kinds[VARIANTS_MAX]  # numbers of kinds
    cdef uint32_t hashed  # a bit for each slot of the event
    cdef uint32_t without[VARIANTS_MAX]
    cdef bint with_parts[VARIANTS_MAX]
    cdef bint units_hashed, traced, resolves
    cdef list _texts  # what the pointers above point into
    cdef dict _outer

    cdef const char *borrow(self, str text, uint32_t *length) except NULL
    cdef fanion_rows_field *field(self, fanion_rows_object *object, str name, int reads) except NULL
    cdef int add(
        self, fanion_rows_object *object, Sources *sources, uint32_t slot, str path, str column, int reads, unit_kind
    ) except -1
    cdef uint32_t variant(self, const fanion_rows_value *values) noexcept


cdef inline const fanion_rows_value *pick(
    const Sources *sources, int target, const fanion_rows_value *values
) noexcept:
    """What the first member says that says something; NULL: none does."""
    cdef uint32_t n
    for n in range(sources.counts[target]):
        if values[sources.slots[target][n]].said != FANION_SAID_NOTHING:
            return &values[sources.slots[target][n]]
    return NULL
