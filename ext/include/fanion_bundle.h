/* The layout of a bundle, as drawn in fanion/bundle/__init__.py: all structs of one format, so long. Little-endian,
 * every section 8-aligned.
 *
 * Do not add, drop, retype or reorder a member without a new FANION_BUNDLE_VERSION: bundles outlive processes.
 * Offsets into the blob are 32 bits wide; FANION_NONE marks "no such thing". */
#ifndef FANION_BUNDLE_H
#define FANION_BUNDLE_H

#include <assert.h>
#include <stdint.h>

#include "fanion_sections.h"

#define FANION_BUNDLE_MAGIC 0x0A4E4F494E414689ULL /* "\x89" "FANION" "\n" */
#define FANION_BUNDLE_VERSION 4u
#define FANION_NONE 0xFFFFFFFFu
#define FANION_DEPTH_MAX 32

typedef struct {
    uint64_t offset; /* from the start of the bundle */
    uint32_t count;  /* records; bytes for the blob and meta */
    uint32_t size;   /* bytes per record, as the writer had it */
} fanion_section;

typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t section_count;
    uint64_t total_size;
    uint64_t checksum; /* xxh64, seed 0, of everything behind this member */
    fanion_section sections[FANION_SECTION_COUNT];
} fanion_bundle_header;

typedef struct {
    uint32_t offset, length;
} fanion_text;

typedef struct {
    fanion_text name, context_type;
    uint8_t source, profile, dotted, needs; /* needs: FANION_NEEDS_* */
    uint32_t expression;                    /* its number; FANION_NONE where the slot is looked up */
} fanion_slot;

#define FANION_NEEDS_TEXT 1u   /* a hash or a text operator reads the slot's text form */
#define FANION_NEEDS_NUMBER 2u /* a text-to-number comparison reads it */

typedef struct {
    fanion_text key;
    uint32_t node_first, node_count;
    uint32_t outcome_count;
    uint32_t memo;  /* index of its memo cell, FANION_NONE where no decision asks it */
    uint32_t depth; /* 1 + the deepest asked decision's, <= FANION_DEPTH_MAX */
    uint32_t reserved;
} fanion_decision;

enum fanion_node_type {
    FANION_TEST,
    FANION_HASH,
    FANION_RANGES,
    FANION_WEIGHTS,
    FANION_OUTCOME,
    FANION_SCORES,
    FANION_KEYED
};

/* A node is 32 bytes. Targets are node numbers of the same decision, always higher than the node's own. */
typedef struct {
    uint8_t type, op, relation, flags; /* flags: FANION_ANY_ELEMENT, FANION_FOLD */
    uint32_t slot;
    uint32_t exits[4]; /* true, false, missing, mismatch */
    union {
        int64_t integer;
        double number;
        fanion_text text;
        struct {
            uint32_t first, count; /* set, version, comparators, external: number (and count) of records */
        } record;
        struct {
            uint32_t decision;
            int32_t variant;
        } asked;
    } operand;
} fanion_test;

#define FANION_ANY_ELEMENT 1u
#define FANION_FOLD 2u

typedef struct {
    uint8_t type, hash, reduction, reserved;
    uint32_t piece_first, piece_count;
    uint32_t on_done, on_missing;
    uint32_t reserved2;
    uint64_t modulus;
} fanion_hash_node;

typedef struct {
    uint8_t type, reserved[3];
    uint32_t first, count; /* into RANGES or WEIGHTS; one record of MODELS or KEYED */
    uint32_t on_none;      /* ranges and keyed only */
    uint32_t reserved2[4];
} fanion_branch;

typedef struct {
    uint8_t type, resolution, cause, reserved; /* cause: for people and renderers, no run reads it */
    int32_t variant, rule;
    uint32_t number;
    uint32_t reached_first, reached_count; /* the splits at which a run that ends here drew lots */
    uint32_t reserved2[2];
} fanion_outcome;

typedef union {
    uint8_t type;
    fanion_test test;
    fanion_hash_node hash;
    fanion_branch branch;
    fanion_outcome outcome;
} fanion_node;

typedef struct {
    uint32_t kind, slot;
    fanion_text literal;
} fanion_piece;

typedef struct {
    int64_t low, high;
    uint32_t target, reserved;
} fanion_range;

typedef struct {
    double weight;
    uint32_t target, reserved;
} fanion_weight;

/* Up to FANION_SET_LINEAR items lie side by side and are scanned; more are an open-addressing table whose
 * capacity is a power of two at least twice the item count. `folded` sets are always scanned. */
typedef struct {
    uint32_t first, capacity, folded, reserved;
} fanion_set;

#define FANION_SET_LINEAR 8u

typedef struct {
    fanion_text text; /* length FANION_NONE: empty place */
    uint32_t hash, reserved;
} fanion_set_item;

typedef struct {
    uint64_t major, minor, patch;
    fanion_text pre, build;
} fanion_version_record;

typedef struct {
    uint32_t low, high; /* into VERSIONS; high may be FANION_NONE */
    uint32_t has_pre, reserved;
    uint64_t pre_of[3];
} fanion_comparator;

typedef struct {
    uint32_t op, slot;
    fanion_text operand;
} fanion_external;

typedef struct {
    fanion_text name;
    uint32_t entry_first, entry_count;
    uint32_t index_first, index_mask;
    uint32_t absent; /* fragment */
    uint32_t reserved;
} fanion_table;

typedef struct {
    fanion_text key, json; /* json: the key in quotes and escaped */
    uint32_t decision;
    uint32_t fragment_first; /* + the outcome's number */
    uint32_t client_safe;
    uint32_t row; /* 1 + its row within the table's overlay; 0: none, FANION_NONE: a guest */
} fanion_entry;

typedef struct {
    uint32_t rope_first, rope_count;
} fanion_fragment;

typedef fanion_text fanion_rope; /* a piece of the blob; offset FANION_NONE makes it hole number `length` */

typedef struct {
    fanion_text name, content;
} fanion_document;

typedef struct {
    fanion_text key;
    uint32_t first, count; /* into NUMBERS */
    fanion_text note;
} fanion_vector;

typedef struct {
    uint32_t piece_first, piece_count;   /* the key */
    uint32_t vector_first, vector_count; /* by the bytes of their keys, ascending */
    uint32_t fallback;                   /* vector, or FANION_NONE */
    uint32_t count_slot;                 /* FANION_NONE: there are `count` alternatives */
    uint32_t count;                      /* else the highest number that the slot may give */
    uint32_t target_first;               /* into TARGETS: `count` of them, one where there is a slot */
} fanion_keyed;

typedef struct {
    double gamma, floor;
    uint32_t first, count; /* into ALTERNATIVES */
} fanion_model;

typedef struct {
    double base;
    uint32_t term_first, term_count;
    uint32_t target, reserved;
} fanion_alternative;

typedef struct {
    double coefficient, missing;
    uint32_t slot, kind;   /* kind: FANION_TERM_* */
    uint32_t first, count; /* text terms: into VALUES, by their bytes, ascending */
} fanion_term;

enum { FANION_TERM_NUMBER, FANION_TERM_TEXT };

typedef struct {
    fanion_text text;
    double value;
} fanion_value;

/* The rows of one table. Row outcome n of a row is `outcome_first` + the number of the decision's outcome. */
typedef struct {
    uint32_t table, row_first, row_count, view_count;
} fanion_overlay;

typedef struct {
    uint32_t decision, outcome_first;
    uint32_t slot;  /* FANION_NONE: none */
    uint32_t group; /* the row whose entries count as this one's; mostly itself */
} fanion_row;

typedef struct {
    uint32_t fragment_first; /* one per view */
    uint32_t patch_first, patch_count;
    uint32_t note;
} fanion_row_outcome;

typedef struct {
    uint32_t entry, fragment; /* entry: within the table */
} fanion_patch;

typedef struct {
    uint32_t slot; /* ascending */
    uint32_t step_first, step_count;
    uint32_t depth; /* 1 + the deepest loaded expression's */
} fanion_expression;

typedef struct {
    uint8_t op, reserved[3];
    int32_t operand; /* constant, slot, step within the expression, or how many values */
} fanion_step;

enum fanion_constant_kind {
    FANION_CONSTANT_NULL,
    FANION_CONSTANT_FALSE,
    FANION_CONSTANT_TRUE,
    FANION_CONSTANT_NUMBER,
    FANION_CONSTANT_TEXT,
    FANION_CONSTANT_LIST
};

typedef struct {
    uint32_t kind, count; /* count: of a list's items */
    union {
        double number;
        fanion_text text;
        uint32_t first; /* of a list's items, which stand before it */
    } content;
} fanion_constant;

/* Where lots are drawn whose outcome is recorded. */
typedef struct {
    fanion_text flag, run;
    fanion_text unit; /* its kind, empty: the unit that the request is about */
    uint32_t slot;    /* the unit's text, FANION_NONE: as above */
    uint32_t reserved;
} fanion_split;

typedef struct {
    uint32_t split, inside; /* inside: in one of the split's shares, not beside them */
    fanion_text variant;    /* what was served; offset FANION_NONE: it has no name */
} fanion_reached;

/* A mapped bundle: where each section begins, and its count of records by the section's number. */
#define FANION_SECTION_MEMBER(NAME, member, type) const type *member;
typedef struct {
    FANION_SECTIONS(FANION_SECTION_MEMBER)
    uint32_t counts[FANION_SECTION_COUNT];
} fanion_sections;

#define FANION_SECTION_SIZE(NAME, member, type) sizeof(type),
static const uint32_t fanion_record_sizes[FANION_SECTION_COUNT] = {FANION_SECTIONS(FANION_SECTION_SIZE)};
#define FANION_SECTION_NAME(NAME, member, type) #NAME,
static const char *const fanion_section_names[FANION_SECTION_COUNT] = {FANION_SECTIONS(FANION_SECTION_NAME)};

/* The offsets must have been found to lie within the bundle. */
#define FANION_SECTION_MAP(NAME, member, type)                                                                        \
    out->member = (const type *)((const char *)header + header->sections[FANION_SECTION_##NAME].offset);              \
    out->counts[FANION_SECTION_##NAME] = header->sections[FANION_SECTION_##NAME].count;
static inline void fanion_sections_map(fanion_sections *out, const fanion_bundle_header *header) {
    FANION_SECTIONS(FANION_SECTION_MAP)
}

static_assert(sizeof(fanion_section) == 16, "on disk");
static_assert(sizeof(fanion_bundle_header) == 32 + 16 * FANION_SECTION_COUNT, "on disk");
static_assert(sizeof(fanion_slot) == 24, "on disk");
static_assert(sizeof(fanion_decision) == 32, "on disk");
static_assert(sizeof(fanion_test) == 32, "on disk");
static_assert(sizeof(fanion_hash_node) == 32, "on disk");
static_assert(sizeof(fanion_branch) == 32, "on disk");
static_assert(sizeof(fanion_outcome) == 32, "on disk");
static_assert(sizeof(fanion_node) == 32, "on disk");
static_assert(sizeof(fanion_piece) == 16, "on disk");
static_assert(sizeof(fanion_range) == 24, "on disk");
static_assert(sizeof(fanion_weight) == 16, "on disk");
static_assert(sizeof(fanion_set) == 16, "on disk");
static_assert(sizeof(fanion_set_item) == 16, "on disk");
static_assert(sizeof(fanion_version_record) == 40, "on disk");
static_assert(sizeof(fanion_comparator) == 40, "on disk");
static_assert(sizeof(fanion_external) == 16, "on disk");
static_assert(sizeof(fanion_table) == 32, "on disk");
static_assert(sizeof(fanion_entry) == 32, "on disk");
static_assert(sizeof(fanion_fragment) == 8, "on disk");
static_assert(sizeof(fanion_document) == 16, "on disk");
static_assert(sizeof(fanion_vector) == 24, "on disk");
static_assert(sizeof(fanion_keyed) == 32, "on disk");
static_assert(sizeof(fanion_model) == 24, "on disk");
static_assert(sizeof(fanion_alternative) == 24, "on disk");
static_assert(sizeof(fanion_term) == 32, "on disk");
static_assert(sizeof(fanion_value) == 16, "on disk");
static_assert(sizeof(fanion_overlay) == 16, "on disk");
static_assert(sizeof(fanion_row) == 16, "on disk");
static_assert(sizeof(fanion_row_outcome) == 16, "on disk");
static_assert(sizeof(fanion_patch) == 8, "on disk");
static_assert(sizeof(fanion_expression) == 16, "on disk");
static_assert(sizeof(fanion_step) == 8, "on disk");
static_assert(sizeof(fanion_constant) == 16, "on disk");
static_assert(sizeof(fanion_split) == 32, "on disk");
static_assert(sizeof(fanion_reached) == 16, "on disk");

#endif
