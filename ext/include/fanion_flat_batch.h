/* A batch of plain JSON objects, checked in one pass over its bytes and without building anything. Long: one grammar.
 *
 *     {"NAME": [ {"field": value, ...}, ... ]}
 *
 * The answer is one-sided: "unsure" means "ask the full decoder", never "invalid". What is taken here is plainly
 * right: known members, each once, all required ones there, ASCII text without escapes, short numbers, times of the
 * two usual forms. Everything else, right or wrong, is unsure. Depth is bounded by the schema's own.
 *
 * Does not need the GIL, but one schema serves one thread at a time: it remembers in what order members come.
 * Behind a body's last byte stands a zero, as behind every `bytes`: no value and no blank, so that one byte may be looked
 * at without asking whether it is there. Several at a time are read only where as many are left.
 */
#ifndef FANION_FLAT_BATCH_H
#define FANION_FLAT_BATCH_H

#include "fanion_flat_text.h"

enum {
    FANION_FLAT_UNSURE = -1,
    FANION_FLAT_FIELDS_MAX = 32,
    FANION_FLAT_CHOICES_MAX = 16,
    FANION_FLAT_MEMBERS_MAX = 1000, /* of a map, repeated ones counted */
    FANION_FLAT_NUMBER_MAX = 17,    /* characters */
    FANION_FLAT_HEAD_WORDS = 2,     /* of 8 bytes */
    FANION_FLAT_HEAD_BYTES = 16,
};

/* What a value may be. */
enum {
    FANION_FLAT_TEXT = 1,
    FANION_FLAT_CHOICE = 2,    /* one of `choices` */
    FANION_FLAT_TIME = 4,      /* YYYY-MM-DDThh:mm:ss, then nothing, .mmm or .uuuuuu, then Z, +hh:mm or -hh:mm */
    FANION_FLAT_NUMBER = 8,    /* without exponent */
    FANION_FLAT_INTEGER = 16,  /* without fraction */
    FANION_FLAT_FRACTION = 32, /* above 0, at most 1 */
    FANION_FLAT_BOOLEAN = 64,
    FANION_FLAT_NULL = 128,
    FANION_FLAT_OBJECT = 256,  /* as `object` says */
    FANION_FLAT_MAP = 512,     /* an object whose names are the client's and whose values are `items` */
    FANION_FLAT_LIST = 1024,   /* of `items` */
    FANION_FLAT_NUMBERS = FANION_FLAT_NUMBER | FANION_FLAT_INTEGER | FANION_FLAT_FRACTION,
};

struct fanion_flat_object;

typedef struct fanion_flat_field {
    fanion_flat_text name; /* in its quotes, its colon behind them */
    uint64_t head[FANION_FLAT_HEAD_WORDS];     /* its first bytes, behind a short one zeros */
    uint64_t head_mask[FANION_FLAT_HEAD_WORDS]; /* all ones where one of its bytes is */
    uint32_t kinds;
    uint32_t items;        /* kinds of a map's or list's values */
    uint32_t bit;          /* 1 << its number */
    uint8_t free;          /* any plain text, and nobody asks which */
    int32_t fixed;         /* the caller's text that a text here has to equal; -1: none */
    int32_t note;          /* where the batch's notes get a text from here; -1: nowhere */
    uint32_t choice_count;
    uint32_t choice_usual; /* a hint: the choice that was here last */
    fanion_flat_text choices[FANION_FLAT_CHOICES_MAX];
    struct fanion_flat_object *object; /* borrowed from whoever made the schema */
    struct fanion_flat_field *after;   /* a hint: which field of the same object came behind this one last time */
} fanion_flat_field;

/* Variant n is that of objects whose field `tag` has choice n; without a tag there is only variant 0. */
typedef struct fanion_flat_object {
    uint32_t field_count;
    int32_t tag;
    uint32_t required[FANION_FLAT_CHOICES_MAX]; /* bit n: field n must be there */
    uint32_t allowed[FANION_FLAT_CHOICES_MAX];
    fanion_flat_field *first;                   /* a hint: which field came first last time */
    fanion_flat_field fields[FANION_FLAT_FIELDS_MAX];
} fanion_flat_object;

typedef struct {
    fanion_flat_text list_name;
    uint32_t count_max;  /* objects; none is unsure too */
    uint32_t note_count; /* notes of each */
    fanion_flat_object *object;
} fanion_flat_schema;

typedef struct {
    const uint8_t *end;
    const fanion_flat_text *fixed; /* the caller's */
    fanion_flat_text *notes;       /* of the object that is being read */
    const char *minute;            /* the last time that was one, as far as its seconds, in the body; NULL at first */
} fanion_flat_cursor;

static inline void fanion_flat_name(fanion_flat_field *field, fanion_flat_text name) {
    const uint32_t first = name.length < FANION_FLAT_HEAD_BYTES ? name.length : FANION_FLAT_HEAD_BYTES;
    field->name = name;
    memset(field->head, 0, sizeof field->head);
    memset(field->head_mask, 0, sizeof field->head_mask);
    memcpy(field->head, name.text, first);
    memset(field->head_mask, 0xFF, first);
}

static inline const uint8_t *fanion_flat_skip(const uint8_t *at) {
    while (*at <= ' ' && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) at++;
    return at;
}

/* Behind this byte and what blanks stand before it; NULL where another stands there. */
static inline const uint8_t *fanion_flat_take(const uint8_t *at, uint8_t byte) {
    at = fanion_flat_skip(at);
    return *at == byte ? at + 1 : NULL;
}

/* After the opening quote: behind the closing one, with the plain ASCII text between them; NULL where there is more. */
static inline const uint8_t *fanion_flat_text_rest(const fanion_flat_cursor *c, const uint8_t *at, fanion_flat_text *text) {
    const uint8_t *const p = fanion_flat_plain_end(at, c->end);
    if (*p != '"') return NULL;
    text->text = (const char *)at;
    text->length = (uint32_t)(p - at);
    return p + 1;
}

/* Behind a number of these kinds. */
static inline const uint8_t *fanion_flat_number(const fanion_flat_cursor *c, const uint8_t *start, uint32_t kinds) {
    const uint8_t *p = start;
    uint32_t sum = 0, whole; /* of digits: 0 only where all are */
    if (*p == '-') p++;
    const uint8_t *const digits = p;
    while (*p >= '0' && *p <= '9') sum += *p++ - '0';
    if (p == digits || (*digits == '0' && p - digits > 1)) return NULL;
    whole = sum;
    const bool fraction = *p == '.';
    if (fraction) {
        const uint8_t *const first = ++p;
        while (*p >= '0' && *p <= '9') sum += *p++ - '0';
        if (p == first) return NULL;
    }
    if (p - start > FANION_FLAT_NUMBER_MAX || p >= c->end) return NULL;
    if (*p != ',' && *p != '}' && *p != ']' && *p != ' ' && *p != '\n' && *p != '\t' && *p != '\r') return NULL;
    if (kinds & FANION_FLAT_NUMBER) return p;
    bool taken; /* a fraction is 0.x or 1.0; as an integer, 1 is one too */
    if (!fraction) taken = (kinds & FANION_FLAT_INTEGER) || (sum == 1 && *start == '1' && p - start == 1);
    else if (!(kinds & FANION_FLAT_FRACTION) || *start == '-' || sum == 0) taken = false;
    else taken = whole == 0 || (sum == 1 && start[1] == '.');
    return taken ? p : NULL;
}

static inline const uint8_t *fanion_flat_literal(
    const fanion_flat_cursor *c, const uint8_t *at, const char *word, size_t length
) {
    return (size_t)(c->end - at) >= length && memcmp(at, word, length) == 0 ? at + length : NULL;
}

/* Whether a text is one of the field's choices, and which one. */
static inline bool fanion_flat_is_choice(fanion_flat_field *field, fanion_flat_text text, uint32_t *choice) {
    *choice = field->choice_usual;
    if (*choice < field->choice_count && fanion_flat_equal(field->choices[*choice], text)) return true;
    for (*choice = 0; *choice < field->choice_count; ++*choice)
        if (fanion_flat_equal(field->choices[*choice], text)) {
            field->choice_usual = *choice;
            return true;
        }
    return false;
}

/* Whether a text is one of these kinds. */
static inline bool fanion_flat_is_text(
    fanion_flat_cursor *c, fanion_flat_field *field, uint32_t kinds, fanion_flat_text text, uint32_t *choice
) {
    if (kinds & FANION_FLAT_TEXT) return true;
    if (kinds & FANION_FLAT_TIME) return fanion_flat_is_time(&c->minute, text);
    return (kinds & FANION_FLAT_CHOICE) && fanion_flat_is_choice(field, text, choice);
}

static const uint8_t *fanion_flat_object_rest(fanion_flat_cursor *c, const uint8_t *at, fanion_flat_object *object);
static inline const uint8_t *fanion_flat_items(
    fanion_flat_cursor *c, const uint8_t *at, fanion_flat_field *field, bool named
);

/* Behind one value of these kinds, which begins here and is no text. */
static inline const uint8_t *fanion_flat_value(
    fanion_flat_cursor *c, const uint8_t *at, fanion_flat_field *field, uint32_t kinds
) {
    switch (*at) {
    case '{':
        if (kinds & FANION_FLAT_OBJECT) return fanion_flat_object_rest(c, at + 1, field->object);
        return (kinds & FANION_FLAT_MAP) ? fanion_flat_items(c, at + 1, field, true) : NULL;
    case '[':
        return (kinds & FANION_FLAT_LIST) ? fanion_flat_items(c, at + 1, field, false) : NULL;
    case 't':
        return (kinds & FANION_FLAT_BOOLEAN) ? fanion_flat_literal(c, at, "true", 4) : NULL;
    case 'f':
        return (kinds & FANION_FLAT_BOOLEAN) ? fanion_flat_literal(c, at, "false", 5) : NULL;
    case 'n':
        return (kinds & FANION_FLAT_NULL) ? fanion_flat_literal(c, at, "null", 4) : NULL;
    default:
        return (kinds & FANION_FLAT_NUMBERS) ? fanion_flat_number(c, at, kinds) : NULL;
    }
}

/* Behind a map or list, after its bracket. */
static inline const uint8_t *fanion_flat_items(
    fanion_flat_cursor *c, const uint8_t *at, fanion_flat_field *field, bool named
) {
    const uint8_t close = named ? '}' : ']';
    const uint32_t count_max = named ? FANION_FLAT_MEMBERS_MAX : UINT32_MAX;
    fanion_flat_text text;
    uint32_t choice, count = 0;
    at = fanion_flat_skip(at);
    if (*at == close) return at + 1;
    for (;; at++) {
        if (++count > count_max) return NULL;
        if (named) {
            if ((at = fanion_flat_take(at, '"')) == NULL || (at = fanion_flat_text_rest(c, at, &text)) == NULL ||
                (at = fanion_flat_take(at, ':')) == NULL)
                return NULL;
        }
        at = fanion_flat_skip(at);
        if (*at == '"') {
            at = fanion_flat_text_rest(c, at + 1, &text);
            if (at == NULL || !fanion_flat_is_text(c, field, field->items, text, &choice)) return NULL;
        } else if ((at = fanion_flat_value(c, at, field, field->items)) == NULL) {
            return NULL;
        }
        at = fanion_flat_skip(at);
        if (*at != ',') return *at == close ? at + 1 : NULL;
    }
}

/* Whether this name and its colon stand here, at once. */
static inline bool fanion_flat_is_usual(const uint8_t *at, const uint8_t *end, const fanion_flat_field *field) {
    const char *const p = (const char *)at;
    if (end - at < FANION_FLAT_HEAD_BYTES) return false;
    const uint64_t first = (fanion_load64(p) ^ field->head[0]) & field->head_mask[0];
    const uint64_t second = (fanion_load64(p + 8) ^ field->head[1]) & field->head_mask[1];
    if (first | second) return false;
    return field->name.length <= FANION_FLAT_HEAD_BYTES ||
           (end - at >= field->name.length && fanion_flat_same(at, field->name.text, field->name.length));
}

/* Behind a name that stands here and its colon, before which blanks may stand, and whose it is; NULL for nobody's. */
static const uint8_t *fanion_flat_find(
    const uint8_t *at, const uint8_t *end, fanion_flat_object *object, fanion_flat_field **found
) {
    for (uint32_t n = 0; n < object->field_count; n++) {
        fanion_flat_field *const field = &object->fields[n];
        const uint32_t length = field->name.length - 1;
        if (end - at >= length && fanion_flat_same(at, field->name.text, length)) {
            *found = field;
            return fanion_flat_take(at + length, ':');
        }
    }
    return NULL;
}

/* A member's text that isn't free: whether it may stand there. */
static inline bool fanion_flat_told(
    fanion_flat_cursor *c, const fanion_flat_object *object, fanion_flat_field *field, fanion_flat_text text,
    uint32_t *variant
) {
    uint32_t choice = 0;
    if (!fanion_flat_is_text(c, field, field->kinds, text, &choice)) return false;
    if (field->fixed >= 0 && !fanion_flat_equal(text, c->fixed[field->fixed])) return false;
    if (field->note >= 0) c->notes[field->note] = text;
    if (object->tag >= 0 && field->bit == 1u << object->tag) *variant = choice;
    return true;
}

/* Behind an object, after its brace. */
static const uint8_t *fanion_flat_object_rest(fanion_flat_cursor *c, const uint8_t *at, fanion_flat_object *object) {
    const uint8_t *const end = c->end;
    fanion_flat_field **hint = &object->first;
    uint32_t seen = 0, variant = 0;
    at = fanion_flat_skip(at);
    if (*at == '}') return !object->required[0] && object->tag < 0 ? at + 1 : NULL;
    for (;; at++) {
        fanion_flat_field *field = *hint;
        at = fanion_flat_skip(at);
        if (fanion_flat_is_usual(at, end, field)) {
            at += field->name.length;
        } else {
            if ((at = fanion_flat_find(at, end, object, &field)) == NULL) return NULL;
            *hint = field;
        }
        if (seen & field->bit) return NULL;
        seen |= field->bit;
        hint = &field->after;
        at = fanion_flat_skip(at);
        if (*at == '"') {
            const uint8_t *const first = at + 1;
            at = fanion_flat_plain_end(first, end);
            const fanion_flat_text text = {(const char *)first, (uint32_t)(at - first)};
            if (*at++ != '"' || (!field->free && !fanion_flat_told(c, object, field, text, &variant))) return NULL;
        } else {
            if (field->note >= 0) c->notes[field->note] = (fanion_flat_text){0};
            if ((at = fanion_flat_value(c, at, field, field->kinds)) == NULL) return NULL;
        }
        at = fanion_flat_skip(at);
        if (*at != ',') break;
    }
    const bool whole = (seen & object->required[variant]) == object->required[variant];
    return *at == '}' && whole && !(seen & ~object->allowed[variant]) ? at + 1 : NULL;
}

/* How many objects a batch has in which all is plain and every fixed text is the caller's; else
 * FANION_FLAT_UNSURE. `notes`: room for note_count texts of count_max objects; they point into the body, behind which a
 * zero stands. */
static inline int64_t fanion_flat_check(
    const fanion_flat_schema *schema, const uint8_t *body, uint64_t length, const fanion_flat_text *fixed,
    fanion_flat_text *notes
) {
    fanion_flat_cursor cursor = {body + length, fixed, notes, NULL}, *const c = &cursor;
    const uint8_t *at = body;
    fanion_flat_text name;
    uint32_t count = 0;
    if ((at = fanion_flat_take(at, '{')) == NULL || (at = fanion_flat_take(at, '"')) == NULL ||
        (at = fanion_flat_text_rest(c, at, &name)) == NULL || !fanion_flat_equal(name, schema->list_name) ||
        (at = fanion_flat_take(at, ':')) == NULL || (at = fanion_flat_take(at, '[')) == NULL)
        return FANION_FLAT_UNSURE;
    for (;; at++) {
        if (++count > schema->count_max) return FANION_FLAT_UNSURE;
        if (schema->note_count) memset(c->notes, 0, schema->note_count * sizeof *c->notes);
        if ((at = fanion_flat_take(at, '{')) == NULL || (at = fanion_flat_object_rest(c, at, schema->object)) == NULL)
            return FANION_FLAT_UNSURE;
        c->notes += schema->note_count;
        at = fanion_flat_skip(at);
        if (*at != ',') break;
    }
    if (*at != ']' || (at = fanion_flat_take(at + 1, '}')) == NULL) return FANION_FLAT_UNSURE;
    return fanion_flat_skip(at) == c->end ? (int64_t)count : FANION_FLAT_UNSURE;
}

#endif
