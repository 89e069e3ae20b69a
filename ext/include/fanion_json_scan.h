/* The bounds of a JSON text, found in one pass over its bytes, before all else looks at it.
 *
 * Not a parser: it knows strings, brackets, numbers and words, and takes what lies between for the decoder's
 * business. What it passes may still be no JSON; what it refuses is beyond a bound, whatever else it is. An
 * unfinished string ends the pass: the decoder refuses that text.
 *
 * Decoders are slow at some numbers: where the usual arithmetic can't tell which double is nearest, 1e300 takes 10 us
 * and 1e23 half of one, 65 ns being usual. So a number with a large exponent counts as many tokens, and a long one as
 * one for each FANION_JSON_TOKEN_DIGITS characters.
 *
 * `fanion_json_few` and `fanion_json_long_number` tell quickly, in a tenth of a nanosecond a byte, that a text can't
 * break a bound, so that it needs no scan.
 *
 * Beside it: `fanion_json_mend.h` (halves of surrogate pairs), `fanion_json_condense.h` (a text that is mostly blanks or
 * escapes made shorter), `fanion_json_valid.h` (the grammar of one value), `fanion_json_cut.h` (an array's items).
 *
 * Does not need the GIL. Reads only [text, text + length); takes no memory but the caller's.
 */
#ifndef FANION_JSON_SCAN_H
#define FANION_JSON_SCAN_H

#include "fanion_json_text.h"

enum {
    FANION_JSON_EXPONENT_LARGE = 20,   /* from here on, up or down, a number counts as FANION_JSON_LARGE_TOKENS */
    FANION_JSON_EXPONENT_HUGE = 100,   /* and from here on as FANION_JSON_HUGE_TOKENS */
    FANION_JSON_LARGE_TOKENS = 16,
    FANION_JSON_HUGE_TOKENS = 256,
    FANION_JSON_TOKEN_DIGITS = 8, /* of a number longer than FANION_JSON_DIGITS_USUAL */
    FANION_JSON_DIGITS_USUAL = 32, /* -1.7976931348623157e+308 has 24 characters */
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
    uint64_t tokens_max; /* names, strings, numbers (see above), words and brackets of the whole text */
} fanion_json_bounds;

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

/* As many tokens as a text may have at most, numbers with exponents and long ones counted once: a value stands behind a
 * comma, behind what opens or alone, a name before a colon. What is in strings counts too. Ends above `most`. */
static inline uint64_t fanion_json_tokens_at_most(const uint8_t *text, uint64_t length, uint64_t most) {
    enum { BLOCK = 64 }; /* of which each byte counts twice at most */
    uint64_t tokens = 1;
    for (uint64_t start = 0; start < length && tokens <= most; start += BLOCK) {
        const uint64_t end = length - start < BLOCK ? length : start + BLOCK;
        uint8_t of_block = 0;
        for (uint64_t at = start; at < end; at++) {
            const uint8_t opens = (text[at] | 32) == '{';
            of_block = (uint8_t)(of_block + (text[at] == ',') + (text[at] == ':') + opens + opens);
        }
        tokens += of_block;
    }
    return tokens;
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

#endif
