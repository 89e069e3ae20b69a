/* Texts of JSON that are plain: where one ends, whether two are the same, whether one is a time. No decoder's work: what
 * isn't plain is left to who asks.
 *
 * They are looked through 16 bytes at a time where the processor surely can (SSE2 on x86-64), else 8 by plain arithmetic,
 * as in debug builds everywhere, so that the same tests hold both. Does not need the GIL. Reads only what it is given.
 */
#ifndef FANION_FLAT_TEXT_H
#define FANION_FLAT_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "fanion_short.h"

#if defined(__SSE2__) && !defined(FANION_DEBUG)
#define FANION_FLAT_SSE2 1
#include <emmintrin.h>
#endif

typedef struct {
    const char *text; /* NULL: there is none */
    uint32_t length;
} fanion_flat_text;

/* The first byte of [p, end) that isn't plain: a quote, a backslash, a control character, not ASCII; else `end`. */
static inline const uint8_t *fanion_flat_plain_end(const uint8_t *p, const uint8_t *end) {
#ifdef FANION_FLAT_SSE2
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(' ');
    for (; end - p >= 16; p += 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        const __m128i marks = _mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(x, slash));
        /* What isn't ASCII is negative here, so it is below a space too. */
        const uint32_t hit = (uint32_t)_mm_movemask_epi8(_mm_or_si128(marks, _mm_cmplt_epi8(x, space)));
        if (hit) return p + __builtin_ctz(hit);
    }
#else
    const uint64_t ones = 0x0101010101010101u, tops = ones << 7;
    for (; end - p >= 8; p += 8) {
        const uint64_t x = fanion_load64((const char *)p), quote = x ^ ones * '"', slash = x ^ ones * '\\';
        /* A borrow may mark bytes above the first one that is meant, none without one. */
        const uint64_t low = (x - ones * ' ') & ~x, marks = ((quote - ones) & ~quote) | ((slash - ones) & ~slash);
        const uint64_t hit = (low | marks | x) & tops;
        if (!hit) continue;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        return p + (__builtin_ctzll(hit) >> 3);
#else
        break;
#endif
    }
#endif
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\') p++;
    return p;
}

/* Names and choices are short: no call, and the last 8 bytes may be looked at twice. */
static inline bool fanion_flat_same(const void *left, const void *right, uint32_t length) {
    const char *a = left, *b = right;
    if (length < 8) return fanion_equal(a, b, length);
    for (uint32_t n = 0; n < length - 8; n += 8)
        if (fanion_load64(a + n) != fanion_load64(b + n)) return false;
    return fanion_load64(a + length - 8) == fanion_load64(b + length - 8);
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

/* Whether `:ss.mmmZ` stands here, which is what most clients write: looked at as one word. */
static inline bool fanion_flat_is_milliseconds(const char *p) {
    static const char zeros[9] = ":00.000Z";
    /* A digit without its zero is at most 9, the first of a second at most 5; more than 15 together says that it isn't. */
    static const uint8_t above[8] = {0, 10, 6, 0, 6, 6, 6, 0}, whole[8] = {255, 240, 240, 255, 240, 240, 240, 255};
    uint64_t more, mask;
    memcpy(&more, above, 8);
    memcpy(&mask, whole, 8);
    const uint64_t digits = fanion_load64(p) ^ fanion_load64(zeros);
    return ((digits | (digits + more)) & mask) == 0;
}

/* A text as a time. `minute`: the last one that was a time, as far as its seconds, NULL at first: the events of a batch
 * are of one minute mostly, so what was looked at once is compared. */
static inline bool fanion_flat_is_time(const char **minute, fanion_flat_text t) {
    const char *p = t.text;
    if (t.length < 20) return false;
    if (*minute == NULL || !fanion_flat_same(p, *minute, FANION_FLAT_MINUTE_BYTES)) {
        if (!fanion_flat_is_minute(p)) return false;
        *minute = p;
    }
    if (t.length == 24 && fanion_flat_is_milliseconds(p + 16)) return true;
    const int second = fanion_flat_digits(p + 17, 2);
    return second >= 0 && second <= 59 && fanion_flat_is_time_rest(p + 19, t.length - 19);
}

#endif
