/* What columns are filled from: growing bytes, texts with offsets, and dictionaries of texts. No Python, no I/O.
 *
 * Failures are of memory alone: functions that may grow say false then, and what was there before stays.
 */
#ifndef FANION_COLUMNS_H
#define FANION_COLUMNS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fanion_siphash.h"

#define FANION_TEXT_BYTES_MAX INT32_MAX /* offsets of texts are signed 32 bits in Arrow's format */

typedef struct {
    uint8_t *at;
    uint64_t used, room;
} fanion_bytes;

static inline bool fanion_bytes_reserve(fanion_bytes *b, uint64_t more) {
    if (b->room - b->used >= more) return true;
    uint64_t room = b->room ? b->room : 4096;
    while (room - b->used < more) room *= 2;
    uint8_t *at = realloc(b->at, room);
    if (at == NULL) return false;
    b->at = at;
    b->room = room;
    return true;
}

static inline void fanion_bytes_free(fanion_bytes *b) {
    free(b->at);
    memset(b, 0, sizeof *b);
}

/* Texts one behind the other; offsets[n] to offsets[n + 1] is text n. */
typedef struct {
    fanion_bytes text, offsets;
} fanion_texts;

static inline uint64_t fanion_texts_count(const fanion_texts *t) {
    return t->offsets.used ? t->offsets.used / sizeof(int32_t) - 1 : 0;
}

static inline bool fanion_texts_begin(fanion_texts *t) {
    if (!fanion_bytes_reserve(&t->offsets, sizeof(int32_t))) return false;
    memset(t->offsets.at, 0, sizeof(int32_t));
    t->offsets.used = sizeof(int32_t);
    t->text.used = 0;
    return fanion_bytes_reserve(&t->text, 1);
}

static inline bool fanion_texts_add(fanion_texts *t, const char *text, uint64_t length) {
    if (length > FANION_TEXT_BYTES_MAX || t->text.used > FANION_TEXT_BYTES_MAX - length) return false;
    if (!fanion_bytes_reserve(&t->text, length + 1) || !fanion_bytes_reserve(&t->offsets, sizeof(int32_t))) return false;
    memcpy(t->text.at + t->text.used, text, length);
    t->text.used += length;
    const int32_t end = (int32_t)t->text.used;
    memcpy(t->offsets.at + t->offsets.used, &end, sizeof end);
    t->offsets.used += sizeof end;
    return true;
}

static inline void fanion_texts_cut(fanion_texts *t, uint64_t count) {
    int32_t end;
    t->offsets.used = (count + 1) * sizeof end;
    memcpy(&end, t->offsets.at + count * sizeof end, sizeof end);
    t->text.used = (uint64_t)end;
}

static inline void fanion_texts_free(fanion_texts *t) {
    fanion_bytes_free(&t->text);
    fanion_bytes_free(&t->offsets);
}

/* Texts by number, each once, and a table of those numbers by hash; linear probing, at most half full. The quick hash
 * can be met on purpose by whoever sends names; so from the first run of FANION_DICTIONARY_RUN_MAX taken slots on, which
 * chance doesn't make, the table is one of a keyed hash. */
enum { FANION_DICTIONARY_RUN_MAX = 96 };

typedef struct {
    fanion_texts texts;
    int32_t *slots; /* -1: free */
    uint32_t mask, count;
    int32_t last;   /* the number that was found last; -1: none */
    bool keyed;
    fanion_siphash_key key;
} fanion_dictionary;

static inline uint64_t fanion_dictionary_hash(const fanion_dictionary *d, const char *text, uint64_t length) {
    if (d->keyed) {
        uint64_t found;
        fanion_siphash(d->key, text, length, 0, &found);
        return found;
    }
    uint64_t hash = length * 0x9E3779B97F4A7C15ull, word;
    for (; length >= 8; text += 8, length -= 8) {
        memcpy(&word, text, 8);
        hash = (hash ^ word) * 0xFF51AFD7ED558CCDull;
        hash ^= hash >> 32;
    }
    word = 0;
    memcpy(&word, text, length);
    hash = (hash ^ word) * 0xC4CEB9FE1A85EC53ull;
    return hash ^ hash >> 29;
}

static inline bool fanion_dictionary_is(const fanion_dictionary *d, int32_t number, const char *text, uint64_t length) {
    int32_t ends[2];
    memcpy(ends, d->texts.offsets.at + (uint64_t)number * sizeof ends[0], sizeof ends);
    return (uint64_t)(ends[1] - ends[0]) == length && memcmp(d->texts.text.at + ends[0], text, length) == 0;
}

static inline bool fanion_dictionary_begin(fanion_dictionary *d) {
    if (d->slots == NULL) {
        d->slots = malloc(64 * sizeof *d->slots);
        if (d->slots == NULL) return false;
        d->mask = 63;
    }
    memset(d->slots, 0xFF, (uint64_t)(d->mask + 1) * sizeof *d->slots);
    d->count = 0;
    d->last = -1;
    d->keyed = false;
    return fanion_texts_begin(&d->texts);
}

/* The table once more, of `mask` + 1 slots. */
static inline bool fanion_dictionary_remake(fanion_dictionary *d, uint32_t mask) {
    int32_t *slots = malloc((uint64_t)(mask + 1) * sizeof *slots), ends[2];
    if (slots == NULL) return false;
    memset(slots, 0xFF, (uint64_t)(mask + 1) * sizeof *slots);
    for (uint32_t n = 0; n < d->count; n++) {
        memcpy(ends, d->texts.offsets.at + (uint64_t)n * sizeof ends[0], sizeof ends);
        uint64_t at = fanion_dictionary_hash(d, (const char *)d->texts.text.at + ends[0], (uint64_t)(ends[1] - ends[0]));
        while (slots[at & mask] >= 0) at++;
        slots[at & mask] = (int32_t)n;
    }
    free(d->slots);
    d->slots = slots;
    d->mask = mask;
    return true;
}

/* The text's number; -1: no memory. */
static inline int32_t fanion_dictionary_number(fanion_dictionary *d, const char *text, uint64_t length) {
    if (d->last >= 0 && fanion_dictionary_is(d, d->last, text, length)) return d->last;
    const uint64_t first = fanion_dictionary_hash(d, text, length);
    uint64_t at = first;
    for (; d->slots[at & d->mask] >= 0; at++)
        if (fanion_dictionary_is(d, d->slots[at & d->mask], text, length)) return d->last = d->slots[at & d->mask];
    if (at - first > FANION_DICTIONARY_RUN_MAX && !d->keyed) {
        if (getentropy(&d->key, sizeof d->key) != 0) return -1;
        d->keyed = true;
        if (!fanion_dictionary_remake(d, d->mask)) return -1;
        return fanion_dictionary_number(d, text, length);
    }
    if (!fanion_texts_add(&d->texts, text, length)) return -1;
    d->slots[at & d->mask] = (int32_t)d->count;
    d->last = (int32_t)d->count++;
    return d->count * 2 > d->mask && !fanion_dictionary_remake(d, d->mask * 2 + 1) ? -1 : d->last;
}

static inline void fanion_dictionary_free(fanion_dictionary *d) {
    fanion_texts_free(&d->texts);
    free(d->slots);
    memset(d, 0, sizeof *d);
}

/* Arrow's validity and boolean bits of a column of bytes, eight at a time; how many are set. */
static inline uint64_t fanion_pack_bits(uint8_t *restrict bits, const uint8_t *restrict bytes, uint64_t count) {
    uint64_t set = 0, word;
    for (uint64_t n = 0; n < count; n += 8) {
        word = 0;
        if (count - n >= 8) memcpy(&word, bytes + n, 8);
        else memcpy(&word, bytes + n, count - n);
        word |= word >> 4;
        word |= word >> 2;
        word |= word >> 1;
        word &= 0x0101010101010101ull; /* 1 of each byte that isn't 0 */
        set += word * 0x0101010101010101ull >> 56;
        bits[n / 8] = (uint8_t)(word * 0x0102040810204080ull >> 56);
    }
    return set;
}

/* Of a column of numbers in a dictionary: whether there is one (-1: none), which is 0 then, as Arrow has nulls. */
static inline void fanion_numbers_finish(int32_t *restrict numbers, uint8_t *restrict valid, uint64_t count) {
    for (uint64_t n = 0; n < count; n++) valid[n] = numbers[n] >= 0;
    for (uint64_t n = 0; n < count; n++) numbers[n] = numbers[n] < 0 ? 0 : numbers[n];
}

#endif
