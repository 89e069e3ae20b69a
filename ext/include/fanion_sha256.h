/* SHA-256: the processor's instructions where there are some, else plain C. Does not need the GIL.
 *
 * Units are digests of ids, so one is made of nearly every event and of each exposure: by the instructions it takes a
 * quarter of the time. Both ways are held to the published vectors and to each other.
 */
#ifndef FANION_SHA256_H
#define FANION_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fanion_atomics.h"

#ifdef __x86_64__
#define FANION_SHA256_INSTRUCTIONS 1
#include <cpuid.h>
#include <immintrin.h>
#define FANION_SHA256_TARGET __attribute__((target("sha,sse4.1,ssse3")))
#endif

static inline uint32_t fanion_read32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint32_t fanion_rotate32(uint32_t x, int r) { return (x << r) | (x >> (32 - r)); }

static const uint32_t fanion_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline void fanion_sha256_block_plain(uint32_t s[8], const uint8_t *p) {
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

#ifdef FANION_SHA256_INSTRUCTIONS
static uint32_t fanion_sha256_way; /* 0: not asked yet, 1: plain, 2: instructions; release/acquire, all write the same */

static inline uint32_t fanion_sha256_ask(void) {
    uint32_t a = 0, b = 0, c = 0, d = 0, way = 1;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1 && __get_cpuid(1, &a, &b, &c, &d) &&
        c >> 19 & 1 && c >> 9 & 1)
        way = 2;
    fanion_u32_store_release(&fanion_sha256_way, way);
    return way;
}

/* Four rounds, by four words of the message. */
FANION_SHA256_TARGET static inline void fanion_sha256_four(__m128i *abef, __m128i *cdgh, __m128i words, int at) {
    const __m128i k = _mm_loadu_si128((const __m128i *)(const void *)(fanion_sha256_k + at));
    const __m128i sum = _mm_add_epi32(words, k);
    *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, sum);
    *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(sum, 0x0E));
}

/* The message's next four words, by the sixteen before them. */
FANION_SHA256_TARGET static inline __m128i fanion_sha256_next(__m128i w0, __m128i w1, __m128i w2, __m128i w3) {
    const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));
    return _mm_sha256msg2_epu32(sum, w3);
}

/* A block for each of `lanes` states, which is 1 or 2. An instruction waits for the one before it in its lane, so that two
 * lanes take little longer than one. */
FANION_SHA256_TARGET static inline __attribute__((always_inline)) void fanion_sha256_lanes(
    uint32_t (*s)[8], const uint8_t *const *p, const int lanes
) {
    const __m128i swap = _mm_set_epi64x(0x0C0D0E0F08090A0BLL, 0x0405060700010203LL);
    __m128i abef_before[2], cdgh_before[2], abef[2], cdgh[2], w[2][4];
    for (int l = 0; l < lanes; l++) {
        const __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)s[l]), 0xB1);
        const __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(s[l] + 4)), 0x1B);
        abef[l] = abef_before[l] = _mm_alignr_epi8(badc, hgfe, 8);
        cdgh[l] = cdgh_before[l] = _mm_blend_epi16(hgfe, badc, 0xF0);
        for (int i = 0; i < 4; i++)
            w[l][i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p[l] + 16 * i)), swap);
    }
    for (int at = 0;; at += 16) {
        for (int i = 0; i < 4; i++)
            for (int l = 0; l < lanes; l++) fanion_sha256_four(&abef[l], &cdgh[l], w[l][i], at + 4 * i);
        if (at == 48)
            break;
        for (int i = 0; i < 4; i++)
            for (int l = 0; l < lanes; l++)
                w[l][i] = fanion_sha256_next(w[l][i], w[l][(i + 1) & 3], w[l][(i + 2) & 3], w[l][(i + 3) & 3]);
    }
    for (int l = 0; l < lanes; l++) {
        abef[l] = _mm_shuffle_epi32(_mm_add_epi32(abef[l], abef_before[l]), 0x1B);
        cdgh[l] = _mm_shuffle_epi32(_mm_add_epi32(cdgh[l], cdgh_before[l]), 0xB1);
        _mm_storeu_si128((__m128i *)(void *)s[l], _mm_blend_epi16(abef[l], cdgh[l], 0xF0));
        _mm_storeu_si128((__m128i *)(void *)(s[l] + 4), _mm_alignr_epi8(cdgh[l], abef[l], 8));
    }
}

FANION_SHA256_TARGET static inline void fanion_sha256_block_by_instructions(uint32_t s[8], const uint8_t *p) {
    fanion_sha256_lanes((uint32_t(*)[8])s, &p, 1);
}

FANION_SHA256_TARGET static inline void fanion_sha256_blocks_by_instructions(uint32_t s[2][8], const uint8_t *const p[2]) {
    fanion_sha256_lanes(s, p, 2);
}
#endif

#ifdef FANION_SHA256_INSTRUCTIONS
static inline bool fanion_sha256_has_instructions(void) {
    const uint32_t way = fanion_u32_load_acquire(&fanion_sha256_way);
    return (way ? way : fanion_sha256_ask()) == 2;
}
#endif

static inline void fanion_sha256_block(uint32_t s[8], const uint8_t *p) {
#ifdef FANION_SHA256_INSTRUCTIONS
    if (fanion_sha256_has_instructions()) {
        fanion_sha256_block_by_instructions(s, p);
        return;
    }
#endif
    fanion_sha256_block_plain(s, p);
}

/* From now on, in this module: see `fanion_sha256_way`; not the instructions where there are none. */
static inline void fanion_sha256_by(uint32_t way) {
#ifdef FANION_SHA256_INSTRUCTIONS
    if (fanion_sha256_ask() == 2)
        fanion_u32_store_release(&fanion_sha256_way, way);
#endif
}

static const uint32_t fanion_sha256_begin[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                                0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static inline void fanion_sha256_words(const void *data, size_t length, uint32_t s[8]) {
    memcpy(s, fanion_sha256_begin, sizeof fanion_sha256_begin);
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

static inline void fanion_sha256_written(const uint32_t s[8], uint8_t *digest) {
    for (int i = 0; i < 8; i++) {
        const uint32_t word = __builtin_bswap32(s[i]);
        memcpy(digest + 4 * i, &word, 4);
    }
}

/* The whole digest, 32 bytes. */
static inline void fanion_sha256(const void *data, size_t length, uint8_t *digest) {
    uint32_t s[8];
    fanion_sha256_words(data, length, s);
    fanion_sha256_written(s, digest);
}

/* Those of two texts, one behind the other; of short ones in little more than the time of one. */
static inline void fanion_sha256_two(const uint8_t *const data[2], const size_t length[2], uint8_t *digests) {
#ifdef FANION_SHA256_INSTRUCTIONS
    if (length[0] < 56 && length[1] < 56 && fanion_sha256_has_instructions()) {
        uint32_t s[2][8];
        uint8_t blocks[2][64] = {0};
        const uint8_t *const p[2] = {blocks[0], blocks[1]};
        for (int l = 0; l < 2; l++) {
            memcpy(s[l], fanion_sha256_begin, sizeof fanion_sha256_begin);
            if (length[l])
                memcpy(blocks[l], data[l], length[l]);
            blocks[l][length[l]] = 0x80;
            const uint64_t bits = __builtin_bswap64((uint64_t)length[l] * 8);
            memcpy(blocks[l] + 56, &bits, 8);
        }
        fanion_sha256_blocks_by_instructions(s, p);
        fanion_sha256_written(s[0], digests);
        fanion_sha256_written(s[1], digests + 32);
        return;
    }
#endif
    for (int l = 0; l < 2; l++)
        fanion_sha256(data[l], length[l], digests + 32 * l);
}

#endif
