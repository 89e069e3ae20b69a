/* Text as ECMAScript sees it, on UTF-8 in place: UTF-16 units and their order, white space, what kind of number a
 * text is, names of a path; versions as flag rules compare them. Never reads beyond a text's end, whatever its
 * bytes. No Python.h, no allocation. */
#ifndef FANION_TEXT_H
#define FANION_TEXT_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fanion_version.h"

/* -- UTF-16 units */

/* Bytes of the character at `p`, at most what is left of the text. */
static inline size_t fanion_text_step(const char *p, const char *end) {
    unsigned char c = (unsigned char)*p;
    size_t step = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    return step < (size_t)(end - p) ? step : (size_t)(end - p);
}

static inline size_t fanion_text_units(const char *text, size_t length) {
    size_t units = 0;
    for (size_t i = 0; i < length; i++) /* each first byte is a unit, the first of four bytes two */
        units += ((unsigned char)text[i] & 0xC0) != 0x80 ? 1 + ((unsigned char)text[i] >= 0xF0) : 0;
    return units;
}

#define FANION_HALF "\xEF\xBF\xBD" /* U+FFFD, which half of a pair becomes */
#define FANION_HALF_BYTES 3

typedef struct {
    const char *text; /* whole characters of the part */
    size_t length;
    int half_before, half_behind; /* the part begins, ends with half of a pair */
} fanion_part;

/* Units first .. last (not included) of a text; both within its units, first <= last. */
static inline fanion_part fanion_text_part(const char *text, size_t length, size_t first, size_t last) {
    const char *p = text, *end = text + length;
    fanion_part part = {text, 0, 0, 0};
    size_t unit = 0;
    while (p < end && unit < first) {
        size_t step = fanion_text_step(p, end);
        unit += 1 + (step == 4);
        p += step;
    }
    part.half_before = unit > first && first < last;
    part.text = p;
    while (p < end && unit < last) {
        size_t step = fanion_text_step(p, end);
        if (step == 4 && unit + 2 > last) {
            part.half_behind = 1;
            break;
        }
        unit += 1 + (step == 4);
        p += step;
    }
    part.length = (size_t)(p - part.text);
    return part;
}

/* ECMAScript's ToIntegerOrInfinity. */
static inline double fanion_whole(double number) { return number != number ? 0.0 : trunc(number); }

/* Where a part of `units` begins and ends, by start and length as substr takes them. */
static inline void fanion_text_bounds(double units, double start, int has_length, double length, size_t *first, size_t *last) {
    double begin = fanion_whole(start), end = units;
    begin = begin < 0 ? fmax(units + begin, 0) : fmin(begin, units);
    if (has_length && length < 0)
        end = begin + fmax(fanion_whole(units - begin + length), 0);
    else if (has_length)
        end = fmin(begin + fanion_whole(length), units);
    *first = (size_t)begin;
    *last = (size_t)end;
}

/* By UTF-16 units: of the first bytes that differ, those of U+E000 .. U+FFFF stand behind surrogate pairs. */
static inline int fanion_text_order(const char *a, size_t a_length, const char *b, size_t b_length) {
    size_t shared = a_length < b_length ? a_length : b_length, i = 0;
    while (i < shared && a[i] == b[i])
        i++;
    if (i == shared)
        return (a_length > b_length) - (a_length < b_length);
    unsigned x = (unsigned char)a[i], y = (unsigned char)b[i];
    x += (x & 0xFE) == 0xEE ? 0x10 : 0;
    y += (y & 0xFE) == 0xEE ? 0x10 : 0;
    return x < y ? -1 : 1;
}

/* -- numbers in text */

/* Bytes of the white space that begins at `p`, 0 for none. */
static inline size_t fanion_space_at(const char *p, const char *end) {
    static const char *const wide[] = {"\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\xA8", "\xE2\x80\xA9",
                                       "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80", "\xEF\xBB\xBF"};
    if (p == end)
        return 0;
    if (*p == ' ' || (*p >= '\t' && *p <= '\r'))
        return 1;
    if ((unsigned char)*p < 0xC2)
        return 0;
    if (end - p >= 3 && memcmp(p, "\xE2\x80", 2) == 0 && (unsigned char)p[2] >= 0x80 && (unsigned char)p[2] <= 0x8A)
        return 3;
    for (size_t n = 0; n < sizeof wide / sizeof *wide; n++) {
        size_t size = n ? 3 : 2;
        if ((size_t)(end - p) >= size && memcmp(p, wide[n], size) == 0)
            return size;
    }
    return 0;
}

/* Cuts white space off both ends. */
static inline void fanion_text_trim(const char **text, size_t *length) {
    const char *p = *text, *end = p + *length;
    for (size_t step; (step = fanion_space_at(p, end)) != 0;)
        p += step;
    for (;;) {
        size_t step = 0;
        for (size_t size = 1; size <= 3 && !step && (size_t)(end - p) >= size; size++)
            step = fanion_space_at(end - size, end) == size ? size : 0;
        if (!step)
            break;
        end -= step;
    }
    *text = p;
    *length = (size_t)(end - p);
}

/* Digits of another base behind "0x", "0o", "0b", added up one by one; NaN where it is no such number. */
static inline double fanion_radix_number(const char *text, size_t length) {
    double total = 0.0;
    int base = 0;
    if (length > 2 && text[0] == '0')
        base = (text[1] | 32) == 'x' ? 16 : (text[1] | 32) == 'o' ? 8 : (text[1] | 32) == 'b' ? 2 : 0;
    if (!base)
        return NAN;
    for (size_t i = 2; i < length; i++) {
        int c = text[i] | 32, value = 16;
        if (text[i] >= '0' && text[i] <= '9')
            value = text[i] - '0';
        else if (c >= 'a' && c <= 'f')
            value = c - 'a' + 10;
        if (value >= base)
            return NAN;
        total = total * base + value;
    }
    return total;
}

/* "Infinity" with or without a sign; 0 where it is not. */
static inline double fanion_infinity(const char *text, size_t length) {
    int sign = length && (*text == '-' || *text == '+');
    if (length - (size_t)sign != 8 || memcmp(text + sign, "Infinity", 8) != 0)
        return 0.0;
    return *text == '-' ? -INFINITY : INFINITY;
}

/* -- paths */

/* A name of a path as it stands there: "\.", "\/" and "\\" mean their second character. */
typedef struct {
    const char *text;
    size_t length;
} fanion_name;

/* How many names a path has; one of dots alone has no name behind its last. */
static inline size_t fanion_path_names(const char *path, size_t length) {
    size_t dots = 0, all = 1;
    for (size_t i = 0; i < length; i++) {
        if (path[i] != '.')
            all = 0;
        if (path[i] == '.')
            dots++;
        else if (path[i] == '\\' && i + 1 < length && (path[i + 1] == '.' || path[i + 1] == '/' || path[i + 1] == '\\'))
            i++;
    }
    return all ? dots : dots + 1;
}

/* The name at `*at`, which then is where the next begins. */
static inline fanion_name fanion_path_next(const char *path, size_t length, size_t *at) {
    size_t i = *at;
    while (i < length && path[i] != '.')
        i += path[i] == '\\' && i + 1 < length && (path[i + 1] == '.' || path[i + 1] == '/' || path[i + 1] == '\\') ? 2 : 1;
    if (i > length)
        i = length;
    fanion_name name = {path + *at, i - *at};
    *at = i + 1;
    return name;
}

static inline int fanion_name_is(fanion_name name, const char *text, size_t length) {
    size_t used = 0;
    for (size_t i = 0; i < name.length; i++, used++) {
        char c = name.text[i];
        if (c == '\\' && i + 1 < name.length &&
            (name.text[i + 1] == '.' || name.text[i + 1] == '/' || name.text[i + 1] == '\\'))
            c = name.text[++i];
        if (used == length || text[used] != c)
            return 0;
    }
    return used == length;
}

/* A list's index as ECMAScript writes one, at most nine digits; -1 for any other name. */
static inline int64_t fanion_name_index(fanion_name name) {
    int64_t index = 0;
    if (!name.length || name.length > 9 || (name.length > 1 && name.text[0] == '0'))
        return -1;
    for (size_t i = 0; i < name.length; i++) {
        if (name.text[i] < '0' || name.text[i] > '9')
            return -1;
        index = index * 10 + (name.text[i] - '0');
    }
    return index;
}

/* -- versions */

#define FANION_VERSION_UNITS_MAX 256
#define FANION_VERSION_NUMBER_MAX 9007199254740991u

/* A version with or without "v" in front; `room` takes one whose minor or patch number is missing. */
static inline int fanion_version_lenient(const char *text, size_t length, char *room, fanion_version *out) {
    size_t digits = 0, point = 0;
    if (length && (*text == 'v' || *text == 'V'))
        text++, length--;
    if (fanion_text_units(text, length) > FANION_VERSION_UNITS_MAX)
        return 0;
    while (digits < length && fanion_is_digit(text[digits]))
        digits++;
    if (digits && digits < length && text[digits] == '.')
        for (point = 1; digits + point < length && fanion_is_digit(text[digits + point]);)
            point++;
    if (digits && (point == 0 || point > 1) && digits + point == length) {
        memcpy(room, text, length);
        memcpy(room + length, ".0.0", 4);
        text = room;
        length += point ? 2 : 4;
    }
    fanion_text_trim(&text, &length);
    if (length && *text == 'v')
        text++, length--;
    return fanion_version_parse(text, length, out) && out->major <= FANION_VERSION_NUMBER_MAX &&
           out->minor <= FANION_VERSION_NUMBER_MAX && out->patch <= FANION_VERSION_NUMBER_MAX;
}

/* 1, 0, or -1 where a version or the operator can't be read. */
static inline int fanion_version_satisfies(const char *left, size_t left_length, const char *operator_text,
                                           size_t operator_length, const char *right, size_t right_length) {
    char rooms[2][FANION_VERSION_UNITS_MAX + 4];
    fanion_version a, b;
    if (!fanion_version_lenient(left, left_length, rooms[0], &a) ||
        !fanion_version_lenient(right, right_length, rooms[1], &b) || !operator_length || operator_length > 2)
        return -1;
    int order = fanion_version_precedence(&a, &b);
    char first = operator_text[0], second = operator_length == 2 ? operator_text[1] : '\0';
    if (operator_length == 2 && (second != '=' || (first != '!' && first != '<' && first != '>')))
        return -1;
    switch (first) {
    case '=':
        return order == 0;
    case '!':
        return second ? order != 0 : -1;
    case '<':
        return second ? order <= 0 : order < 0;
    case '>':
        return second ? order >= 0 : order > 0;
    case '^':
        return a.major == b.major;
    case '~':
        return a.major == b.major && a.minor == b.minor;
    default:
        return -1;
    }
}

#endif
