/* A batch of flat JSON objects, checked in one pass over its bytes and without building anything.
 *
 *     {"NAME": [ {"field": value, ...}, ... ]}
 *
 * The answer is one-sided: FANION_FLAT_UNSURE means "ask the full decoder", never "invalid". What is taken here is
 * plainly right: known members, each once, all required ones there, ASCII text without escapes, short numbers,
 * times of the one usual form. Everything else, right or wrong, is UNSURE.
 *
 * Does not need the GIL. Reads only [at, end); 8 bytes at a time only where 8 are left.
 */
#ifndef FANION_FLAT_BATCH_H
#define FANION_FLAT_BATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { FANION_FLAT_UNSURE = -1, FANION_FLAT_FIELDS_MAX = 32, FANION_FLAT_CHOICES_MAX = 16 };

typedef enum {
    FANION_FLAT_TEXT = 0,   /* a string */
    FANION_FLAT_CHOICE = 1, /* one of `choices` */
    FANION_FLAT_TIME = 2,   /* YYYY-MM-DDThh:mm:ss[.mmm]Z */
    FANION_FLAT_SCALAR = 3, /* a string, true, false, or a number of at most 17 characters without exponent */
} fanion_flat_kind;

typedef struct {
    const char *text;
    uint32_t length;
} fanion_flat_text;

typedef struct {
    fanion_flat_text name;
    fanion_flat_kind kind;
    uint32_t choice_count;
    fanion_flat_text choices[FANION_FLAT_CHOICES_MAX];
} fanion_flat_field;

typedef struct {
    fanion_flat_text list_name;
    uint32_t field_count;
    uint32_t required;   /* bit n: field n must be there */
    uint32_t count_max;  /* objects; none is UNSURE too */
    uint32_t own_field;  /* a TEXT field that is compared with the caller's */
    fanion_flat_field fields[FANION_FLAT_FIELDS_MAX];
} fanion_flat_schema;

typedef struct {
    const uint8_t *at, *end;
} fanion_flat_cursor;

static inline void fanion_flat_skip(fanion_flat_cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r')) c->at++;
}

static inline bool fanion_flat_take(fanion_flat_cursor *c, uint8_t byte) {
    fanion_flat_skip(c);
    if (c->at >= c->end || *c->at != byte) return false;
    c->at++;
    return true;
}

/* After the opening quote: the text up to the closing one, plain ASCII only. */
static inline bool fanion_flat_text_rest(fanion_flat_cursor *c, fanion_flat_text *text) {
    const uint64_t ones = 0x0101010101010101ULL, tops = 0x8080808080808080ULL;
    const uint8_t *p = c->at;
    while (c->end - p >= 8) {
        uint64_t x, quote, slash;
        memcpy(&x, p, 8);
        quote = x ^ (ones * '"');
        slash = x ^ (ones * '\\');
        uint64_t hit = ((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((x - ones * 0x20) & ~x) | x;
        hit &= tops;
        if (hit) break;
        p += 8;
    }
    while (p < c->end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\') p++;
    if (p >= c->end || *p != '"') return false;
    text->text = (const char *)c->at;
    text->length = (uint32_t)(p - c->at);
    c->at = p + 1;
    return true;
}

static inline bool fanion_flat_equal(fanion_flat_text a, fanion_flat_text b) {
    return a.length == b.length && memcmp(a.text, b.text, a.length) == 0;
}

static inline int fanion_flat_digits(const char *p, int count) {
    int value = 0;
    for (int n = 0; n < count; n++) {
        if (p[n] < '0' || p[n] > '9') return -1;
        value = value * 10 + (p[n] - '0');
    }
    return value;
}

static inline bool fanion_flat_is_time(fanion_flat_text t) {
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const char *p = t.text;
    if (t.length != 20 && t.length != 24) return false;
    if (p[4] != '-' || p[7] != '-' || p[10] != 'T' || p[13] != ':' || p[16] != ':' || p[t.length - 1] != 'Z')
        return false;
    if (t.length == 24 && (p[19] != '.' || fanion_flat_digits(p + 20, 3) < 0)) return false;
    int year = fanion_flat_digits(p, 4), month = fanion_flat_digits(p + 5, 2), day = fanion_flat_digits(p + 8, 2);
    int hour = fanion_flat_digits(p + 11, 2), minute = fanion_flat_digits(p + 14, 2);
    int second = fanion_flat_digits(p + 17, 2);
    if (year < 1 || month < 1 || month > 12 || day < 1) return false;
    int last = days[month - 1] + (month == 2 && ((year % 4 == 0 && year % 100 != 0) || year % 400 == 0));
    return day <= last && hour >= 0 && hour <= 23 && minute >= 0 && minute <= 59 && second >= 0 && second <= 59;
}

static inline bool fanion_flat_number(fanion_flat_cursor *c) {
    const uint8_t *start = c->at, *p = c->at;
    if (p < c->end && *p == '-') p++;
    const uint8_t *digits = p;
    while (p < c->end && *p >= '0' && *p <= '9') p++;
    if (p == digits || (*digits == '0' && p - digits > 1)) return false;
    if (p < c->end && *p == '.') {
        const uint8_t *fraction = ++p;
        while (p < c->end && *p >= '0' && *p <= '9') p++;
        if (p == fraction) return false;
    }
    if (p - start > 17 || p >= c->end) return false;
    if (*p != ',' && *p != '}' && *p != ' ' && *p != '\n' && *p != '\t' && *p != '\r') return false;
    c->at = p;
    return true;
}

static inline bool fanion_flat_literal(fanion_flat_cursor *c, const char *word, size_t length) {
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0) return false;
    c->at += length;
    return true;
}

static inline bool fanion_flat_value(fanion_flat_cursor *c, const fanion_flat_field *field, fanion_flat_text *text) {
    fanion_flat_skip(c);
    if (c->at >= c->end) return false;
    if (*c->at == '"') {
        c->at++;
        if (!fanion_flat_text_rest(c, text)) return false;
        if (field->kind == FANION_FLAT_TIME) return fanion_flat_is_time(*text);
        if (field->kind != FANION_FLAT_CHOICE) return true;
        for (uint32_t n = 0; n < field->choice_count; n++)
            if (fanion_flat_equal(field->choices[n], *text)) return true;
        return false;
    }
    if (field->kind != FANION_FLAT_SCALAR) return false;
    if (*c->at == 't') return fanion_flat_literal(c, "true", 4);
    if (*c->at == 'f') return fanion_flat_literal(c, "false", 5);
    return fanion_flat_number(c);
}

/* One object after its brace; whether its own field differs is added to `foreign`. */
static inline bool fanion_flat_object(
    fanion_flat_cursor *c, const fanion_flat_schema *schema, fanion_flat_text own, int64_t *foreign
) {
    uint32_t seen = 0, expected = 0;
    do {
        fanion_flat_text name, text = {0};
        uint32_t n = expected;
        if (!fanion_flat_take(c, '"') || !fanion_flat_text_rest(c, &name)) return false;
        /* Clients write members in one order, mostly that of the documentation. */
        if (n >= schema->field_count || !fanion_flat_equal(schema->fields[n].name, name)) {
            for (n = 0; n < schema->field_count; n++)
                if (fanion_flat_equal(schema->fields[n].name, name)) break;
            if (n == schema->field_count) return false;
        }
        if (seen & (1u << n)) return false;
        seen |= 1u << n;
        expected = n + 1;
        if (!fanion_flat_take(c, ':') || !fanion_flat_value(c, &schema->fields[n], &text)) return false;
        if (n == schema->own_field) *foreign += !fanion_flat_equal(text, own);
    } while (fanion_flat_take(c, ','));
    return fanion_flat_take(c, '}') && (seen & schema->required) == schema->required;
}

/* How many objects have another `own` field than the caller's, or FANION_FLAT_UNSURE. */
static inline int64_t fanion_flat_check(
    const fanion_flat_schema *schema, const uint8_t *body, uint64_t length, fanion_flat_text own
) {
    fanion_flat_cursor cursor = {body, body + length}, *c = &cursor;
    fanion_flat_text name;
    int64_t foreign = 0;
    uint32_t count = 0;
    if (!fanion_flat_take(c, '{') || !fanion_flat_take(c, '"') || !fanion_flat_text_rest(c, &name) ||
        !fanion_flat_equal(name, schema->list_name) || !fanion_flat_take(c, ':') || !fanion_flat_take(c, '['))
        return FANION_FLAT_UNSURE;
    do {
        if (++count > schema->count_max) return FANION_FLAT_UNSURE;
        if (!fanion_flat_take(c, '{') || !fanion_flat_object(c, schema, own, &foreign)) return FANION_FLAT_UNSURE;
    } while (fanion_flat_take(c, ','));
    if (!fanion_flat_take(c, ']') || !fanion_flat_take(c, '}')) return FANION_FLAT_UNSURE;
    fanion_flat_skip(c);
    return c->at == c->end ? foreign : FANION_FLAT_UNSURE;
}

#endif
