/* The only door to atomic operations: every shared word is read and written through these.
 *
 * A function's name ends in its memory order. Publish = store_release, observe = load_acquire, and the comment
 * on each shared word says what it pairs with. Words are plain unsigned integers in memory (Cython has no
 * _Atomic), naturally aligned, and lock-free, so that they work between processes in a shared mapping.
 * Nothing here needs the GIL.
 */
#ifndef FANION_ATOMICS_H
#define FANION_ATOMICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

_Static_assert(sizeof(_Atomic uint32_t) == sizeof(uint32_t), "32-bit words are plain in memory");
_Static_assert(sizeof(_Atomic uint64_t) == sizeof(uint64_t), "64-bit words are plain in memory");
_Static_assert(_Alignof(_Atomic uint64_t) <= 8, "64-bit words need no more than their own alignment");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "32-bit atomics take no lock");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics take no lock");

/* Bytes that two words need between them, so that writing one doesn't slow readers of the other; two lines,
 * since processors fetch lines in pairs. */
#define FANION_WORD_SPACING 128

static inline uint32_t fanion_u32_load_acquire(const uint32_t *word) {
    return atomic_load_explicit((const _Atomic uint32_t *)word, memory_order_acquire);
}

static inline void fanion_u32_store_release(uint32_t *word, uint32_t value) {
    atomic_store_explicit((_Atomic uint32_t *)word, value, memory_order_release);
}

static inline uint64_t fanion_u64_load_relaxed(const uint64_t *word) {
    return atomic_load_explicit((const _Atomic uint64_t *)word, memory_order_relaxed);
}

static inline uint64_t fanion_u64_load_acquire(const uint64_t *word) {
    return atomic_load_explicit((const _Atomic uint64_t *)word, memory_order_acquire);
}

static inline void fanion_u64_store_relaxed(uint64_t *word, uint64_t value) {
    atomic_store_explicit((_Atomic uint64_t *)word, value, memory_order_relaxed);
}

static inline void fanion_u64_store_release(uint64_t *word, uint64_t value) {
    atomic_store_explicit((_Atomic uint64_t *)word, value, memory_order_release);
}

static inline uint64_t fanion_u64_add_relaxed(uint64_t *word, uint64_t count) {
    return atomic_fetch_add_explicit((_Atomic uint64_t *)word, count, memory_order_relaxed);
}

static inline uint64_t fanion_u64_add_acq_rel(uint64_t *word, uint64_t count) {
    return atomic_fetch_add_explicit((_Atomic uint64_t *)word, count, memory_order_acq_rel);
}

/* True when `*word` was `*expected` and is now `desired`; else `*expected` is what was found (acquire). */
static inline bool fanion_u64_compare_exchange_acq_rel(uint64_t *word, uint64_t *expected, uint64_t desired) {
    return atomic_compare_exchange_strong_explicit((_Atomic uint64_t *)word, expected, desired,
                                                   memory_order_acq_rel, memory_order_acquire);
}

/* Raises `*word` to `value` unless it is there or above already; pairs with load_acquire. */
static inline void fanion_u64_raise_acq_rel(uint64_t *word, uint64_t value) {
    uint64_t found = fanion_u64_load_acquire(word);
    while (found < value && !fanion_u64_compare_exchange_acq_rel(word, &found, value)) {
    }
}

/* A counter with one writer: a plain load and store are enough, and cheaper than a locked add. */
static inline void fanion_u64_count_relaxed(uint64_t *word, uint64_t count) {
    fanion_u64_store_relaxed(word, fanion_u64_load_relaxed(word) + count);
}

/* A shared word that has its cache lines for itself. */
typedef struct {
    uint64_t word;
    uint8_t unused[FANION_WORD_SPACING - 8];
} fanion_line;

_Static_assert(sizeof(fanion_line) == FANION_WORD_SPACING, "a line holds one word");

/* For "write mine, then read yours" on both sides (sleeping flags): the only order that needs it. */
static inline void fanion_fence_seq_cst(void) { atomic_thread_fence(memory_order_seq_cst); }

#endif
