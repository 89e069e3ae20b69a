/* A batch of plain JSON objects, checked in one pass over its bytes and without building anything. Long: one grammar.
 *
 *     {"NAME": [ {"field": value, ...}, ... ]}
 *
 * The answer is one-sided: "unsure" means "ask the full decoder", never "invalid". What is taken here is plainly
 * right: known members, each once, all required ones there, ASCII text without escapes, short numbers, times of the
 * two usual forms. Everything else, right or wrong, is unsure. Depth is bounded by the schema's own.
 *
 * Does not need the GIL, but one schema serves one thread at a time: it remembers in what order members come.
 * Reads only [at, end); several bytes at a time only where as many are left.
 */
#ifndef FANION_FLAT_BATCH_H
#define FANION_FLAT_BATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    FANION_FLAT_UNSURE = -1,
    FANION_FLAT_FIELDS_MAX = 32,
    FANION_FLAT_CHOICES_MAX = 16,
    FANION_FLAT_MEMBERS_MAX = 1000, /* of a map, repeated ones counted */
    FANION_FLAT_NUMBER_MAX = 17,    /* characters */
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

typedef struct {
    const char *text; /* NULL: there is none */
    uint32_t length;
} fanion_flat_text;

struct fanion_flat_object;

typedef struct {
    fanion_flat_text name; /* in its quotes */
    uint32_t kinds;
    uint32_t items;        /* kinds of a map's or list's values */
    int32_t fixed;         /* the caller's text that a text here has to equal; -1: none */
    int32_t note;          /* where the batch's notes get a text from here; -1: nowhere */
    uint32_t choice_count;
    fanion_flat_text choices[FANION_FLAT_CHOICES_MAX];
    struct fanion_flat_object *object; /* borrowed from whoever made the schema */
} fanion_flat_field;

/* Variant n is that of objects whose field `tag` has choice n; without a tag there is only variant 0. */
typedef struct fanion_flat_object {
    uint32_t field_count;
    int32_t tag;
    uint32_t required[FANION_FLAT_CHOICES_MAX]; /* bit n: field n must be there */
    uint32_t allowed[FANION_FLAT_CHOICES_MAX];
    uint8_t after[FANION_FLAT_FIELDS_MAX + 1];  /* a hint: which field came behind this one last time (last: first) */
    fanion_flat_field fields[FANION_FLAT_FIELDS_MAX];
} fanion_flat_object;

typedef struct {
    fanion_flat_text list_name;
    uint32_t count_max;  /* objects; none is unsure too */
    uint32_t note_count; /* notes of each */
    fanion_flat_object *object;
} fanion_flat_schema;

typedef struct {
    const uint8_t *at, *end;
    const fanion_flat_text *fixed; /* the caller's */
    fanion_flat_text *notes;       /* of the object that is being read */
    const char *minute;            /* the last time that was one, as far as its seconds, in the body; NULL at first */
} fanion_flat_cursor;

static inline void fanion_flat_skip(fanion_flat_cursor *c) {
    while (c->at < c->end && *c->at <= ' ' && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r')) c->at++;
}

static inline bool fanion_flat_take(fanion_flat_cursor *c, uint8_t byte) {
    fanion_flat_skip(c);
    if (c->at >= c->end || *c->at != byte) return false;
    c->at++;
    return true;
}

/* The first byte of [p, end) that isn't plain: a quote, a backslash, a control character, not ASCII; else `end`. */
static inline const uint8_t *fanion_flat_plain_end(const uint8_t *p, const uint8_t *end) {
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), control = _mm_set1_epi8(0x1F);
    while (end - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, control), x);
        __m128i ends = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(x, slash)), low);
        uint32_t hit = (uint32_t)_mm_movemask_epi8(_mm_or_si128(ends, x)); /* x: the top bit of what isn't ASCII */
        if (hit) {
            p += __builtin_ctz(hit);
            break;
        }
        p += 16;
    }
#endif
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\') p++;
    return p;
}

/* After the opening quote: the text up to the closing one, plain ASCII only. */
static inline bool fanion_flat_text_rest(fanion_flat_cursor *c, fanion_flat_text *text) {
    const uint8_t *p = fanion_flat_plain_end(c->at, c->end);
    if (p >= c->end || *p != '"') return false;
    text->text = (const char *)c->at;
    text->length = (uint32_t)(p - c->at);
    c->at = p + 1;
    return true;
}

/* Names and choices are short: no call, and the last 8 bytes may be looked at twice. */
static inline bool fanion_flat_same(const void *left, const void *right, uint32_t length) {
    const uint8_t *a = left, *b = right;
    uint64_t x, y;
    if (length < 8) {
        for (uint32_t n = 0; n < length; n++)
            if (a[n] != b[n]) return false;
        return true;
    }
    for (uint32_t n = 0; n < length - 8; n += 8) {
        memcpy(&x, a + n, 8);
        memcpy(&y, b + n, 8);
        if (x != y) return false;
    }
    memcpy(&x, a + length - 8, 8);
    memcpy(&y, b + length - 8, 8);
    return x == y;
}

static inline bool fanion_flat_equal(fanion_flat_text a, fanion_flat_text b) {
    return a.length == b.length && fanion_flat_same(a.text, b.text, a.length);
}

static inline int fanion_flat_digits(const char *p, int count) {
    int value = 0;
    for (int n = 0; n < count; n++) {
        if (p[n] < '0' || p[n] > '9') return -1;
        value = value * 10 + (p[n] - '0');
    }
    return value;
}

/* What stands behind the seconds: a fraction or none, and the zone. */
static inline bool fanion_flat_is_time_rest(const char *p, uint32_t length) {
    if (length >= 4 && *p == '.') {
        uint32_t fraction = length >= 7 && p[4] >= '0' && p[4] <= '9' ? 6 : 3;
        if (fanion_flat_digits(p + 1, (int)fraction) < 0) return false;
        p += fraction + 1;
        length -= fraction + 1;
    }
    if (length == 1) return *p == 'Z';
    if (length != 6 || (*p != '+' && *p != '-') || p[3] != ':') return false;
    int hour = fanion_flat_digits(p + 1, 2), minute = fanion_flat_digits(p + 4, 2);
    return hour >= 0 && hour <= 23 && minute >= 0 && minute <= 59;
}

/* YYYY-MM-DDThh:mm: with a day that there is. */
static inline bool fanion_flat_is_minute(const char *p) {
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (p[4] != '-' || p[7] != '-' || p[10] != 'T' || p[13] != ':' || p[16] != ':') return false;
    const int year = fanion_flat_digits(p, 4), month = fanion_flat_digits(p + 5, 2);
    const int day = fanion_flat_digits(p + 8, 2);
    const int hour = fanion_flat_digits(p + 11, 2), minute = fanion_flat_digits(p + 14, 2);
    if (year < 1 || month < 1 || month > 12 || day < 1) return false;
    const int last = days[month - 1] + (month == 2 && ((year % 4 == 0 && year % 100 != 0) || year % 400 == 0));
    return day <= last && hour >= 0 && hour <= 23 && minute >= 0 && minute <= 59;
}

enum { FANION_FLAT_MINUTE_BYTES = 17 }; /* YYYY-MM-DDThh:mm: */

/* The events of a batch are of one minute mostly, so what was looked at once is compared. */
static inline bool fanion_flat_is_time(fanion_flat_cursor *c, fanion_flat_text t) {
    const char *p = t.text;
    if (t.length < 20) return false;
    if (c->minute == NULL || !fanion_flat_same(p, c->minute, FANION_FLAT_MINUTE_BYTES)) {
        if (!fanion_flat_is_minute(p)) return false;
        c->minute = p;
    }
    const int second = fanion_flat_digits(p + 17, 2);
    return second >= 0 && second <= 59 && fanion_flat_is_time_rest(p + 19, t.length - 19);
}

static inline bool fanion_flat_number(fanion_flat_cursor *c, uint32_t kinds) {
    const uint8_t *start = c->at, *p = c->at;
    uint32_t sum = 0, whole; /* of digits: 0 only where all are */
    if (p < c->end && *p == '-') p++;
    const uint8_t *digits = p;
    while (p < c->end && *p >= '0' && *p <= '9') sum += *p++ - '0';
    if (p == digits || (*digits == '0' && p - digits > 1)) return false;
    whole = sum;
    bool fraction = p < c->end && *p == '.';
    if (fraction) {
        const uint8_t *first = ++p;
        while (p < c->end && *p >= '0' && *p <= '9') sum += *p++ - '0';
        if (p == first) return false;
    }
    if (p - start > FANION_FLAT_NUMBER_MAX || p >= c->end) return false;
    if (*p != ',' && *p != '}' && *p != ']' && *p != ' ' && *p != '\n' && *p != '\t' && *p != '\r') return false;
    c->at = p;
    if (kinds & FANION_FLAT_NUMBER) return true;
    if (!fraction) return (kinds & FANION_FLAT_INTEGER) || (sum == 1 && *start == '1' && p - start == 1);
    if (!(kinds & FANION_FLAT_FRACTION) || *start == '-' || sum == 0) return false;
    return whole == 0 || (sum == 1 && start[1] == '.'); /* 0.x, or 1.0 */
}

static inline bool fanion_flat_literal(fanion_flat_cursor *c, const char *word, size_t length) {
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0) return false;
    c->at += length;
    return true;
}

static inline bool fanion_flat_object_rest(fanion_flat_cursor *c, fanion_flat_object *object);
static inline bool fanion_flat_items(fanion_flat_cursor *c, const fanion_flat_field *field, bool named);

/* One value of these kinds. `text`: what stands in a text; `choice`: which one it is. */
static inline bool fanion_flat_value(
    fanion_flat_cursor *c, const fanion_flat_field *field, uint32_t kinds, fanion_flat_text *text, uint32_t *choice
) {
    fanion_flat_skip(c);
    if (c->at >= c->end) return false;
    switch (*c->at) {
    case '"':
        c->at++;
        if (!fanion_flat_text_rest(c, text)) return false;
        if (kinds & FANION_FLAT_TEXT) return true;
        if (kinds & FANION_FLAT_TIME) return fanion_flat_is_time(c, *text);
        if (kinds & FANION_FLAT_CHOICE)
            for (*choice = 0; *choice < field->choice_count; ++*choice)
                if (fanion_flat_equal(field->choices[*choice], *text)) return true;
        return false;
    case '{':
        c->at++;
        if (kinds & FANION_FLAT_OBJECT) return fanion_flat_object_rest(c, field->object);
        return (kinds & FANION_FLAT_MAP) && fanion_flat_items(c, field, true);
    case '[':
        c->at++;
        return (kinds & FANION_FLAT_LIST) && fanion_flat_items(c, field, false);
    case 't':
        return (kinds & FANION_FLAT_BOOLEAN) && fanion_flat_literal(c, "true", 4);
    case 'f':
        return (kinds & FANION_FLAT_BOOLEAN) && fanion_flat_literal(c, "false", 5);
    case 'n':
        return (kinds & FANION_FLAT_NULL) && fanion_flat_literal(c, "null", 4);
    default:
        return (kinds & FANION_FLAT_NUMBERS) && fanion_flat_number(c, kinds);
    }
}

/* A map or list after its bracket. */
static inline bool fanion_flat_items(fanion_flat_cursor *c, const fanion_flat_field *field, bool named) {
    const uint8_t close = named ? '}' : ']';
    const uint32_t count_max = named ? FANION_FLAT_MEMBERS_MAX : UINT32_MAX;
    fanion_flat_text text;
    uint32_t choice, count = 0;
    if (fanion_flat_take(c, close)) return true;
    do {
        if (++count > count_max) return false;
        if (named && (!fanion_flat_take(c, '"') || !fanion_flat_text_rest(c, &text) || !fanion_flat_take(c, ':')))
            return false;
        if (!fanion_flat_value(c, field, field->items, &text, &choice)) return false;
    } while (fanion_flat_take(c, ','));
    return fanion_flat_take(c, close);
}

static inline bool fanion_flat_is_named(const fanion_flat_cursor *c, const fanion_flat_field *field) {
    return c->end - c->at >= field->name.length && fanion_flat_same(c->at, field->name.text, field->name.length);
}

/* One member of an object; `seen` gains its bit. */
static inline bool fanion_flat_member(
    fanion_flat_cursor *c, fanion_flat_object *object, uint32_t *last, uint32_t *seen, uint32_t *variant
) {
    fanion_flat_text text = {0};
    uint32_t choice = 0, n = object->after[*last];
    fanion_flat_skip(c);
    if (!fanion_flat_is_named(c, &object->fields[n])) {
        for (n = 0; n < object->field_count; n++)
            if (fanion_flat_is_named(c, &object->fields[n])) break;
        if (n == object->field_count) return false;
        object->after[*last] = (uint8_t)n;
    }
    const fanion_flat_field *field = &object->fields[n];
    if (*seen & (1u << n)) return false;
    *seen |= 1u << n;
    *last = n;
    c->at += field->name.length;
    if (!fanion_flat_take(c, ':') || !fanion_flat_value(c, field, field->kinds, &text, &choice)) return false;
    if ((int32_t)n == object->tag) *variant = choice;
    if (field->fixed >= 0 && text.text && !fanion_flat_equal(text, c->fixed[field->fixed])) return false;
    if (field->note >= 0) c->notes[field->note] = text;
    return true;
}

/* An object after its brace. */
static inline bool fanion_flat_object_rest(fanion_flat_cursor *c, fanion_flat_object *object) {
    uint32_t seen = 0, variant = 0, last = FANION_FLAT_FIELDS_MAX;
    if (fanion_flat_take(c, '}')) return !object->required[0] && object->tag < 0;
    do {
        if (!fanion_flat_member(c, object, &last, &seen, &variant)) return false;
    } while (fanion_flat_take(c, ','));
    return fanion_flat_take(c, '}') && (seen & object->required[variant]) == object->required[variant] &&
           !(seen & ~object->allowed[variant]);
}

/* How many objects a batch has in which all is plain and every fixed text is the caller's; else
 * FANION_FLAT_UNSURE. `notes`: room for note_count texts of count_max objects; they point into the body. */
static inline int64_t fanion_flat_check(
    const fanion_flat_schema *schema, const uint8_t *body, uint64_t length, const fanion_flat_text *fixed,
    fanion_flat_text *notes
) {
    fanion_flat_cursor cursor = {body, body + length, fixed, notes, NULL}, *c = &cursor;
    fanion_flat_text name;
    uint32_t count = 0;
    if (!fanion_flat_take(c, '{') || !fanion_flat_take(c, '"') || !fanion_flat_text_rest(c, &name) ||
        !fanion_flat_equal(name, schema->list_name) || !fanion_flat_take(c, ':') || !fanion_flat_take(c, '['))
        return FANION_FLAT_UNSURE;
    do {
        if (++count > schema->count_max) return FANION_FLAT_UNSURE;
        if (schema->note_count) memset(c->notes, 0, schema->note_count * sizeof *c->notes);
        if (!fanion_flat_take(c, '{') || !fanion_flat_object_rest(c, schema->object)) return FANION_FLAT_UNSURE;
        c->notes += schema->note_count;
    } while (fanion_flat_take(c, ','));
    if (!fanion_flat_take(c, ']') || !fanion_flat_take(c, '}')) return FANION_FLAT_UNSURE;
    fanion_flat_skip(c);
    return c->at == c->end ? (int64_t)count : FANION_FLAT_UNSURE;
}

#endif
