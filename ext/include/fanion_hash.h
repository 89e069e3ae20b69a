/* The hashes that bucketing uses, each checked against its published vectors: XXH64, SHA-256, MurmurHash3
 * x64_128 and x86_32. All seeds 0, input any bytes, no alignment needed. Does not need the GIL. */
#ifndef FANION_HASH_H
#define FANION_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t fanion_read64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline uint32_t fanion_read32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint64_t fanion_rotate64(uint64_t x, int r) { return (x << r) | (x >> (64 - r)); }
static inline uint32_t fanion_rotate32(uint32_t x, int r) { return (x << r) | (x >> (32 - r)); }

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

/* ---- SHA-256 ---- */

static const uint32_t fanion_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline void fanion_sha256_block(uint32_t s[8], const uint8_t *p) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++)
        w[i] = __builtin_bswap32(fanion_read32(p + 4 * i));
    for (int i = 16; i < 64; i++) {
        uint32_t x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + (fanion_rotate32(x, 25) ^ fanion_rotate32(x, 14) ^ (x >> 3)) + w[i - 7] +
               (fanion_rotate32(y, 15) ^ fanion_rotate32(y, 13) ^ (y >> 10));
    }
    uint32_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = h + (fanion_rotate32(e, 26) ^ fanion_rotate32(e, 21) ^ fanion_rotate32(e, 7)) +
                      ((e & f) ^ (~e & g)) + fanion_sha256_k[i] + w[i];
        uint32_t t2 = (fanion_rotate32(a, 30) ^ fanion_rotate32(a, 19) ^ fanion_rotate32(a, 10)) +
                      ((a & b) ^ (a & c) ^ (b & c));
        h = g; g = f; f = e; e = d + t1; d = c; c = b; b = a; a = t1 + t2;
    }
    s[0] += a; s[1] += b; s[2] += c; s[3] += d; s[4] += e; s[5] += f; s[6] += g; s[7] += h;
}

static inline void fanion_sha256_words(const void *data, size_t length, uint32_t s[8]) {
    static const uint32_t begin[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s, begin, sizeof begin);
    const uint8_t *p = (const uint8_t *)data;
    size_t left = length;
    for (; left >= 64; left -= 64, p += 64)
        fanion_sha256_block(s, p);
    uint8_t tail[128] = {0};
    if (left)
        memcpy(tail, p, left);
    tail[left] = 0x80;
    size_t end = left < 56 ? 64 : 128;
    uint64_t bits = __builtin_bswap64((uint64_t)length * 8);
    memcpy(tail + end - 8, &bits, 8);
    fanion_sha256_block(s, tail);
    if (end == 128)
        fanion_sha256_block(s, tail + 64);
}

/* The first 8 bytes of the digest, big-endian. */
static inline uint64_t fanion_hash_sha256(const void *data, size_t length) {
    uint32_t s[8];
    fanion_sha256_words(data, length, s);
    return (uint64_t)s[0] << 32 | s[1];
}

/* The whole digest, 32 bytes. */
static inline void fanion_sha256(const void *data, size_t length, uint8_t *digest) {
    uint32_t s[8];
    fanion_sha256_words(data, length, s);
    for (int i = 0; i < 8; i++) {
        const uint32_t word = __builtin_bswap32(s[i]);
        memcpy(digest + 4 * i, &word, 4);
    }
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
