/* C11 atomics for words that threads and processes share; the only header that names <stdatomic.h>.
 *
 * Every operation's name ends in its memory order. Publish = store_release, observe = load_acquire; a word
 * that only counts is relaxed. A word stands on a cache line of its own (`fanion_line`) unless one thread
 * alone writes all words of the line. All words are lock-free, so that they also work between processes.
 */
#ifndef FANION_ATOMICS_H
#define FANION_ATOMICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics must be lock-free to be shared by processes");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "32-bit atomics must be lock-free to be shared by processes");

#define FANION_LINE_BYTES 128 /* two 64-byte lines: the adjacent-line prefetcher counts as sharing */

typedef struct { _Atomic uint64_t value; } fanion_atomic_u64;
typedef struct { _Atomic uint32_t value; } fanion_atomic_u32;

/* A shared word that has its cache lines for itself. */
typedef struct {
    _Alignas(FANION_LINE_BYTES) fanion_atomic_u64 word;
    uint8_t unused[FANION_LINE_BYTES - 8];
} fanion_line;

_Static_assert(sizeof(fanion_atomic_u64) == 8, "a shared word is eight bytes");
_Static_assert(sizeof(fanion_line) == FANION_LINE_BYTES, "a shared line is one line");

#define FANION_ATOMIC_OPERATIONS(name, type)                                                                 \
    static inline type fanion_##name##_load_relaxed(const fanion_atomic_##name *a) {                                  \
        return atomic_load_explicit(&((fanion_atomic_##name *)a)->value, memory_order_relaxed);              \
    }                                                                                                        \
    static inline type fanion_##name##_load_acquire(const fanion_atomic_##name *a) {                                  \
        return atomic_load_explicit(&((fanion_atomic_##name *)a)->value, memory_order_acquire);              \
    }                                                                                                        \
    static inline type fanion_##name##_load_seq_cst(const fanion_atomic_##name *a) {                                  \
        return atomic_load_explicit(&((fanion_atomic_##name *)a)->value, memory_order_seq_cst);              \
    }                                                                                                        \
    static inline void fanion_##name##_store_relaxed(fanion_atomic_##name *a, type v) {                               \
        atomic_store_explicit(&a->value, v, memory_order_relaxed);                                           \
    }                                                                                                        \
    static inline void fanion_##name##_store_release(fanion_atomic_##name *a, type v) {                               \
        atomic_store_explicit(&a->value, v, memory_order_release);                                           \
    }                                                                                                        \
    static inline void fanion_##name##_store_seq_cst(fanion_atomic_##name *a, type v) {                               \
        atomic_store_explicit(&a->value, v, memory_order_seq_cst);                                           \
    }                                                                                                        \
    static inline type fanion_##name##_fetch_add_relaxed(fanion_atomic_##name *a, type v) {                           \
        return atomic_fetch_add_explicit(&a->value, v, memory_order_relaxed);                                \
    }                                                                                                        \
    static inline type fanion_##name##_fetch_add_acq_rel(fanion_atomic_##name *a, type v) {                           \
        return atomic_fetch_add_explicit(&a->value, v, memory_order_acq_rel);                                \
    }                                                                                                        \
    static inline type fanion_##name##_exchange_acq_rel(fanion_atomic_##name *a, type v) {                            \
        return atomic_exchange_explicit(&a->value, v, memory_order_acq_rel);                                 \
    }                                                                                                        \
    /* True when *a was *expected and now is v; else *expected holds what was found. */                      \
    static inline bool fanion_##name##_compare_exchange_acq_rel(fanion_atomic_##name *a, type *expected, type v) {    \
        return atomic_compare_exchange_strong_explicit(&a->value, expected, v, memory_order_acq_rel,         \
                                                       memory_order_acquire);                                \
    }

FANION_ATOMIC_OPERATIONS(u64, uint64_t)
FANION_ATOMIC_OPERATIONS(u32, uint32_t)

/* A counter with one writer: a plain load and store are enough, and cheaper than a locked add. */
static inline void fanion_counter_add_relaxed(fanion_atomic_u64 *a, uint64_t v) {
    fanion_u64_store_relaxed(a, fanion_u64_load_relaxed(a) + v);
}

#endif
