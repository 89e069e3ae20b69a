/* Comparing and copying bytes that are mostly few: keys, constants of conditions, pieces of an answer. Up to 16
 * bytes take two loads that may overlap instead of a call; none reads beyond its `length`. */
#ifndef FANION_SHORT_H
#define FANION_SHORT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t fanion_load64(const char *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline uint32_t fanion_load32(const char *p) { uint32_t v; memcpy(&v, p, 4); return v; }

static inline uint16_t fanion_load16(const char *p) { uint16_t v; memcpy(&v, p, 2); return v; }

static inline int fanion_equal(const char *a, const char *b, size_t length) {
    if (length > 16)
        return memcmp(a, b, length) == 0;
    if (length >= 8)
        return fanion_load64(a) == fanion_load64(b) &&
               fanion_load64(a + length - 8) == fanion_load64(b + length - 8);
    if (length >= 4)
        return fanion_load32(a) == fanion_load32(b) &&
               fanion_load32(a + length - 4) == fanion_load32(b + length - 4);
    if (length >= 2)
        return fanion_load16(a) == fanion_load16(b) &&
               fanion_load16(a + length - 2) == fanion_load16(b + length - 2);
    return length == 0 || a[0] == b[0];
}

/* The two must not overlap. */
static inline void fanion_copy(char *to, const char *from, size_t length) {
    if (length > 16) {
        memcpy(to, from, length);
    } else if (length >= 8) {
        uint64_t last = fanion_load64(from + length - 8);
        memcpy(to, from, 8);
        memcpy(to + length - 8, &last, 8);
    } else if (length >= 4) {
        uint32_t last = fanion_load32(from + length - 4);
        memcpy(to, from, 4);
        memcpy(to + length - 4, &last, 4);
    } else if (length) {
        to[0] = from[0];
        to[length / 2] = from[length / 2];
        to[length - 1] = from[length - 1];
    }
}

#endif
