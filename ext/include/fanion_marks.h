/* Marks of what was recorded today, in memory that all workers share: 8 to a cache line, found by a keyed hash.
 *
 * A mark is one word: 56 bits of the hash, and the day's low 8. A line that is full gives up one of another day first,
 * else any; so a mark may be forgotten, which repeats a record, and one that is found was put there for the same hash
 * (a chance of 2^-53 for each look). Loads and stores are relaxed: who misses another's mark repeats too. The day is
 * part of what is hashed, so that a mark of another day is never found.
 */
#ifndef FANION_MARKS_H
#define FANION_MARKS_H

#include <stdbool.h>
#include <stdint.h>

#include "fanion_atomics.h"

#define FANION_MARKS_IN_LINE 8u

typedef struct {
    uint64_t words[FANION_MARKS_IN_LINE]; /* 0: free */
} fanion_mark_line;

/* `hash`: 128 bits. */
static inline uint64_t fanion_mark_word(const uint64_t hash[2], uint64_t day) {
    return ((hash[0] & ~(uint64_t)0xFF) | (day & 0xFF)) ? ((hash[0] & ~(uint64_t)0xFF) | (day & 0xFF)) : 0x100;
}

static inline bool fanion_mark_is(const fanion_mark_line *lines, uint64_t mask, const uint64_t hash[2], uint64_t day) {
    const fanion_mark_line *line = &lines[hash[1] & mask];
    const uint64_t word = fanion_mark_word(hash, day);
    for (uint32_t n = 0; n < FANION_MARKS_IN_LINE; n++)
        if (fanion_u64_load_relaxed(&line->words[n]) == word) return true;
    return false;
}

static inline void fanion_mark_put(fanion_mark_line *lines, uint64_t mask, const uint64_t hash[2], uint64_t day) {
    fanion_mark_line *line = &lines[hash[1] & mask];
    uint32_t place = (uint32_t)(hash[1] >> 61);
    for (uint32_t n = 0; n < FANION_MARKS_IN_LINE; n++) {
        const uint64_t word = fanion_u64_load_relaxed(&line->words[n]);
        if (word == 0 || (word & 0xFF) != (day & 0xFF)) {
            place = n;
            break;
        }
    }
    fanion_u64_store_relaxed(&line->words[place], fanion_mark_word(hash, day));
}

#endif
