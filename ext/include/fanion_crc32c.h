/* CRC-32C (Castagnoli), the checksum of the journal: the processor's instruction where there is one, else
 * eight tables. Does not need the GIL.
 *
 * The instruction gives a result after three cycles but starts one in each, so three blocks that follow one another
 * are taken side by side and put together: state(ab) = skip(state(a), bytes of b) ^ state0(b).
 *
 * `fanion_crc32c(seed, bytes, length)` continues from `seed`; the plain CRC-32C of some bytes has seed 0
 * (check value of "123456789": 0xE3069283).
 */
#ifndef FANION_CRC32C_H
#define FANION_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fanion_atomics.h"

#if defined(__x86_64__) && !defined(FANION_CRC32C_BY_TABLE)
#define FANION_CRC32C_INSTRUCTION 1
#include <nmmintrin.h>
#ifdef __clang__ /* it counts the instruction as a feature of its own; older gcc don't know that name */
#define FANION_CRC32C_TARGET __attribute__((target("sse4.2,crc32")))
#else
#define FANION_CRC32C_TARGET __attribute__((target("sse4.2")))
#endif
#endif

#define FANION_CRC32C_LONG 2048u
#define FANION_CRC32C_SHORT 256u

static uint32_t fanion_crc32c_tables[8][256];
static uint32_t fanion_crc32c_skips[2][4][256]; /* [a block is long][byte of the state]: behind a block of zeros */
static uint32_t fanion_crc32c_ready; /* 0: not made, 1: tables, 2: instruction; release/acquire */

static inline uint32_t fanion_crc32c_by_table(uint32_t crc, const uint8_t *p, size_t length);

/* How each state leaves a block of zeros; linear, so 32 of them give all. */
static inline void fanion_crc32c_prepare_skips(uint32_t skips[4][256], size_t block) {
    static const uint8_t zeros[FANION_CRC32C_LONG];
    uint32_t bits[32];
    for (uint32_t bit = 0; bit < 32; bit++) bits[bit] = fanion_crc32c_by_table(1u << bit, zeros, block);
    for (uint32_t place = 0; place < 4; place++) {
        for (uint32_t n = 0; n < 256; n++) {
            uint32_t state = 0;
            for (uint32_t bit = 0; bit < 8; bit++) state ^= (n >> bit & 1) ? bits[8 * place + bit] : 0;
            skips[place][n] = state;
        }
    }
}

/* Idempotent: two threads that both come first write the same values. Called once while a module loads. */
static inline void fanion_crc32c_prepare(void) {
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t c = n;
        for (int k = 0; k < 8; k++) c = (c & 1) ? (c >> 1) ^ 0x82F63B78u : c >> 1;
        fanion_crc32c_tables[0][n] = c;
    }
    for (uint32_t n = 0; n < 256; n++) {
        for (int t = 1; t < 8; t++) {
            uint32_t c = fanion_crc32c_tables[t - 1][n];
            fanion_crc32c_tables[t][n] = (c >> 8) ^ fanion_crc32c_tables[0][c & 0xFF];
        }
    }
    fanion_crc32c_prepare_skips(fanion_crc32c_skips[0], FANION_CRC32C_SHORT);
    fanion_crc32c_prepare_skips(fanion_crc32c_skips[1], FANION_CRC32C_LONG);
    uint32_t kind = 1;
#ifdef FANION_CRC32C_INSTRUCTION
    if (__builtin_cpu_supports("sse4.2")) kind = 2;
#endif
    fanion_u32_store_release(&fanion_crc32c_ready, kind);
}

static inline uint32_t fanion_crc32c_by_table(uint32_t crc, const uint8_t *p, size_t length) {
    while (length >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        word ^= crc;
        crc = fanion_crc32c_tables[7][word & 0xFF] ^ fanion_crc32c_tables[6][(word >> 8) & 0xFF] ^
              fanion_crc32c_tables[5][(word >> 16) & 0xFF] ^ fanion_crc32c_tables[4][(word >> 24) & 0xFF] ^
              fanion_crc32c_tables[3][(word >> 32) & 0xFF] ^ fanion_crc32c_tables[2][(word >> 40) & 0xFF] ^
              fanion_crc32c_tables[1][(word >> 48) & 0xFF] ^ fanion_crc32c_tables[0][word >> 56];
        p += 8;
        length -= 8;
    }
    while (length--) crc = (crc >> 8) ^ fanion_crc32c_tables[0][(crc ^ *p++) & 0xFF];
    return crc;
}

#ifdef FANION_CRC32C_INSTRUCTION
static inline uint32_t fanion_crc32c_skip(uint32_t skips[4][256], uint32_t state) {
    return skips[0][state & 0xFF] ^ skips[1][state >> 8 & 0xFF] ^ skips[2][state >> 16 & 0xFF] ^ skips[3][state >> 24];
}

/* The state continued over three blocks. */
FANION_CRC32C_TARGET static inline uint32_t fanion_crc32c_three(
    uint32_t crc, const uint8_t *p, size_t block, uint32_t skips[4][256]) {
    uint64_t one = crc, two = 0, three = 0;
    for (const uint8_t *end = p + block; p < end; p += 8) {
        uint64_t words[3];
        memcpy(&words[0], p, 8);
        memcpy(&words[1], p + block, 8);
        memcpy(&words[2], p + 2 * block, 8);
        one = _mm_crc32_u64(one, words[0]);
        two = _mm_crc32_u64(two, words[1]);
        three = _mm_crc32_u64(three, words[2]);
    }
    uint32_t both = fanion_crc32c_skip(skips, (uint32_t)one) ^ (uint32_t)two;
    return fanion_crc32c_skip(skips, both) ^ (uint32_t)three;
}

FANION_CRC32C_TARGET static inline uint32_t fanion_crc32c_by_instruction(
    uint32_t crc, const uint8_t *p, size_t length) {
    for (; length >= 3 * FANION_CRC32C_LONG; p += 3 * FANION_CRC32C_LONG, length -= 3 * FANION_CRC32C_LONG)
        crc = fanion_crc32c_three(crc, p, FANION_CRC32C_LONG, fanion_crc32c_skips[1]);
    for (; length >= 3 * FANION_CRC32C_SHORT; p += 3 * FANION_CRC32C_SHORT, length -= 3 * FANION_CRC32C_SHORT)
        crc = fanion_crc32c_three(crc, p, FANION_CRC32C_SHORT, fanion_crc32c_skips[0]);
    uint64_t state = crc;
    while (length >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        state = _mm_crc32_u64(state, word);
        p += 8;
        length -= 8;
    }
    crc = (uint32_t)state;
    while (length--) crc = _mm_crc32_u8(crc, *p++);
    return crc;
}
#endif

static inline uint32_t fanion_crc32c(uint32_t seed, const void *bytes, size_t length) {
    uint32_t kind = fanion_u32_load_acquire(&fanion_crc32c_ready);
    if (kind == 0) {
        fanion_crc32c_prepare();
        kind = fanion_u32_load_acquire(&fanion_crc32c_ready);
    }
    uint32_t crc = ~seed;
#ifdef FANION_CRC32C_INSTRUCTION
    if (kind == 2) return ~fanion_crc32c_by_instruction(crc, (const uint8_t *)bytes, length);
#endif
    return ~fanion_crc32c_by_table(crc, (const uint8_t *)bytes, length);
}

#endif
