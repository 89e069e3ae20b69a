/* What one member of an event says: texts, numbers, times, and values that are passed over. Strict and one-sided, as
 * fanion_rows.h says. Does not need the GIL. */
#ifndef FANION_ROWS_VALUE_H
#define FANION_ROWS_VALUE_H

#include "fanion_flat_text.h"

enum {
    FANION_ROWS_DEPTH_MAX = 64,
    FANION_ROWS_DIGITS_MAX = 300,       /* of a number that is passed over */
    FANION_ROWS_EXACT_DIGITS = 15,      /* below 2^53, so that one division rounds a decimal fraction rightly */
    FANION_ROWS_INTEGER_DIGITS = 18,    /* within 64 bits */
};

/* The calendar's years 1 to 9999, in microseconds since 1970. */
#define FANION_ROWS_INSTANT_MIN (-62135596800000000ll)
#define FANION_ROWS_INSTANT_MAX 253402300799999999ll

/* fanion.model.rows.Reads, in its order; then what isn't a column's. */
enum {
    FANION_ROWS_TEXT, FANION_ROWS_NAME, FANION_ROWS_INSTANT, FANION_ROWS_MILLISECONDS, FANION_ROWS_NUMBER,
    FANION_ROWS_SCALAR, FANION_ROWS_OBJECT, FANION_ROWS_PARTS,
};

enum { FANION_SAID_NOTHING, FANION_SAID_TEXT, FANION_SAID_NUMBER, FANION_SAID_FALSE, FANION_SAID_TRUE, FANION_SAID_TIME };

typedef struct {
    fanion_flat_text text; /* in the body */
    double number;
    int64_t us;
    uint8_t said;
} fanion_rows_value;

typedef struct {
    const uint8_t *at, *end;
    const char *minute; /* of `fanion_flat_is_time` */
} fanion_rows_cursor;

static inline void fanion_rows_skip(fanion_rows_cursor *c) {
    while (c->at < c->end && *c->at <= ' ' && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r')) c->at++;
}

static inline bool fanion_rows_take(fanion_rows_cursor *c, uint8_t byte) {
    fanion_rows_skip(c);
    if (c->at >= c->end || *c->at != byte) return false;
    c->at++;
    return true;
}

static inline bool fanion_rows_literal(fanion_rows_cursor *c, const char *word, size_t length) {
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0) return false;
    c->at += length;
    return true;
}

/* The length of the UTF-8 sequence of a character beyond ASCII; 0: it is none. */
static inline uint32_t fanion_rows_sequence(const uint8_t *p, const uint8_t *end) {
    const uint8_t first = *p;
    const uint32_t length = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    if (length == 0 || (uint64_t)(end - p) < length) return 0;
    for (uint32_t n = 1; n < length; n++)
        if ((p[n] & 0xC0) != 0x80) return 0;
    if (first == 0xE0 && p[1] < 0xA0) return 0; /* longer than needed */
    if (first == 0xED && p[1] > 0x9F) return 0; /* half a pair */
    if (first == 0xF0 && p[1] < 0x90) return 0;
    if (first == 0xF4 && p[1] > 0x8F) return 0; /* beyond the last character */
    return length;
}

static inline bool fanion_rows_is_utf8(const uint8_t *p, uint64_t length) {
    for (const uint8_t *end = p + length; p < end;) {
        const uint32_t step = *p < 0x80 ? 1 : fanion_rows_sequence(p, end);
        if (step == 0) return false;
        p += step;
    }
    return true;
}

/* The escape at a backslash; 0: it is none. */
static inline uint32_t fanion_rows_escape(const uint8_t *p, const uint8_t *end) {
    if (end - p < 2) return 0;
    if (p[1] != 'u') return p[1] && strchr("\"\\/bfnrt", p[1]) ? 2 : 0;
    if (end - p < 6) return 0;
    for (uint32_t n = 2; n < 6; n++) {
        const uint8_t digit = p[n] | 0x20;
        if (!((p[n] >= '0' && p[n] <= '9') || (digit >= 'a' && digit <= 'f'))) return 0;
    }
    return 6;
}

/* After the opening quote: the text up to the closing one. False: it has an escape (unless `escapes`), or is none.
 * Always inlined: whether a compiler does so hung on how much else stands in the module, and it is a third of an event. */
static inline __attribute__((always_inline)) bool fanion_rows_text_rest(fanion_rows_cursor *c, fanion_flat_text *text, bool escapes) {
    const uint8_t *p = c->at;
    for (;;) {
        p = fanion_flat_plain_end(p, c->end);
        if (p >= c->end || *p < 0x20) return false;
        if (*p == '"') break;
        if (*p == '\\' && !escapes) return false;
        const uint32_t length = *p == '\\' ? fanion_rows_escape(p, c->end) : fanion_rows_sequence(p, c->end);
        if (length == 0) return false;
        p += length;
    }
    text->text = (const char *)c->at;
    text->length = (uint32_t)(p - c->at);
    c->at = p + 1;
    return true;
}

/* A number by JSON's grammar, of which what follows is looked at by whoever goes on. */
static inline bool fanion_rows_skip_number(fanion_rows_cursor *c) {
    const uint8_t *p = c->at, *end = c->end, *start;
    if (end - p > FANION_ROWS_DIGITS_MAX) end = p + FANION_ROWS_DIGITS_MAX;
    if (p < end && *p == '-') p++;
    for (start = p; p < end && *p >= '0' && *p <= '9';) p++;
    if (p == start || (*start == '0' && p - start > 1)) return false;
    if (p < end && *p == '.') {
        for (start = ++p; p < end && *p >= '0' && *p <= '9';) p++;
        if (p == start) return false;
    }
    if (p < end && (*p | 0x20) == 'e') {
        if (++p < end && (*p == '+' || *p == '-')) p++;
        for (start = p; p < end && *p >= '0' && *p <= '9';) p++;
        if (p == start) return false;
    }
    if (p == end && end != c->end) return false; /* longer than looked at */
    c->at = p;
    return true;
}

/* A value of any kind, by JSON's grammar. */
static inline bool fanion_rows_skip_value(fanion_rows_cursor *c, uint32_t depth) {
    fanion_flat_text text;
    fanion_rows_skip(c);
    if (c->at >= c->end || depth > FANION_ROWS_DEPTH_MAX) return false;
    const uint8_t first = *c->at;
    switch (first) {
    case '"':
        c->at++;
        return fanion_rows_text_rest(c, &text, true);
    case 't':
        return fanion_rows_literal(c, "true", 4);
    case 'f':
        return fanion_rows_literal(c, "false", 5);
    case 'n':
        return fanion_rows_literal(c, "null", 4);
    case '{':
    case '[':
        c->at++;
        if (fanion_rows_take(c, first == '{' ? '}' : ']')) return true;
        do {
            if (first == '{' &&
                (!fanion_rows_take(c, '"') || !fanion_rows_text_rest(c, &text, true) || !fanion_rows_take(c, ':')))
                return false;
            if (!fanion_rows_skip_value(c, depth + 1)) return false;
        } while (fanion_rows_take(c, ','));
        return fanion_rows_take(c, first == '{' ? '}' : ']');
    default:
        return fanion_rows_skip_number(c);
    }
}

/* A number that reads exactly; else false. */
static inline bool fanion_rows_number(fanion_rows_cursor *c, uint32_t reads, fanion_rows_value *value) {
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const uint8_t *start = c->at, *p = start, *digits, *point;
    const bool negative = p < c->end && *p == '-';
    uint64_t digits_read = 0;
    int64_t whole;
    if (negative) p++;
    for (digits = p; p < c->end && *p >= '0' && *p <= '9' && p - digits <= FANION_ROWS_INTEGER_DIGITS; p++)
        digits_read = digits_read * 10 + (*p - '0');
    const int64_t count = p - digits;
    if (count == 0 || count > FANION_ROWS_INTEGER_DIGITS || (*digits == '0' && count > 1) || p >= c->end) return false;
    if (*p == '.') {
        if (count >= FANION_ROWS_EXACT_DIGITS) return false;
        for (point = ++p; p < c->end && *p >= '0' && *p <= '9' && p - point <= FANION_ROWS_EXACT_DIGITS; p++)
            if (p - point < FANION_ROWS_EXACT_DIGITS - count) digits_read = digits_read * 10 + (*p - '0');
        if (p == point || p >= c->end || count + (p - point) > FANION_ROWS_EXACT_DIGITS) return false;
        if (*p == 'e' || *p == 'E' || reads == FANION_ROWS_NAME) return false;
        if (reads == FANION_ROWS_MILLISECONDS) return c->at = p, true; /* a double is no time */
        value->number = (double)digits_read / powers[p - point];
        if (negative) value->number = -value->number;
    } else {
        whole = negative ? -(int64_t)digits_read : (int64_t)digits_read;
        if (*p == 'e' || *p == 'E' || (reads == FANION_ROWS_NAME && negative && whole == 0)) return false;
        if (reads == FANION_ROWS_MILLISECONDS) {
            if (count > FANION_ROWS_EXACT_DIGITS) return false;
            whole *= 1000;
            c->at = p;
            if (whole < FANION_ROWS_INSTANT_MIN || whole > FANION_ROWS_INSTANT_MAX) return true;
            value->us = whole;
            value->said = FANION_SAID_TIME;
            return true;
        }
        value->number = (double)whole;
    }
    value->said = FANION_SAID_NUMBER;
    if (reads == FANION_ROWS_NAME) {
        value->said = FANION_SAID_TEXT;
        value->text.text = (const char *)start;
        value->text.length = (uint32_t)(p - start);
    }
    c->at = p;
    return true;
}

/* Days since 1970 of a day that there is, from 1970 on. */
static inline int64_t fanion_rows_days(int64_t year, int64_t month, int64_t day) {
    const int64_t y = month <= 2 ? year - 1 : year, era = y / 400, of_era = y - era * 400;
    const int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* A time of one of the usual forms, of the years 1971 to 2999; else false. */
static inline bool fanion_rows_time(fanion_rows_cursor *c, fanion_rows_value *value) {
    const char *p = value->text.text;
    const uint32_t length = value->text.length;
    if (!fanion_flat_is_time(&c->minute, value->text)) return false;
    const int64_t year = fanion_flat_digits(p, 4);
    if (year < 1971 || year > 2999) return false;
    int64_t us = fanion_rows_days(year, fanion_flat_digits(p + 5, 2), fanion_flat_digits(p + 8, 2)) * 86400;
    us += fanion_flat_digits(p + 11, 2) * 3600 + fanion_flat_digits(p + 14, 2) * 60 + fanion_flat_digits(p + 17, 2);
    us *= 1000000;
    uint32_t at = 19;
    if (p[at] == '.') {
        const uint32_t count = length >= 26 && p[23] >= '0' && p[23] <= '9' ? 6 : 3;
        us += (int64_t)fanion_flat_digits(p + 20, (int)count) * (count == 6 ? 1 : 1000);
        at += count + 1;
    }
    if (p[at] != 'Z') {
        const int64_t offset = fanion_flat_digits(p + at + 1, 2) * 3600 + fanion_flat_digits(p + at + 4, 2) * 60;
        us -= (p[at] == '-' ? -offset : offset) * 1000000;
    }
    value->us = us;
    value->said = FANION_SAID_TIME;
    return true;
}

/* What one member says; false: odd. */
static inline bool fanion_rows_read(fanion_rows_cursor *c, uint32_t reads, fanion_rows_value *value) {
    fanion_rows_skip(c);
    if (c->at >= c->end) return false;
    switch (*c->at) {
    case '"':
        c->at++;
        if (!fanion_rows_text_rest(c, &value->text, false)) return false;
        if (reads == FANION_ROWS_INSTANT) return fanion_rows_time(c, value);
        if (reads == FANION_ROWS_SCALAR || (reads <= FANION_ROWS_NAME && value->text.length)) value->said = FANION_SAID_TEXT;
        return true;
    case 't':
        if (reads == FANION_ROWS_SCALAR) value->said = FANION_SAID_TRUE;
        return fanion_rows_literal(c, "true", 4);
    case 'f':
        if (reads == FANION_ROWS_SCALAR) value->said = FANION_SAID_FALSE;
        return fanion_rows_literal(c, "false", 5);
    case '{':
    case '[':
    case 'n':
        return fanion_rows_skip_value(c, 2);
    default:
        if (reads == FANION_ROWS_TEXT || reads == FANION_ROWS_INSTANT) return fanion_rows_skip_number(c);
        return fanion_rows_number(c, reads, value);
    }
}

#endif
