/* The bounds of a JSON text, found in one pass over its bytes, before anything else looks at it.
 *
 * Not a parser: it knows strings, brackets, numbers and words, and takes what lies between for the decoder's
 * business. What it passes may still be no JSON; what it refuses is beyond a bound, whatever else it is. An
 * unfinished string ends the pass: the decoder refuses that text.
 *
 * `fanion_json_cut` finds the items of the array that is the member `name` of the top-level object, by brackets and
 * commas alone, and refuses while counting. Of several members of that name it takes the first array.
 *
 * Does not need the GIL. Reads only [text, text + length); takes no memory but the caller's.
 */
#ifndef FANION_JSON_SCAN_H
#define FANION_JSON_SCAN_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    FANION_JSON_DEPTH_MAX = 512, /* the most that a caller may allow */
    FANION_JSON_DIGITS_MAX = 4096,
};

typedef enum {
    FANION_JSON_WITHIN = 0,
    FANION_JSON_TOO_DEEP = 1,
    FANION_JSON_TOO_MANY_MEMBERS = 2, /* of one object */
    FANION_JSON_TOO_LONG_NUMBER = 3,
    FANION_JSON_NOT_FINITE = 4,
    FANION_JSON_TOO_MANY_TOKENS = 5,
    FANION_JSON_UNBALANCED = 6,       /* a bracket closes what was not opened */
    FANION_JSON_TOO_MANY_ITEMS = 7,   /* of the array that was asked for */
} fanion_json_verdict;

typedef struct {
    uint32_t depth_max;  /* at most FANION_JSON_DEPTH_MAX */
    uint32_t keys_max;   /* members of one object */
    uint32_t digits_max; /* characters of one number, at most FANION_JSON_DIGITS_MAX */
    uint64_t tokens_max; /* names, strings, numbers, words and brackets of the whole text */
} fanion_json_bounds;

/* The first byte behind the string that begins at `at` (its opening quote), NULL when it has no end. */
static inline const uint8_t *fanion_json_string_end(const uint8_t *at, const uint8_t *end) {
    at++;
    while (at < end) {
        const uint8_t byte = *at;
        if (byte == '"') return at + 1;
        at += byte == '\\' ? 2 : 1;
    }
    return NULL;
}

static inline int fanion_json_is_space(uint8_t byte) {
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

static inline int fanion_json_is_number(uint8_t byte) {
    return (byte >= '0' && byte <= '9') || byte == '.' || byte == 'e' || byte == 'E' || byte == '+' || byte == '-';
}

/* Whether a number with an exponent is one that a double holds; also for what is no number. */
static inline int fanion_json_is_finite(const uint8_t *text, size_t length) {
    char copy[FANION_JSON_DIGITS_MAX + 1];
    memcpy(copy, text, length);
    copy[length] = 0;
    char *stop;
    const double value = strtod(copy, &stop);
    return stop != copy + length || isfinite(value);
}

static inline fanion_json_verdict fanion_json_scan(
    const uint8_t *text, uint64_t length, const fanion_json_bounds *bounds
) {
    uint32_t members[FANION_JSON_DEPTH_MAX + 1];
    const uint8_t *at = text, *const end = text + length;
    uint32_t depth = 0;
    uint64_t tokens = 0;
    members[0] = 0;
    while (at < end) {
        const uint8_t byte = *at;
        if (byte == '"') {
            at = fanion_json_string_end(at, end);
            if (at == NULL) return FANION_JSON_WITHIN;
            const uint8_t *next = at;
            while (next < end && fanion_json_is_space(*next)) next++;
            if (next < end && *next == ':') {
                if (++members[depth] > bounds->keys_max) return FANION_JSON_TOO_MANY_MEMBERS;
                at = next + 1;
            }
        } else if (byte == '{' || byte == '[') {
            if (++depth > bounds->depth_max) return FANION_JSON_TOO_DEEP;
            members[depth] = 0;
            at++;
        } else if (byte == '}' || byte == ']') {
            if (depth == 0) return FANION_JSON_UNBALANCED;
            depth--;
            at++;
        } else if ((byte >= '0' && byte <= '9') || (byte == '-' && at + 1 < end && at[1] >= '0' && at[1] <= '9')) {
            const uint8_t *const first = at;
            int exponent = 0;
            do {
                exponent |= (*at | 32) == 'e';
                at++;
            } while (at < end && fanion_json_is_number(*at));
            if ((uint64_t)(at - first) > bounds->digits_max) return FANION_JSON_TOO_LONG_NUMBER;
            if (exponent && !fanion_json_is_finite(first, (size_t)(at - first))) return FANION_JSON_NOT_FINITE;
        } else if (byte >= 'a' && byte <= 'z') {
            do at++;
            while (at < end && *at >= 'a' && *at <= 'z');
        } else {
            at++;
            continue;
        }
        if (++tokens > bounds->tokens_max) return FANION_JSON_TOO_MANY_TOKENS;
    }
    return FANION_JSON_WITHIN;
}

typedef struct {
    uint64_t first, last; /* [first, last) of an item, spaces around it cut off */
} fanion_json_span;

typedef struct {
    uint64_t first, last; /* what lies between the array's brackets; last: the closing bracket */
    uint64_t count;
} fanion_json_array;

static inline fanion_json_span fanion_json_stripped(const uint8_t *text, uint64_t first, uint64_t last) {
    while (first < last && fanion_json_is_space(text[first])) first++;
    while (first < last && fanion_json_is_space(text[last - 1])) last--;
    return (fanion_json_span){first, last};
}

/* Cuts the array into `spans` (room for `items_max`). `name` is in its quotes, as it stands in the text. Returns
 * FANION_JSON_WITHIN, FANION_JSON_TOO_MANY_ITEMS, or FANION_JSON_UNBALANCED where there is no such whole array. */
static inline fanion_json_verdict fanion_json_cut(
    const uint8_t *text, uint64_t length, const uint8_t *name, uint64_t name_length, uint64_t items_max,
    fanion_json_span *spans, fanion_json_array *array
) {
    const uint8_t *at = text, *const end = text + length;
    uint64_t depth = 0, first = 0;
    int inside = 0, named = 0;
    *array = (fanion_json_array){0, 0, 0};
    while (at < end) {
        const uint8_t byte = *at;
        if (byte == '"') {
            const uint8_t *const start = at;
            at = fanion_json_string_end(at, end);
            if (at == NULL) return FANION_JSON_UNBALANCED;
            if (depth == 1) {
                named = (uint64_t)(at - start) == name_length && memcmp(start, name, name_length) == 0;
            }
            continue;
        }
        if (byte == '{' || byte == '[') {
            depth++;
            if (byte == '[' && depth == 2 && named && !inside) {
                inside = 1;
                array->first = first = (uint64_t)(at - text) + 1;
            }
        } else if (byte == '}' || byte == ']') {
            if (depth == 0) return FANION_JSON_UNBALANCED;
            depth--;
        }
        if (inside && ((byte == ',' && depth == 2) || ((byte == '}' || byte == ']') && depth == 1))) {
            const fanion_json_span span = fanion_json_stripped(text, first, (uint64_t)(at - text));
            if (byte == ',' || span.first < span.last || array->count) {
                if (array->count == items_max) return FANION_JSON_TOO_MANY_ITEMS;
                spans[array->count++] = span;
            }
            first = (uint64_t)(at - text) + 1;
            if (byte != ',') {
                array->last = (uint64_t)(at - text);
                return FANION_JSON_WITHIN;
            }
        }
        at++;
    }
    return FANION_JSON_UNBALANCED;
}

#endif
