/* The event-id window's lives: what is read of `claims`, of a slot's words and of a locator, which table a life has, and how
 * a window grows. What the words mean stands in fanion_window.h. */
#ifndef FANION_WINDOW_LIVES_H
#define FANION_WINDOW_LIVES_H

#include "fanion_window_layout.h"

/* 255 tags: a slot is misread once 64 lives of its table, each three quarters full, have left it out: 1 in 10^38. */
static inline uint64_t fanion_window_tag(uint64_t life) { return (1 + life % 255) << 56; }

static inline uint64_t fanion_window_tag_of(uint64_t word) { return word & ~FANION_WINDOW_FINGERPRINT_MASK; }

/* Whether a slot's word is free for `tag`: never used, or of one of the 127 tags before it. */
static inline bool fanion_window_is_older(uint64_t word, uint64_t tag) {
    uint64_t distance = ((tag >> 56) + 255 - (word >> 56)) % 255;
    return word >> 56 == 0 || (distance >= 1 && distance <= 127);
}

static inline uint64_t fanion_window_locator(uint64_t tag, uint64_t writer, uint64_t sequence) {
    return tag | writer << FANION_WINDOW_SEQUENCE_BITS | (sequence & FANION_WINDOW_SEQUENCE_MASK);
}

static inline uint64_t fanion_window_writer_of(uint64_t locator) {
    return (locator >> FANION_WINDOW_SEQUENCE_BITS) & 1023;
}

/* How far the locator's sequence lies above `sequence`; 0: not above. Sequences are kept modulo 2^46, and no entry
 * outlives 2^45 records. */
static inline uint64_t fanion_window_above(uint64_t locator, uint64_t sequence) {
    uint64_t distance = (locator - sequence) & FANION_WINDOW_SEQUENCE_MASK;
    return distance >> (FANION_WINDOW_SEQUENCE_BITS - 1) ? 0 : distance;
}

/* The locator's sequence in full, that one of all with its low bits which is nearest to `sequence`. */
static inline uint64_t fanion_window_sequence_near(uint64_t locator, uint64_t sequence) {
    uint64_t above = fanion_window_above(locator, sequence);
    return above ? sequence + above : sequence - ((sequence - locator) & FANION_WINDOW_SEQUENCE_MASK);
}

static inline bool fanion_window_is_settled(const fanion_window *window, uint64_t locator) {
    const fanion_window_writer *writer = &window->control->writers[fanion_window_writer_of(locator)];
    return fanion_window_above(locator, fanion_u64_load_acquire(&writer->settled)) == 0;
}

/* Slots taken before the first life of full size. */
static inline uint64_t fanion_window_small_end(const fanion_window *window) {
    return window->small ? window->ends[window->small - 1] : 0;
}

static inline uint64_t fanion_window_life_of(const fanion_window *window, uint64_t claims) {
    uint64_t count = claims & FANION_WINDOW_COUNT_MASK, grown = claims >> FANION_WINDOW_COUNT_BITS, life = 0;
    if (grown >= window->grown_max)
        return window->small + (count - fanion_window_small_end(window)) / window->capacity;
    while (life < grown && count >= window->ends[life])
        life++;
    return life;
}

static inline uint64_t fanion_window_life(const fanion_window *window) {
    return fanion_window_life_of(window, fanion_u64_load_acquire(&window->claims->word));
}

/* How many slots were ever taken when `life` ends. */
static inline uint64_t fanion_window_end_of(const fanion_window *window, uint64_t life) {
    if (life < window->small)
        return window->ends[life];
    return fanion_window_small_end(window) + (life + 1 - window->small) * window->capacity;
}

/* The oldest life whose ids are still told. */
static inline uint64_t fanion_window_oldest(const fanion_window *window, uint64_t life) {
    return life <= window->small ? 0 : life - 1;
}

static inline fanion_window_table fanion_window_table_of(const fanion_window *window, uint64_t life) {
    return window->tables[life < window->small ? life : window->small + ((life - window->small) & 1)];
}

static inline uint64_t fanion_window_home(fanion_window_table table, uint64_t first) {
    return table.base + (uint64_t)(((unsigned __int128)first * table.slots) >> 64);
}

static inline uint64_t fanion_window_next(fanion_window_table table, uint64_t place) {
    return ++place == table.base + table.slots ? table.base : place;
}

/* Whether the next table is wanted where `claims` stands: half of the current life is over. */
static inline bool fanion_window_wants_growth_at(const fanion_window *window, uint64_t claims) {
    uint64_t grown = claims >> FANION_WINDOW_COUNT_BITS, count = claims & FANION_WINDOW_COUNT_MASK;
    if (grown >= window->grown_max)
        return false;
    uint64_t end = fanion_window_end_of(window, grown), start = grown ? window->ends[grown - 1] : 0;
    return count >= start + (end - start) / 2;
}

static inline bool fanion_window_wants_growth(const fanion_window *window) {
    return fanion_window_wants_growth_at(window, fanion_u64_load_acquire(&window->claims->word));
}

/* The slots whose blocks a window has that grew `grown` times: [0] from the first slot on, [1] the even table. */
static inline void fanion_window_parts(const fanion_window *window, uint64_t grown, fanion_window_table parts[2]) {
    parts[0] = window->tables[window->small + 1];
    parts[1] = window->tables[window->small];
    if (grown < window->grown_max) {
        fanion_window_table last = window->tables[grown + 1 < window->small ? grown : window->small ? window->small - 1 : 0];
        parts[0].slots = last.base - window->base + last.slots;
    }
    if (grown < window->small)
        parts[1].slots = 0;
}

/* What those are in bytes of the body: where they begin, and how many. */
static inline void fanion_window_allocated(const fanion_window *window, uint64_t grown, uint64_t starts[2],
                                           uint64_t bytes[2]) {
    fanion_window_table parts[2];
    fanion_window_parts(window, grown, parts);
    for (int part = 0; part < 2; part++) {
        starts[part] = sizeof(fanion_window_control) + parts[part].base * sizeof(fanion_window_slot);
        bytes[part] = parts[part].slots * sizeof(fanion_window_slot);
    }
}

/* After the blocks of one table more are there. `claims`: as it was found before, and wants growth: one that grows twice
 * before its first life is over counts from an end that lies ahead. The life in which it was awaited ends
 * where it would have, also when it took more ids, so that each life has its whole number. False: look again. */
static inline bool fanion_window_grow(const fanion_window *window, uint64_t claims) {
    uint64_t grown = claims >> FANION_WINDOW_COUNT_BITS, count = claims & FANION_WINDOW_COUNT_MASK;
    uint64_t end = fanion_window_end_of(window, grown);
    uint64_t raised = (grown + 1) << FANION_WINDOW_COUNT_BITS | (count < end ? count : end);
    return fanion_u64_compare_exchange_acq_rel(&window->claims->word, &claims, raised);
}

#endif
