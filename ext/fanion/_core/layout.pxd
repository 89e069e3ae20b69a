"""The bundle's structs, as `fanion_bundle.h` has them. Declarations only."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "fanion_assert.h" nogil:
    void FANION_ASSERT(bint condition)  # for what was proven when the bundle was mapped; nothing in a release


cdef extern from "fanion_bundle.h" nogil:
    enum:
        FANION_BUNDLE_VERSION
        FANION_DEPTH_MAX
        FANION_SECTION_COUNT
        FANION_SET_LINEAR
        FANION_NEEDS_TEXT
        FANION_NEEDS_NUMBER
        FANION_ANY_ELEMENT
        FANION_FOLD
        FANION_SECTION_BLOB
        FANION_SECTION_SLOTS
        FANION_SECTION_DECISIONS
        FANION_SECTION_NODES
        FANION_SECTION_PIECES
        FANION_SECTION_RANGES
        FANION_SECTION_WEIGHTS
        FANION_SECTION_SETS
        FANION_SECTION_SET_ITEMS
        FANION_SECTION_VERSIONS
        FANION_SECTION_COMPARATORS
        FANION_SECTION_EXTERNALS
        FANION_SECTION_TABLES
        FANION_SECTION_ENTRIES
        FANION_SECTION_INDEX
        FANION_SECTION_FRAGMENTS
        FANION_SECTION_ROPES
        FANION_SECTION_DOCUMENTS
        FANION_SECTION_META
        FANION_SECTION_NUMBERS
        FANION_SECTION_TARGETS
        FANION_SECTION_VECTORS
        FANION_SECTION_KEYED
        FANION_SECTION_MODELS
        FANION_SECTION_ALTERNATIVES
        FANION_SECTION_TERMS
        FANION_SECTION_VALUES
        FANION_SECTION_OVERLAYS
        FANION_SECTION_ROWS
        FANION_SECTION_ROW_OUTCOMES
        FANION_SECTION_PATCHES
        FANION_SECTION_EXPRESSIONS
        FANION_SECTION_STEPS
        FANION_SECTION_CONSTANTS
        FANION_SECTION_SPLITS
        FANION_SECTION_REACHED
        FANION_TEST
        FANION_HASH
        FANION_RANGES
        FANION_WEIGHTS
        FANION_OUTCOME
        FANION_SCORES
        FANION_KEYED
        FANION_TERM_NUMBER
        FANION_TERM_TEXT
        FANION_CONSTANT_NULL
        FANION_CONSTANT_FALSE
        FANION_CONSTANT_TRUE
        FANION_CONSTANT_NUMBER
        FANION_CONSTANT_TEXT
        FANION_CONSTANT_LIST

    const uint64_t FANION_BUNDLE_MAGIC
    const uint32_t FANION_NONE

    ctypedef struct fanion_section:
        uint64_t offset
        uint32_t count, size

    ctypedef struct fanion_bundle_header:
        uint64_t magic
        uint32_t version, section_count
        uint64_t total_size, checksum
        fanion_section sections[FANION_SECTION_COUNT]

    ctypedef struct fanion_text:
        uint32_t offset, length

    ctypedef struct fanion_slot:
        fanion_text name, context_type
        uint8_t source, profile, dotted, needs
        uint32_t expression

    ctypedef struct fanion_decision:
        fanion_text key
        uint32_t node_first, node_count, outcome_count, memo, depth

    ctypedef struct fanion_record:
        uint32_t first, count

    ctypedef struct fanion_asked:
        uint32_t decision
        int32_t variant

    ctypedef union fanion_operand:
        int64_t integer
        double number
        fanion_text text
        fanion_record record
        fanion_asked asked

    ctypedef struct fanion_test:
        uint8_t type, op, relation, flags
        uint32_t slot
        uint32_t exits[4]
        fanion_operand operand

    ctypedef struct fanion_hash_node:
        uint8_t type, hash, reduction
        uint32_t piece_first, piece_count, on_done, on_missing
        uint64_t modulus

    ctypedef struct fanion_branch:
        uint8_t type
        uint32_t first, count, on_none

    ctypedef struct fanion_outcome:
        uint8_t type, resolution, cause
        int32_t variant, rule
        uint32_t number, reached_first, reached_count

    ctypedef union fanion_node:
        uint8_t type
        fanion_test test
        fanion_hash_node hash
        fanion_branch branch
        fanion_outcome outcome

    ctypedef struct fanion_piece:
        uint32_t kind, slot
        fanion_text literal

    ctypedef struct fanion_range:
        int64_t low, high
        uint32_t target

    ctypedef struct fanion_weight:
        double weight
        uint32_t target

    ctypedef struct fanion_set:
        uint32_t first, capacity, folded

    ctypedef struct fanion_set_item:
        fanion_text text
        uint32_t hash

    ctypedef struct fanion_version_record:
        uint64_t major, minor, patch
        fanion_text pre, build

    ctypedef struct fanion_comparator:
        uint32_t low, high, has_pre
        uint64_t pre_of[3]

    ctypedef struct fanion_external:
        uint32_t op, slot
        fanion_text operand

    ctypedef struct fanion_table:
        fanion_text name
        uint32_t entry_first, entry_count, index_first, index_mask, absent

    ctypedef struct fanion_entry:
        fanion_text key, json
        uint32_t decision, fragment_first, client_safe, row

    ctypedef struct fanion_fragment:
        uint32_t rope_first, rope_count

    ctypedef struct fanion_document:
        fanion_text name, content

    ctypedef struct fanion_vector:
        fanion_text key
        uint32_t first, count
        fanion_text note

    ctypedef struct fanion_keyed:
        uint32_t piece_first, piece_count, vector_first, vector_count
        uint32_t fallback, count_slot, count, target_first

    ctypedef struct fanion_model:
        double gamma, floor
        uint32_t first, count

    ctypedef struct fanion_alternative:
        double base
        uint32_t term_first, term_count, target

    ctypedef struct fanion_term:
        double coefficient, missing
        uint32_t slot, kind, first, count

    ctypedef struct fanion_value:
        fanion_text text
        double value

    ctypedef struct fanion_overlay:
        uint32_t table, row_first, row_count, view_count

    ctypedef struct fanion_row:
        uint32_t decision, outcome_first, slot, group

    ctypedef struct fanion_row_outcome:
        uint32_t fragment_first, patch_first, patch_count, note

    ctypedef struct fanion_patch:
        uint32_t entry, fragment

    ctypedef struct fanion_expression:
        uint32_t slot, step_first, step_count, depth

    ctypedef struct fanion_step:
        uint8_t op
        int32_t operand

    ctypedef union fanion_constant_content:
        double number
        fanion_text text
        uint32_t first

    ctypedef struct fanion_constant:
        uint32_t kind, count
        fanion_constant_content content

    ctypedef struct fanion_split:
        fanion_text flag, run, unit
        uint32_t slot

    ctypedef struct fanion_reached:
        uint32_t split, inside
        fanion_text variant

    # All borrowed from the buffer of the BundleView that holds this struct, until it is closed.
    ctypedef struct fanion_sections:
        const char *blob
        const fanion_slot *slots
        const fanion_decision *decisions
        const fanion_node *nodes
        const fanion_piece *pieces
        const fanion_range *ranges
        const fanion_weight *weights
        const fanion_set *sets
        const fanion_set_item *set_items
        const fanion_version_record *versions
        const fanion_comparator *comparators
        const fanion_external *externals
        const fanion_table *tables
        const fanion_entry *entries
        const uint32_t *index
        const fanion_fragment *fragments
        const fanion_text *ropes
        const fanion_document *documents
        const char *meta
        const double *numbers
        const uint32_t *targets
        const fanion_vector *vectors
        const fanion_keyed *keyed
        const fanion_model *models
        const fanion_alternative *alternatives
        const fanion_term *terms
        const fanion_value *values
        const fanion_overlay *overlays
        const fanion_row *rows
        const fanion_row_outcome *row_outcomes
        const fanion_patch *patches
        const fanion_expression *expressions
        const fanion_step *steps
        const fanion_constant *constants
        const fanion_split *splits
        const fanion_reached *reached
        uint32_t counts[FANION_SECTION_COUNT]  # records per section, by section number

    const uint32_t *fanion_record_sizes
    const char **fanion_section_names
    void fanion_sections_map(fanion_sections *out, const fanion_bundle_header *header)


cdef inline bint within(const fanion_sections *s, int section, uint64_t first, uint64_t count) noexcept nogil:
    """For assertions: whether these records lie in their section."""
    return first + count <= s.counts[section]


cdef inline bint readable(const fanion_sections *s, fanion_text place) noexcept nogil:
    """For assertions: whether a text lies in the blob."""
    return within(s, FANION_SECTION_BLOB, place.offset, place.length)


# The words of `fanion.model.program`, by the numbers that the bundle holds.
cdef enum:
    KIND_MISSING = 0
    KIND_NULL = 1
    KIND_BOOL = 2
    KIND_INT64 = 3
    KIND_DOUBLE = 4
    KIND_STRING = 5
    KIND_VERSION = 6
    KIND_STRINGS = 7
    KIND_OTHER = 8

    PROFILE_PLAIN = 0
    PROFILE_DOUBLES = 1
    PROFILE_VERSIONED = 2

    SOURCE_ATTRIBUTE = 0
    SOURCE_MEMBER = 1
    SOURCE_MEMBER_OR_ATTRIBUTE = 2
    SOURCE_CONTEXT_KEY = 3
    SOURCE_CONTEXT_ATTRIBUTE = 4
    SOURCE_CONTEXT_KEYS = 5
    SOURCE_COMPUTED = 6

    OP_PRESENT = 0
    OP_EQ_NULL = 1
    OP_EQ_BOOL = 2
    OP_EQ_INT64 = 3
    OP_EQ_DOUBLE = 4
    OP_EQ_NUMBER = 5
    OP_EQ_STRING = 6
    OP_EQ_VERSION = 7
    OP_ORDER_INT64 = 8
    OP_ORDER_DOUBLE = 9
    OP_ORDER_NUMBER = 10
    OP_ORDER_VERSION = 11
    OP_ORDER_TEXT = 12
    OP_STRING_IN = 13
    OP_STRING_CONTAINS = 14
    OP_STRING_STARTS = 15
    OP_STRING_ENDS = 16
    OP_TEXT_IN = 17
    OP_TEXT_CONTAINS = 18
    OP_TEXT_STARTS = 19
    OP_TEXT_ENDS = 20
    OP_VERSION_MATCHES = 21
    OP_DECISION_IS = 22
    OP_TEXT_REGEX = 23
    OP_STRING_REGEX = 24
    OP_LIST_MEMBER = 25

    EXIT_TRUE = 0
    EXIT_FALSE = 1
    EXIT_MISSING = 2
    EXIT_MISMATCH = 3

    HASH_XXH64 = 0
    HASH_SHA256 = 1
    HASH_MURMUR3_128 = 2
    HASH_MURMUR3_32 = 3

    REDUCE_MODULO = 0
    REDUCE_BASIS_POINTS = 1
    REDUCE_SCALE32 = 2
    REDUCE_UNIT53 = 3

    PIECE_LITERAL = 0
    PIECE_TEXT = 1
    PIECE_BYTE_LENGTH = 2

    RESOLUTION_ERROR = 6
    TEXT_BYTES_MAX = 65536
    STRINGS_MAX = 1000
    HOLES_MAX = 16
    ALTERNATIVES_MAX = 10000

    ROW_HOLE_BUCKET = 0
    ROW_HOLE_PROBABILITY = 1
    ROW_HOLE_CHOICE = 2
    ROW_HOLE_UNIT = 3
    ROW_HOLE_UNASKED = 4
