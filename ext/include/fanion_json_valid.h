/* The grammar of one JSON value, checked without building it. Strict and one-sided: what passes is read by every
 * decoder; what doesn't may be read by one all the same. Does not need the GIL; reads only [at, end). */
#ifndef FANION_JSON_VALID_H
#define FANION_JSON_VALID_H

#include "fanion_json_mend.h"
#include "fanion_json_text.h"

enum {
    FANION_JSON_VALID_DIGITS_MAX = 256, /* and an exponent of one digit: no double is exceeded */
};

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

#endif
