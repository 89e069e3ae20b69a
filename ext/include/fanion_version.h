/* SemVer 2.0: parsing in place (texts are borrowed), precedence, and the total order that also looks at build
 * metadata. Numbers must fit 64 unsigned bits. Does not need the GIL. */
#ifndef FANION_VERSION_H
#define FANION_VERSION_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint64_t major, minor, patch;
    const char *pre, *build; /* borrowed from the parsed text */
    uint32_t pre_length, build_length;
} fanion_version;

static inline int fanion_is_digit(char c) { return c >= '0' && c <= '9'; }

static inline int fanion_is_identifier(char c) {
    return fanion_is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-';
}

/* One numeric part without leading zeros; NULL where there is none or it does not fit. */
static inline const char *fanion_version_number(const char *p, const char *end, uint64_t *out) {
    const char *start = p;
    uint64_t value = 0;
    for (; p < end && fanion_is_digit(*p); p++)
        if (__builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
            return NULL;
    if (p == start || (*start == '0' && p - start > 1))
        return NULL;
    *out = value;
    return p;
}

/* Dot-separated identifiers up to `stop` or the end; `strict`: numeric ones have no leading zeros. */
static inline const char *fanion_version_tail(const char *p, const char *end, char stop, int strict) {
    for (;;) {
        const char *start = p;
        int numeric = 1;
        for (; p < end && fanion_is_identifier(*p); p++)
            numeric &= fanion_is_digit(*p);
        if (p == start || (strict && numeric && *start == '0' && p - start > 1))
            return NULL;
        if (p == end || *p == stop)
            return p;
        if (*p != '.')
            return NULL;
        p++;
    }
}

static inline int fanion_version_parse(const char *text, size_t length, fanion_version *out) {
    const char *p = text, *end = text + length;
    if (length < 5 || !fanion_is_digit(*p))
        return 0;
    if (!(p = fanion_version_number(p, end, &out->major)) || p == end || *p++ != '.')
        return 0;
    if (!(p = fanion_version_number(p, end, &out->minor)) || p == end || *p++ != '.')
        return 0;
    if (!(p = fanion_version_number(p, end, &out->patch)))
        return 0;
    out->pre = out->build = p;
    out->pre_length = out->build_length = 0;
    if (p < end && *p == '-') {
        out->pre = ++p;
        if (!(p = fanion_version_tail(p, end, '+', 1)))
            return 0;
        out->pre_length = (uint32_t)(p - out->pre);
    }
    if (p < end && *p == '+') {
        out->build = ++p;
        if (!(p = fanion_version_tail(p, end, '\0', 0)))
            return 0;
        out->build_length = (uint32_t)(p - out->build);
    }
    return p == end;
}

static inline int fanion_compare_bytes(const char *a, size_t a_length, const char *b, size_t b_length) {
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : (a_length > b_length) - (a_length < b_length);
}

/* `zeros`: numeric identifiers may have leading zeros, which break ties (build metadata). */
static inline int fanion_compare_identifier(const char *a, size_t an, const char *b, size_t bn, int zeros) {
    int a_numeric = 1, b_numeric = 1;
    for (size_t i = 0; i < an; i++)
        a_numeric &= fanion_is_digit(a[i]);
    for (size_t i = 0; i < bn; i++)
        b_numeric &= fanion_is_digit(b[i]);
    if (a_numeric != b_numeric)
        return a_numeric ? -1 : 1;
    if (!a_numeric)
        return fanion_compare_bytes(a, an, b, bn);
    size_t a_zeros = 0, b_zeros = 0;
    while (zeros && a_zeros < an && a[a_zeros] == '0')
        a_zeros++;
    while (zeros && b_zeros < bn && b[b_zeros] == '0')
        b_zeros++;
    size_t a_digits = an - a_zeros, b_digits = bn - b_zeros;
    if (a_digits != b_digits)
        return a_digits < b_digits ? -1 : 1;
    int order = memcmp(a + a_zeros, b + b_zeros, a_digits);
    return order ? order : (an > bn) - (an < bn);
}

static inline int fanion_compare_identifiers(const char *a, size_t an, const char *b, size_t bn, int zeros) {
    for (;;) {
        const char *a_dot = an ? memchr(a, '.', an) : NULL, *b_dot = bn ? memchr(b, '.', bn) : NULL;
        size_t a_part = a_dot ? (size_t)(a_dot - a) : an, b_part = b_dot ? (size_t)(b_dot - b) : bn;
        int order = fanion_compare_identifier(a, a_part, b, b_part, zeros);
        if (order || !a_dot || !b_dot)
            return order ? order : (a_dot != NULL) - (b_dot != NULL);
        an -= a_part + 1;
        bn -= b_part + 1;
        a = a_dot + 1;
        b = b_dot + 1;
    }
}

static inline int fanion_version_precedence(const fanion_version *a, const fanion_version *b) {
    if (a->major != b->major)
        return a->major < b->major ? -1 : 1;
    if (a->minor != b->minor)
        return a->minor < b->minor ? -1 : 1;
    if (a->patch != b->patch)
        return a->patch < b->patch ? -1 : 1;
    if (!a->pre_length || !b->pre_length)
        return (a->pre_length == 0) - (b->pre_length == 0);
    return fanion_compare_identifiers(a->pre, a->pre_length, b->pre, b->pre_length, 0);
}

static inline int fanion_version_order(const fanion_version *a, const fanion_version *b) {
    int order = fanion_version_precedence(a, b);
    return order ? order : fanion_compare_identifiers(a->build, a->build_length, b->build, b->build_length, 1);
}

#endif
