/* SipHash-2-4, 64 and 128 bits: hashes of what clients send, keyed so that nobody can choose where they land.
 *
 * `seed` is the state that a key gives; it may be kept. Checked against the published vectors. No allocation, no
 * alignment needed. Does not need the GIL.
 */
#ifndef FANION_SIPHASH_H
#define FANION_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are read as they lie in memory");

typedef struct {
    uint64_t k0, k1;
} fanion_siphash_key;

#define FANION_SIPHASH_ROTATE(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define FANION_SIPHASH_ROUND(v0, v1, v2, v3) \
    do { \
        v0 += v1; v1 = FANION_SIPHASH_ROTATE(v1, 13) ^ v0; v0 = FANION_SIPHASH_ROTATE(v0, 32); \
        v2 += v3; v3 = FANION_SIPHASH_ROTATE(v3, 16) ^ v2; \
        v0 += v3; v3 = FANION_SIPHASH_ROTATE(v3, 21) ^ v0; \
        v2 += v1; v1 = FANION_SIPHASH_ROTATE(v1, 17) ^ v2; v2 = FANION_SIPHASH_ROTATE(v2, 32); \
    } while (0)

/* `wide` 0: 64 bits in out[0]; 1: 128 bits in out[0] and out[1]. */
static inline void fanion_siphash(fanion_siphash_key key, const void *data, size_t length, int wide, uint64_t *out) {
    const uint8_t *p = (const uint8_t *)data;
    uint64_t v0 = 0x736f6d6570736575ULL ^ key.k0, v1 = 0x646f72616e646f6dULL ^ key.k1;
    uint64_t v2 = 0x6c7967656e657261ULL ^ key.k0, v3 = 0x7465646279746573ULL ^ key.k1;
    uint64_t word, last = (uint64_t)length << 56;
    size_t left = length;
    if (wide)
        v1 ^= 0xee;
    for (; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        v3 ^= word;
        FANION_SIPHASH_ROUND(v0, v1, v2, v3);
        FANION_SIPHASH_ROUND(v0, v1, v2, v3);
        v0 ^= word;
    }
    word = 0;
    if (left)
        memcpy(&word, p, left);
    last |= word;
    v3 ^= last;
    FANION_SIPHASH_ROUND(v0, v1, v2, v3);
    FANION_SIPHASH_ROUND(v0, v1, v2, v3);
    v0 ^= last;
    v2 ^= wide ? 0xee : 0xff;
    for (int i = 0; i < 4; i++)
        FANION_SIPHASH_ROUND(v0, v1, v2, v3);
    out[0] = v0 ^ v1 ^ v2 ^ v3;
    if (wide) {
        v1 ^= 0xdd;
        for (int i = 0; i < 4; i++)
            FANION_SIPHASH_ROUND(v0, v1, v2, v3);
        out[1] = v0 ^ v1 ^ v2 ^ v3;
    }
}

#endif
