/* What an API's items may be, as a dialect describes it: types, structs and shapes of `fanion_item_judge.h`. */
#ifndef FANION_JUDGE_TABLE_H
#define FANION_JUDGE_TABLE_H

#include "fanion_flat_text.h"

/* What a value is, and what a type takes. */
enum {
    FANION_JUDGE_INTEGER = 1, /* a number without fraction and exponent */
    FANION_JUDGE_FLOAT = 2,   /* any number */
    FANION_JUDGE_TEXT = 4,
    FANION_JUDGE_BOOLEAN = 8,
    FANION_JUDGE_NULL = 16,
    FANION_JUDGE_OBJECT = 32, /* as `shape` says */
    FANION_JUDGE_LIST = 64,   /* of `items` */
    FANION_JUDGE_MAP = 128,   /* an object whose names are the caller's, of `items` */
    FANION_JUDGE_CHOICE = 256, /* a text, one of `choices` */
    FANION_JUDGE_ANY = 512,
    FANION_JUDGE_WIDE_INTEGER = 1024, /* of a value alone: beyond 64 bits, for which decoders have another word */
    FANION_JUDGE_UINT64_DIGITS = 20,
    FANION_JUDGE_FIELDS_MAX = 32,
    FANION_JUDGE_MOMENTS_MAX = 4, /* of a struct */
};

/* What a text has to match, by `fanion_judge_text.h`. */
typedef enum {
    FANION_JUDGE_NO_PATTERN = 0,
    FANION_JUDGE_MOMENT = 1,
    FANION_JUDGE_DIGEST = 2,
} fanion_judge_pattern;

/* Bounds of numbers: of integers INT64, of others the rest. */
enum {
    FANION_JUDGE_INT64 = 1,
    FANION_JUDGE_ABOVE_ZERO = 2,
    FANION_JUDGE_FROM_ZERO = 4,
    FANION_JUDGE_UP_TO_ONE = 8,
};

/* What is wrong with an item, first of all. Each but UNKNOWN, CHOICE, TAG and MOMENT says the same of every item that
 * has it in the same place; those quote what was sent. */
enum {
    FANION_JUDGE_NO_FAULT = 0,
    FANION_JUDGE_WRONG_TYPE = 1, /* with the kind that it is */
    FANION_JUDGE_TOO_SHORT = 2,
    FANION_JUDGE_TOO_LONG = 3,
    FANION_JUDGE_NO_MATCH = 4,   /* with its pattern */
    FANION_JUDGE_TOO_LOW = 5,
    FANION_JUDGE_TOO_HIGH = 6,
    FANION_JUDGE_NOT_TEXT = 7,   /* bytes that aren't UTF-8 */
    FANION_JUDGE_MISSING = 8,    /* with its field */
    FANION_JUDGE_NO_TAG = 9,
    FANION_JUDGE_TAG_TYPE = 10,
    FANION_JUDGE_NOT_ONE = 11,   /* of `exactly_one` */
    FANION_JUDGE_ELSEWHERE = 12, /* a text that isn't the caller's, with its number */
    FANION_JUDGE_QUOTING = 32,
    FANION_JUDGE_UNKNOWN = 32,
    FANION_JUDGE_WRONG_CHOICE = 33,
    FANION_JUDGE_WRONG_TAG = 34,
    FANION_JUDGE_NO_MOMENT = 35, /* with its field */
};

struct fanion_judge_shape;

/* Each stands in one place of an item, so that a fault says where it is. */
typedef struct fanion_judge_type {
    uint32_t number;
    uint32_t kinds;
    uint32_t unsure; /* kinds of which it takes some, and only the decoder knows which */
    uint32_t pattern, bounds;
    uint32_t length_min, length_max; /* characters of a text */
    uint32_t count_max;              /* members of a map; more may be repetitions */
    uint32_t choice_count;
    const fanion_flat_text *choices; /* borrowed */
    const struct fanion_judge_type *items;
    struct fanion_judge_shape *shape;
} fanion_judge_type;

typedef struct {
    fanion_flat_text name;
    const fanion_judge_type *type;
    int32_t note; /* where the item's notes get a text, number, null or raw value from here; -1: nowhere */
    int32_t kept; /* where the item's `kept` get it; -1: nowhere */
} fanion_judge_field;

typedef struct {
    uint32_t number;
    uint32_t field_count;
    fanion_judge_field *fields; /* in the decoder's order; at most FANION_JUDGE_FIELDS_MAX */
    fanion_flat_text tag;
    uint32_t required;          /* bit n: field n must be there */
    uint32_t exactly_one;       /* one of these must be there and not null; 0: no such rule */
    bool closed;                /* knows no other members */
    uint32_t moment_count;
    uint8_t moments[FANION_JUDGE_MOMENTS_MAX]; /* fields that have to be moments, in the order in which they are looked at */
    uint8_t after[FANION_JUDGE_FIELDS_MAX + 1]; /* a hint: which field came behind this one last time (last: first) */
} fanion_judge_struct;

/* A struct, or several told apart by a tag; the tag's name has length 0 where there is one struct. */
typedef struct fanion_judge_shape {
    uint32_t number;
    fanion_flat_text tag_name;
    uint32_t struct_count;
    fanion_judge_struct *const *structs;
} fanion_judge_shape;

typedef struct {
    fanion_flat_text list_name;
    const fanion_judge_type *item;
    uint32_t count_max;
    uint32_t note_count, fixed_count; /* the first `fixed_count` notes have to be the caller's texts, or not there */
    bool open;        /* other members may stand beside the list */
    bool whole;       /* a batch with an item that isn't fine is another's */
    bool text_first;  /* an item whose bytes aren't UTF-8 is wrong by that, whatever else it is */
} fanion_judge_schema;

typedef struct {
    uint32_t depth_max, keys_max, digits_max;
    uint64_t tokens_max;       /* of an item */
    uint64_t batch_tokens_max; /* of the whole body */
} fanion_judge_bounds;

#endif
