/* The bounds of a JSON text, found in one pass over its bytes, before all else looks at it. Long: one pass.
 *
 * Not a parser: it knows strings, brackets, numbers and words, and takes what lies between for the decoder's
 * business. What it passes may still be no JSON; what it refuses is beyond a bound, whatever else it is. An
 * unfinished string ends the pass: the decoder refuses that text.
 *
 * Decoders are slow at some numbers: where the usual arithmetic can't tell which double is nearest, 1e300 takes 10 us
 * and 1e23 half of one, 65 ns being usual. So a number with a large exponent counts as many tokens, and a long one as
 * one for each FANION_JSON_TOKEN_DIGITS characters.
 *
 * `fanion_json_few` and `fanion_json_long_number` tell quickly, in a tenth of a nanosecond a byte, that a text can't break
 * a bound, so that it needs no scan. `fanion_json_valid_end` does check the grammar, of one value.
 *
 * `fanion_json_mend` writes U+FFFD over escapes that are half a surrogate pair, in place and in one pass.
 *
 * `fanion_json_cut` finds the items of the array that is the member `name` of the top-level object, by brackets and
 * commas alone, and refuses while counting. Of several members of that name it takes the first array.
 *
 * `fanion_json_condense` (in fanion_json_condense.h) makes a text that is mostly blanks or escapes shorter.
 *
 * Does not need the GIL. Reads only [text, text + length); takes no memory but the caller's.
 */
#ifndef FANION_JSON_SCAN_H
#define FANION_JSON_SCAN_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    FANION_JSON_DEPTH_MAX = 512, /* the most that a caller may allow */
    FANION_JSON_DIGITS_MAX = 4096,
    FANION_JSON_EXPONENT_LARGE = 20,   /* from here on, up or down, a number counts as FANION_JSON_LARGE_TOKENS */
    FANION_JSON_EXPONENT_HUGE = 100,   /* and from here on as FANION_JSON_HUGE_TOKENS */
    FANION_JSON_LARGE_TOKENS = 16,
    FANION_JSON_HUGE_TOKENS = 256,
    FANION_JSON_TOKEN_DIGITS = 8, /* of a number longer than FANION_JSON_DIGITS_USUAL */
    FANION_JSON_VALID_DIGITS_MAX = 256, /* and an exponent of one digit: no double is exceeded */
    FANION_JSON_DIGITS_USUAL = 32, /* -1.7976931348623157e+308 has 24 characters */
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first byte of a word is its lowest");

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
    uint64_t tokens_max; /* names, strings, numbers (see above), words and brackets of the whole text */
} fanion_json_bounds;

/* Eight bytes of a text, and which of them are `byte`: the lowest bit that is set belongs to the first. */
static inline uint64_t fanion_json_word(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint64_t fanion_json_bytes_equal(uint64_t word, uint8_t byte) {
    const uint64_t ones = UINT64_C(0x0101010101010101), other = word ^ (ones * byte);
    return (other - ones) & ~other & (ones << 7);
}

/* The first quote or backslash in [at, end), else `end`. */
static inline const uint8_t *fanion_json_plain_end(const uint8_t *at, const uint8_t *end) {
    for (; end - at >= (ptrdiff_t)sizeof(uint64_t); at += sizeof(uint64_t)) {
        const uint64_t word = fanion_json_word(at);
        const uint64_t found = fanion_json_bytes_equal(word, '"') | fanion_json_bytes_equal(word, '\\');
        if (found) return at + (__builtin_ctzll(found) >> 3);
    }
    while (at < end && *at != '"' && *at != '\\') at++;
    return at;
}

/* The first byte behind the string that begins at `at` (its opening quote), NULL when it has no end. */
static inline const uint8_t *fanion_json_string_end(const uint8_t *at, const uint8_t *end) {
    at++;
    while ((at = fanion_json_plain_end(at, end)) < end) {
        if (*at == '"') return at + 1;
        if (end - at < 2) return NULL;
        at += 2;
    }
    return NULL;
}

static inline int fanion_json_is_space(uint8_t byte) {
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

typedef struct {
    const uint8_t *at; /* behind the opening quote */
    size_t length;
} fanion_json_text;

static inline const uint8_t *fanion_json_blanks_end(const uint8_t *at, const uint8_t *end) {
    while (at < end && fanion_json_is_space(*at)) at++;
    return at;
}

/* Behind the string that begins at `at`, and its text; NULL where there is none, or it has an escape or a control
 * character in it. */
static inline const uint8_t *fanion_json_plain_text(const uint8_t *at, const uint8_t *end, fanion_json_text *text) {
    if (at >= end || *at != '"') return NULL;
    text->at = ++at;
    while (at < end && *at != '"') {
        if (*at < ' ' || *at == '\\') return NULL;
        at++;
    }
    text->length = (size_t)(at - text->at);
    return at < end ? at + 1 : NULL;
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

/* Tokens that a number with an exponent counts as. */
static inline uint64_t fanion_json_exponent_tokens(const uint8_t *at, const uint8_t *end) {
    uint32_t exponent = 0;
    while (at < end && (*at | 32) != 'e') at++;
    for (at++; at < end && exponent < FANION_JSON_EXPONENT_HUGE; at++) {
        if (*at >= '0' && *at <= '9') exponent = exponent * 10 + (uint32_t)(*at - '0');
    }
    if (exponent >= FANION_JSON_EXPONENT_HUGE) return FANION_JSON_HUGE_TOKENS;
    return exponent >= FANION_JSON_EXPONENT_LARGE ? FANION_JSON_LARGE_TOKENS : 1;
}

/* Whether [*at, ...) within the text is the `e` of a number with an exponent of two digits or more. */
static inline int fanion_json_is_exponent(const uint8_t *text, uint64_t at, uint64_t length) {
    uint64_t behind = at + 1;
    if ((text[at] | 32) != 'e' || at == 0) return 0;
    if (behind < length && (text[behind] == '+' || text[behind] == '-')) behind++;
    if (behind + 1 >= length || text[behind] < '0' || text[behind] > '9') return 0;
    if (text[behind + 1] < '0' || text[behind + 1] > '9') return 0;
    const uint64_t mark = at;
    while (at > 0 && ((text[at - 1] >= '0' && text[at - 1] <= '9') || text[at - 1] == '.')) at--;
    if (at == mark) return 0;
    if (at > 0 && text[at - 1] == '-') at--;
    return at == 0 || text[at - 1] == ',' || text[at - 1] == ':' || text[at - 1] == '['
        || fanion_json_is_space(text[at - 1]);
}

/* Tokens that the numbers with an exponent of two digits or more count as together, whatever else the text is; what
 * looks like one in a string counts too. Ends when they are more than `most`. A tenth of a nanosecond a byte where
 * there is none. */
static inline uint64_t fanion_json_exponents(const uint8_t *text, uint64_t length, uint64_t most) {
    enum { BLOCK = 256 };
    uint64_t tokens = 0;
    for (uint64_t start = 1; start < length && tokens <= most; start += BLOCK) {
        const uint64_t end = length - start < BLOCK ? length : start + BLOCK;
        uint8_t found = 0;
        for (uint64_t at = start; at < end; at++) {
            const uint8_t before = text[at - 1];
            found |= (uint8_t)((text[at] | 32) == 'e') & ((uint8_t)((uint8_t)(before - '0') < 10) | (before == '.'));
        }
        for (uint64_t at = start; found && at < end && tokens <= most; at++) {
            if (!fanion_json_is_exponent(text, at, length)) continue;
            uint64_t behind = at + 1;
            while (behind < length && fanion_json_is_number(text[behind])) behind++;
            tokens += fanion_json_exponent_tokens(text + at, text + behind);
        }
    }
    return tokens;
}

/* Whether a text has at most `brackets` brackets that open and `colons` colons, those in strings counted too: then it
 * can't nest deeper, nor an object of it have more members. */
static inline int fanion_json_few(const uint8_t *text, uint64_t length, uint64_t brackets, uint64_t colons) {
    enum { BLOCK = 128 };
    uint64_t opened = 0, named = 0;
    for (uint64_t start = 0; start < length; start += BLOCK) {
        const uint64_t end = length - start < BLOCK ? length : start + BLOCK;
        uint8_t of_block[2] = {0, 0}; /* at most BLOCK */
        for (uint64_t at = start; at < end; at++) {
            of_block[0] = (uint8_t)(of_block[0] + ((text[at] | 32) == '{'));
            of_block[1] = (uint8_t)(of_block[1] + (text[at] == ':'));
        }
        opened += of_block[0];
        named += of_block[1];
        if (opened > brackets || named > colons) return 0;
    }
    return 1;
}

/* Whether more than `most` characters of numbers stand in a row, in a string or out of it. One that long lies over every
 * place that is a multiple of `most`, so only what is around those is looked at. */
static inline int fanion_json_long_number(const uint8_t *text, uint64_t length, uint64_t most) {
    for (uint64_t at = 0, next; at < length; at = next) {
        next = at + most;
        if (!fanion_json_is_number(text[at])) continue;
        uint64_t first = at, last = at + 1;
        while (first > 0 && at - first <= most && fanion_json_is_number(text[first - 1])) first--;
        while (last < length && last - at <= most && fanion_json_is_number(text[last])) last++;
        if (last - first > most) return 1;
    }
    return 0;
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
        if (byte <= ' ' || byte == ',' || byte == ':') {
            at++;
            continue;
        }
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
            if (exponent) tokens += fanion_json_exponent_tokens(first, at) - 1;
            if (at - first > FANION_JSON_DIGITS_USUAL) tokens += (uint64_t)(at - first) / FANION_JSON_TOKEN_DIGITS - 1;
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

typedef enum {
    FANION_JSON_NO_SURROGATE = 0,
    FANION_JSON_HIGH = 1,
    FANION_JSON_LOW = 2,
} fanion_json_surrogate;

enum {
    FANION_JSON_ESCAPE_BYTES = 6,
    FANION_JSON_HALVES_MAX = 10000,
};

/* What the escape at `at` is of a surrogate pair; `at` may be any place up to `end`. */
static inline fanion_json_surrogate fanion_json_surrogate_at(const uint8_t *at, const uint8_t *end) {
    if (end - at < FANION_JSON_ESCAPE_BYTES || at[0] != '\\' || at[1] != 'u' || (at[2] | 32) != 'd') {
        return FANION_JSON_NO_SURROGATE;
    }
    for (int n = 4; n < FANION_JSON_ESCAPE_BYTES; n++) {
        const uint8_t letter = at[n] | 32;
        if (!((at[n] >= '0' && at[n] <= '9') || (letter >= 'a' && letter <= 'f'))) return FANION_JSON_NO_SURROGATE;
    }
    const uint8_t half = at[3] | 32;
    if (at[3] == '8' || at[3] == '9' || half == 'a' || half == 'b') return FANION_JSON_HIGH;
    return half >= 'c' && half <= 'f' ? FANION_JSON_LOW : FANION_JSON_NO_SURROGATE;
}

/* How many escapes were half a pair, as JSON.stringify writes text that was cut inside a pair; 0 where there were
 * more than FANION_JSON_HALVES_MAX, which no text is that was only cut: such a text is nobody's to read twice. */
static inline uint64_t fanion_json_mend(uint8_t *text, uint64_t length) {
    uint8_t *at = text, *const end = text + length;
    uint64_t count = 0;
    while ((at = memchr(at, '\\', (size_t)(end - at))) != NULL && end - at >= 2) {
        const fanion_json_surrogate kind = fanion_json_surrogate_at(at, end);
        if (kind == FANION_JSON_NO_SURROGATE) {
            at += 2; /* what stands behind a backslash begins no escape */
        } else if (kind == FANION_JSON_HIGH
                   && fanion_json_surrogate_at(at + FANION_JSON_ESCAPE_BYTES, end) == FANION_JSON_LOW) {
            at += 2 * FANION_JSON_ESCAPE_BYTES;
        } else {
            memcpy(at, "\\ufffd", FANION_JSON_ESCAPE_BYTES);
            at += FANION_JSON_ESCAPE_BYTES;
            if (++count > FANION_JSON_HALVES_MAX) return 0;
        }
    }
    return count;
}

/* Behind the string that begins at `at`; NULL where a decoder refuses it, UTF-8 aside. */
static inline const uint8_t *fanion_json_valid_string_end(const uint8_t *at, const uint8_t *end) {
    for (at++; at < end; at++) {
        if (*at == '"') return at + 1;
        if (*at < ' ') return NULL;
        if (*at != '\\') continue;
        if (end - at < 2) return NULL;
        if (at[1] != 'u') {
            if (memchr("\"\\/bfnrt", at[1], 8) == NULL) return NULL;
            at++;
            continue;
        }
        const fanion_json_surrogate half = fanion_json_surrogate_at(at, end);
        if (half == FANION_JSON_LOW) return NULL;
        if (half == FANION_JSON_HIGH) {
            if (fanion_json_surrogate_at(at + FANION_JSON_ESCAPE_BYTES, end) != FANION_JSON_LOW) return NULL;
            at += FANION_JSON_ESCAPE_BYTES;
        } else {
            if (end - at < FANION_JSON_ESCAPE_BYTES) return NULL;
            for (int n = 2; n < FANION_JSON_ESCAPE_BYTES; n++) {
                const uint8_t letter = at[n] | 32;
                if (!((at[n] >= '0' && at[n] <= '9') || (letter >= 'a' && letter <= 'f'))) return NULL;
            }
        }
        at += FANION_JSON_ESCAPE_BYTES - 1;
    }
    return NULL;
}

static inline const uint8_t *fanion_json_digits_end(const uint8_t *at, const uint8_t *end) {
    while (at < end && *at >= '0' && *at <= '9') at++;
    return at;
}

/* Behind the number at `at`; NULL where it is none, one beyond a double, or long. */
static inline const uint8_t *fanion_json_valid_number_end(const uint8_t *at, const uint8_t *end) {
    const uint8_t *const first = at, *digits;
    at += at < end && *at == '-';
    at = fanion_json_digits_end(digits = at, end);
    if (at == digits || (*digits == '0' && at - digits > 1)) return NULL;
    if (at < end && *at == '.') {
        at = fanion_json_digits_end(digits = at + 1, end);
        if (at == digits) return NULL;
    }
    int exponent = at < end && (*at | 32) == 'e';
    if (exponent) {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        at = fanion_json_digits_end(digits = at, end);
        if (at == digits) return NULL;
    }
    if (at - first > FANION_JSON_VALID_DIGITS_MAX) return NULL;
    return exponent && !fanion_json_is_finite(first, (size_t)(at - first)) ? NULL : at;
}

/* Behind the value that begins at `at`, where every decoder reads it, were it read; NULL for all else, for numbers of
 * more than FANION_JSON_VALID_DIGITS_MAX characters and for nesting above FANION_JSON_DEPTH_MAX. The text has to be
 * UTF-8. 1 to 3 ns a byte. Long: one pass. */
static inline const uint8_t *fanion_json_valid_end(const uint8_t *at, const uint8_t *end) {
    uint8_t closes[FANION_JSON_DEPTH_MAX];
    uint32_t depth = 0;
    int named = 0; /* a member's name is expected, or what closes its object where that is empty */
    for (;;) {
        at = fanion_json_blanks_end(at, end);
        if (at == end) return NULL;
        if (named) {
            if (*at != '"' || (at = fanion_json_valid_string_end(at, end)) == NULL) return NULL;
            at = fanion_json_blanks_end(at, end);
            if (at == end || *at != ':') return NULL;
            at = fanion_json_blanks_end(at + 1, end);
            if (at == end) return NULL;
        }
        if (*at == '{' || *at == '[') {
            if (depth == FANION_JSON_DEPTH_MAX) return NULL;
            closes[depth++] = *at + 2;
            named = *at == '{';
            at = fanion_json_blanks_end(at + 1, end);
            if (at == end) return NULL;
            if (*at != closes[depth - 1]) continue;
        } else if (*at == '"') {
            if ((at = fanion_json_valid_string_end(at, end)) == NULL) return NULL;
        } else if (*at >= 'a') {
            const ptrdiff_t left = end - at;
            if (left >= 4 && (memcmp(at, "true", 4) == 0 || memcmp(at, "null", 4) == 0)) at += 4;
            else if (left >= 5 && memcmp(at, "false", 5) == 0) at += 5;
            else return NULL;
        } else if ((at = fanion_json_valid_number_end(at, end)) == NULL) {
            return NULL;
        }
        for (;;) { /* behind a value, or at the bracket that ends one */
            if (depth == 0) return at;
            at = fanion_json_blanks_end(at, end);
            if (at == end) return NULL;
            if (*at == ',') {
                named = closes[depth - 1] == '}';
                at++;
                break;
            }
            if (*at != closes[depth - 1]) return NULL;
            depth--;
            at++;
        }
    }
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
