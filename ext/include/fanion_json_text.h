/* What a JSON text is made of, as all that passes over one needs it: strings, blanks, characters of numbers. Not a
 * parser. Does not need the GIL; reads only [at, end). */
#ifndef FANION_JSON_TEXT_H
#define FANION_JSON_TEXT_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    FANION_JSON_DEPTH_MAX = 512, /* the most that a caller may allow */
    FANION_JSON_DIGITS_MAX = 4096,
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first byte of a word is its lowest");

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

/* The first quote, backslash or control character in [at, end), else `end`: short texts, mostly. */
static inline const uint8_t *fanion_json_unescaped_end(const uint8_t *at, const uint8_t *end) {
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), control = _mm_set1_epi8(0x1F);
    for (; end - at >= 16; at += 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)at);
        const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, control), x);
        const __m128i ends = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(x, slash)), low);
        const uint32_t found = (uint32_t)_mm_movemask_epi8(ends);
        if (found) return at + __builtin_ctz(found);
    }
#endif
    while (at < end && *at != '"' && *at != '\\' && *at >= ' ') at++;
    return at;
}

/* Behind the string that begins at `at`, and its text; NULL where there is none, or it has an escape or a control
 * character in it. */
static inline const uint8_t *fanion_json_plain_text(const uint8_t *at, const uint8_t *end, fanion_json_text *text) {
    if (at >= end || *at != '"') return NULL;
    text->at = ++at;
    at = fanion_json_unescaped_end(at, end);
    text->length = (size_t)(at - text->at);
    return at < end && *at == '"' ? at + 1 : NULL;
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

#endif
