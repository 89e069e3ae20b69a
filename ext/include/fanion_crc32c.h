/* CRC-32C (Castagnoli), the checksum of the journal: the processor's instruction where there is one, else
 * eight tables. Does not need the GIL.
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
#endif

static uint32_t fanion_crc32c_tables[8][256];
static uint32_t fanion_crc32c_ready; /* 0: not made, 1: tables, 2: instruction; release/acquire */

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
__attribute__((target("sse4.2"))) static inline uint32_t fanion_crc32c_by_instruction(
    uint32_t crc, const uint8_t *p, size_t length) {
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
