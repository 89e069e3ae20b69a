/* A set that only grows, shared by processes, with an exact end: the first `limit` members are in, no one more.
 * No Python, no allocation, no lock.
 *
 * `members` is the set, in the order of joining, without gaps: joining is one compare-exchange of its first zero.
 * So the set can't exceed a limit, and a process that dies at any point leaves nothing half done. `index` is a
 * hash table of the same values that makes looking up fast; `indexed` says how many members are surely in it.
 *
 * Why no one joins twice: who joins loads `indexed`, looks in the index, then goes through the members from there
 * to the first zero. A member below the loaded word is found in the index, one above it on the way. Whoever passes
 * a member on the way puts it into the index before raising the word.
 *
 * Values are keyed 64-bit hashes, never 0. After a power cut, words may be zero that were written just before:
 * `fanion_members_mend` closes the gaps and makes the index anew; until then nobody else may use the set.
 * The layout is on disk: do not add, drop, retype or reorder a field without a new version of the file's kind.
 */
#ifndef FANION_MEMBERS_H
#define FANION_MEMBERS_H

#include <string.h>

#include "fanion_assert.h"
#include "fanion_atomics.h"

typedef struct {
    uint64_t *indexed; /* all, acq_rel */
    uint64_t *members; /* `size` words; 0, then once the member: all, acq_rel */
    uint64_t *index;   /* 2 * `size` words; 0, then once a member: all, acq_rel */
    uint64_t size;     /* a power of two */
} fanion_members;

static inline uint64_t fanion_members_bytes(uint64_t size) { return FANION_WORD_SPACING + 3 * size * sizeof(uint64_t); }

static inline fanion_members fanion_members_attach(void *body, uint64_t size) {
    uint64_t *members = (uint64_t *)((uint8_t *)body + FANION_WORD_SPACING);
    return (fanion_members){(uint64_t *)body, members, members + size, size};
}

static inline uint64_t fanion_members_count(const fanion_members *set) {
    uint64_t count = fanion_u64_load_acquire(set->indexed);
    while (count < set->size && fanion_u64_load_acquire(&set->members[count]) != 0)
        count++;
    return count;
}

static inline bool fanion_members_has(const fanion_members *set, uint64_t member) {
    uint64_t mask = 2 * set->size - 1;
    FANION_ASSERT(member != 0 && (set->size & (set->size - 1)) == 0);
    for (uint64_t at = member & mask;; at = (at + 1) & mask) {
        uint64_t found = fanion_u64_load_acquire(&set->index[at]);
        if (found == member || found == 0)
            return found == member;
    }
}

static inline void fanion_members_put(const fanion_members *set, uint64_t member) {
    uint64_t mask = 2 * set->size - 1;
    for (uint64_t at = member & mask;; at = (at + 1) & mask) {
        uint64_t found = fanion_u64_load_acquire(&set->index[at]);
        if (found == member || (found == 0 && fanion_u64_compare_exchange_acq_rel(&set->index[at], &found, member)))
            return;
        if (found == member)
            return;
    }
}

/* Whether `member` is in, or has just joined as one of the first `limit`. */
static inline bool fanion_members_join(const fanion_members *set, uint64_t member, uint64_t limit) {
    uint64_t at = fanion_u64_load_acquire(set->indexed);
    if (fanion_members_has(set, member))
        return true;
    for (; at < set->size; at++) {
        uint64_t found = fanion_u64_load_acquire(&set->members[at]);
        if (found == 0) {
            if (at >= limit)
                return false;
            if (fanion_u64_compare_exchange_acq_rel(&set->members[at], &found, member))
                found = member;
        }
        fanion_members_put(set, found);
        fanion_u64_raise_acq_rel(set->indexed, at + 1);
        if (found == member)
            return true;
    }
    return false;
}

/* Exclusive use only. Removes gaps and repetitions, and makes the index from the members. */
static inline void fanion_members_mend(const fanion_members *set) {
    uint64_t count = 0;
    memset(set->index, 0, 2 * set->size * sizeof(uint64_t));
    for (uint64_t at = 0; at < set->size; at++) {
        uint64_t member = set->members[at];
        set->members[at] = 0;
        if (member != 0 && !fanion_members_has(set, member)) {
            fanion_members_put(set, member);
            set->members[count++] = member;
        }
    }
    fanion_u64_store_release(set->indexed, count);
}

#endif
