/* The hashes that bucketing uses, each checked against its published vectors: XXH64, SHA-256 (`fanion_sha256.h`),
 * MurmurHash3 x64_128 and x86_32. All seeds 0, input any bytes, no alignment needed. Does not need the GIL. */
#ifndef FANION_HASH_H
#define FANION_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fanion_sha256.h"

static inline uint64_t fanion_read64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline uint64_t fanion_rotate64(uint64_t x, int r) { return (x << r) | (x >> (64 - r)); }

/* ---- XXH64 ---- */

#define FANION_XXH_1 0x9E3779B185EBCA87ULL
#define FANION_XXH_2 0xC2B2AE3D27D4EB4FULL
#define FANION_XXH_3 0x165667B19E3779F9ULL
#define FANION_XXH_4 0x85EBCA77C2B2AE63ULL
#define FANION_XXH_5 0x27D4EB2F165667C5ULL

static inline uint64_t fanion_xxh64_round(uint64_t lane, uint64_t input) {
    return fanion_rotate64(lane + input * FANION_XXH_2, 31) * FANION_XXH_1;
}

static inline uint64_t fanion_xxh64_merge(uint64_t h, uint64_t lane) {
    return (h ^ fanion_xxh64_round(0, lane)) * FANION_XXH_1 + FANION_XXH_4;
}

static inline uint64_t fanion_hash_xxh64(const void *data, size_t length) {
    const uint8_t *p = (const uint8_t *)data, *end = p + length;
    uint64_t h = FANION_XXH_5;
    if (length >= 32) {
        uint64_t a = FANION_XXH_1 + FANION_XXH_2, b = FANION_XXH_2, c = 0, d = 0 - FANION_XXH_1;
        for (; end - p >= 32; p += 32) {
            a = fanion_xxh64_round(a, fanion_read64(p));
            b = fanion_xxh64_round(b, fanion_read64(p + 8));
            c = fanion_xxh64_round(c, fanion_read64(p + 16));
            d = fanion_xxh64_round(d, fanion_read64(p + 24));
        }
        h = fanion_rotate64(a, 1) + fanion_rotate64(b, 7) + fanion_rotate64(c, 12) + fanion_rotate64(d, 18);
        h = fanion_xxh64_merge(h, a);
        h = fanion_xxh64_merge(h, b);
        h = fanion_xxh64_merge(h, c);
        h = fanion_xxh64_merge(h, d);
    }
    h += length;
    for (; end - p >= 8; p += 8)
        h = fanion_rotate64(h ^ fanion_xxh64_round(0, fanion_read64(p)), 27) * FANION_XXH_1 + FANION_XXH_4;
    if (end - p >= 4) {
        h = fanion_rotate64(h ^ fanion_read32(p) * FANION_XXH_1, 23) * FANION_XXH_2 + FANION_XXH_3;
        p += 4;
    }
    for (; p < end; p++)
        h = fanion_rotate64(h ^ *p * FANION_XXH_5, 11) * FANION_XXH_1;
    h = (h ^ (h >> 33)) * FANION_XXH_2;
    h = (h ^ (h >> 29)) * FANION_XXH_3;
    return h ^ (h >> 32);
}

/* ---- MurmurHash3 ---- */

static inline uint64_t fanion_murmur_final64(uint64_t k) {
    k = (k ^ (k >> 33)) * 0xff51afd7ed558ccdULL;
    k = (k ^ (k >> 33)) * 0xc4ceb9fe1a85ec53ULL;
    return k ^ (k >> 33);
}

static inline void fanion_hash_murmur3_128(const void *data, size_t length, uint64_t *low, uint64_t *high) {
    const uint64_t c1 = 0x87c37b91114253d5ULL, c2 = 0x4cf5ad432745937fULL;
    const uint8_t *p = (const uint8_t *)data;
    uint64_t h1 = 0, h2 = 0;
    size_t left = length;
    for (; left >= 16; left -= 16, p += 16) {
        h1 ^= fanion_rotate64(fanion_read64(p) * c1, 31) * c2;
        h1 = (fanion_rotate64(h1, 27) + h2) * 5 + 0x52dce729;
        h2 ^= fanion_rotate64(fanion_read64(p + 8) * c2, 33) * c1;
        h2 = (fanion_rotate64(h2, 31) + h1) * 5 + 0x38495ab5;
    }
    uint8_t tail[16] = {0};
    if (left)
        memcpy(tail, p, left);
    h2 ^= fanion_rotate64(fanion_read64(tail + 8) * c2, 33) * c1;
    h1 ^= fanion_rotate64(fanion_read64(tail) * c1, 31) * c2;
    h1 ^= length;
    h2 ^= length;
    h1 += h2;
    h2 += h1;
    h1 = fanion_murmur_final64(h1);
    h2 = fanion_murmur_final64(h2);
    h1 += h2;
    h2 += h1;
    *low = h1;
    *high = h2;
}

static inline uint32_t fanion_murmur_mix32(uint32_t k) {
    return fanion_rotate32(k * 0xcc9e2d51u, 15) * 0x1b873593u;
}

static inline uint32_t fanion_hash_murmur3_32(const void *data, size_t length) {
    const uint8_t *p = (const uint8_t *)data;
    uint32_t h = 0;
    size_t left = length;
    for (; left >= 4; left -= 4, p += 4)
        h = fanion_rotate32(h ^ fanion_murmur_mix32(fanion_read32(p)), 13) * 5 + 0xe6546b64u;
    uint8_t tail[4] = {0};
    if (left)
        memcpy(tail, p, left);
    h ^= fanion_murmur_mix32(fanion_read32(tail));
    h ^= (uint32_t)length;
    h = (h ^ (h >> 16)) * 0x85ebca6bu;
    h = (h ^ (h >> 13)) * 0xc2b2ae35u;
    return h ^ (h >> 16);
}

#endif
