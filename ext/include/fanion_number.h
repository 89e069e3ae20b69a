/* Numbers as text, from the shortest round-trip form that Python's formatter gives ("1.5e-07", "100000").
 * Two outputs: as ECMAScript writes numbers, and in plain decimal without an exponent. No Python.h here. */
#ifndef FANION_NUMBER_H
#define FANION_NUMBER_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FANION_NUMBER_BYTES_MAX 352 /* "-0." + 323 zeros + 17 digits */

typedef struct {
    int negative;
    int count; /* digits, without trailing zeros */
    int point; /* value = 0.DIGITS * 10**point */
    char digits[32];
} fanion_decimal;

/* Takes apart what the shortest round-trip format prints for a finite double that is not zero. */
static inline void fanion_decimal_parse(const char *shortest, fanion_decimal *out) {
    const char *p = shortest;
    int seen_point = 0, started = 0, exponent = 0;
    out->negative = *p == '-';
    p += out->negative;
    out->count = out->point = 0;
    for (; *p && *p != 'e'; p++) {
        if (*p == '.') {
            seen_point = 1;
            continue;
        }
        if (!started && *p == '0') {
            out->point -= seen_point;
            continue;
        }
        started = 1;
        if (out->count < (int)sizeof out->digits)
            out->digits[out->count++] = *p;
        out->point += !seen_point;
    }
    if (*p == 'e')
        exponent = atoi(p + 1);
    out->point += exponent;
    while (out->count > 1 && out->digits[out->count - 1] == '0')
        out->count--;
}

static inline size_t fanion_decimal_plain(const fanion_decimal *d, char *out) {
    char *p = out;
    if (d->negative)
        *p++ = '-';
    if (d->point <= 0) {
        *p++ = '0';
        *p++ = '.';
        memset(p, '0', (size_t)-d->point);
        p += -d->point;
        memcpy(p, d->digits, (size_t)d->count);
        return (size_t)(p + d->count - out);
    }
    int whole = d->point < d->count ? d->point : d->count;
    memcpy(p, d->digits, (size_t)whole);
    p += whole;
    if (d->point >= d->count) {
        memset(p, '0', (size_t)(d->point - d->count));
        return (size_t)(p + (d->point - d->count) - out);
    }
    *p++ = '.';
    memcpy(p, d->digits + whole, (size_t)(d->count - whole));
    return (size_t)(p + (d->count - whole) - out);
}

static inline size_t fanion_decimal_ecmascript(const fanion_decimal *d, char *out) {
    if (d->point > -6 && d->point <= 21)
        return fanion_decimal_plain(d, out);
    char *p = out;
    if (d->negative)
        *p++ = '-';
    *p++ = d->digits[0];
    if (d->count > 1) {
        *p++ = '.';
        memcpy(p, d->digits + 1, (size_t)(d->count - 1));
        p += d->count - 1;
    }
    *p++ = 'e';
    int exponent = d->point - 1;
    *p++ = exponent < 0 ? '-' : '+';
    unsigned value = (unsigned)(exponent < 0 ? -exponent : exponent);
    if (value >= 100)
        *p++ = (char)('0' + value / 100);
    if (value >= 10)
        *p++ = (char)('0' + value / 10 % 10);
    *p++ = (char)('0' + value % 10);
    return (size_t)(p - out);
}

static inline size_t fanion_integer_text(int64_t value, char *out) {
    char reversed[24];
    size_t count = 0, length = 0;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        reversed[count++] = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    if (value < 0)
        out[length++] = '-';
    while (count)
        out[length++] = reversed[--count];
    return length;
}

/* Trims ASCII white space; returns the start of a decimal number that fills the rest, else NULL. */
static inline const char *fanion_decimal_find(const char *text, size_t length) {
    const char *p = text, *end = text + length;
#define FANION_IS_SPACE(c) ((c) == ' ' || ((c) >= '\t' && (c) <= '\r'))
#define FANION_IS_DIGIT(c) ((c) >= '0' && (c) <= '9')
    while (p < end && FANION_IS_SPACE(*p))
        p++;
    while (end > p && FANION_IS_SPACE(end[-1]))
        end--;
    const char *start = p;
    if (p < end && (*p == '+' || *p == '-'))
        p++;
    int digits = 0;
    for (; p < end && FANION_IS_DIGIT(*p); p++)
        digits++;
    if (p < end && *p == '.')
        for (p++; p < end && FANION_IS_DIGIT(*p); p++)
            digits++;
    if (!digits)
        return NULL;
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        if (p == end || !FANION_IS_DIGIT(*p))
            return NULL;
        while (p < end && FANION_IS_DIGIT(*p))
            p++;
    }
    return p == end ? start : NULL;
}

#endif
