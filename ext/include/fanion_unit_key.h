/* Keyed digests of units: HMAC-SHA-256 of a unit's 32 byte digest, by an environment's key of 32 bytes
 * (docs/exposures.md: Keyed digests). `fanion.model.units` says the same in plain Python. Does not need the GIL.
 *
 * Both halves of the key are hashed once, when the key is set: a digest costs two blocks then. Nothing here is inlined:
 * so much code would take the compiler's room for inlining from what reads events, in whoever includes it.
 */
#ifndef FANION_UNIT_KEY_H
#define FANION_UNIT_KEY_H

#include "fanion_hash.h"

enum { FANION_UNIT_KEY_BYTES = 32, FANION_UNIT_DIGEST_BYTES = 32 };

typedef struct {
    uint32_t inner[8], outer[8]; /* SHA-256's state behind the padded key */
} fanion_unit_key;

static inline void fanion_unit_key_half(uint32_t s[8], const uint8_t *key, uint8_t pad) {
    static const uint32_t begin[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint8_t block[64];
    for (int i = 0; i < 64; i++)
        block[i] = pad ^ (i < FANION_UNIT_KEY_BYTES ? key[i] : 0);
    memcpy(s, begin, sizeof begin);
    fanion_sha256_block(s, block);
}

static __attribute__((noinline)) void fanion_unit_key_set(fanion_unit_key *made, const uint8_t *key) {
    fanion_unit_key_half(made->inner, key, 0x36);
    fanion_unit_key_half(made->outer, key, 0x5c);
}

static inline void fanion_unit_key_finish(const uint32_t state[8], uint8_t *digest) {
    uint32_t s[8];
    uint8_t block[64] = {0};
    memcpy(s, state, sizeof s);
    memcpy(block, digest, FANION_UNIT_DIGEST_BYTES);
    block[32] = 0x80;
    block[62] = 0x03; /* 768 bits: the padded key and the digest */
    fanion_sha256_block(s, block);
    for (int i = 0; i < 8; i++) {
        const uint32_t word = __builtin_bswap32(s[i]);
        memcpy(digest + 4 * i, &word, 4);
    }
}

/* The digest becomes its keyed one, in place. */
static __attribute__((noinline, unused)) void fanion_unit_key_apply(const fanion_unit_key *key, uint8_t *digest) {
    fanion_unit_key_finish(key->inner, digest);
    fanion_unit_key_finish(key->outer, digest);
}

/* Whether 64 characters are a digest's digits, in any case; they are read into `digest`. */
static inline int fanion_unit_digest_read(const char *text, uint64_t length, uint8_t *digest) {
    if (length != 2 * FANION_UNIT_DIGEST_BYTES)
        return 0;
    for (int i = 0; i < FANION_UNIT_DIGEST_BYTES; i++) {
        int value = 0;
        for (int half = 0; half < 2; half++) {
            const char c = text[2 * i + half];
            if (c >= '0' && c <= '9')
                value = value << 4 | (c - '0');
            else if ((c | 32) >= 'a' && (c | 32) <= 'f')
                value = value << 4 | ((c | 32) - 'a' + 10);
            else
                return 0;
        }
        digest[i] = (uint8_t)value;
    }
    return 1;
}

/* The keyed digest of a unit that an event names by its id or (`hashed`) by a digest's digits; what isn't written so
 * is taken for an id. */
static __attribute__((noinline, unused)) void fanion_unit_key_name(
    const fanion_unit_key *key, const char *text, uint64_t length, int hashed, uint8_t *digest) {
    if (!hashed || !fanion_unit_digest_read(text, length, digest))
        fanion_sha256(text, length, digest);
    fanion_unit_key_apply(key, digest);
}

#endif
