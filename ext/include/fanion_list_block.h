/* A block of a list segment: the members whose hashes begin with the same bits, in one value of the store, looked up
 * where they lie.
 *
 *      0  u64  seal      xxh64 of the value's key and of what follows; not read here
 *      8  u64  number    of the list
 *     16  u64  prefix    the bits that the hashes begin with, at the top, and zeros
 *     24  u32  count     members
 *     28  u16  groups    max(1, count)
 *     30  u8   depth     bits of the prefix, at most 63
 *     31  u8   zero
 *     32  u16  starts[groups + 1]   byte offsets of the groups in what follows; the last is its size
 *         the members in the order of (hash, bytes), each u16 length and its bytes
 *
 * Hashes have 64 bits and are evenly spread: the bits after the prefix, as a fraction, times `groups` is a member's
 * group, and a group holds about one. A look-up reads one start and one group. Hashes aren't stored: whoever needs
 * one computes it from the member's bytes, and members of one hash are told apart by these. Example, list 7 with
 * the members "a" (hash 0x10...) and "b" (hash 0x90...), numbers hexadecimal : bytes
 *
 *     seal:8  7:8  0:8  2:4 2:2 0:1 0:1  0:2 3:2 6:2  1:2 "a"  1:2 "b"
 *
 * Any bytes may be passed: nothing is read outside of [block, block + size). No allocation, no alignment needed.
 * Does not need the GIL. Do not change the layout without a new STORE_FORMAT.
 */
#ifndef FANION_LIST_BLOCK_H
#define FANION_LIST_BLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fanion_assert.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are read as they lie in memory");

enum { FANION_LIST_DEPTH_MAX = 63, FANION_LIST_DAMAGED = -1 };

typedef struct {
    uint64_t seal, number, prefix;
    uint32_t count;
    uint16_t groups;
    uint8_t depth, zero;
} fanion_list_head;

_Static_assert(sizeof(fanion_list_head) == 32, "the layout is on disk");

/* What looking up needs of a block, so that its head isn't read again. */
typedef struct {
    const uint8_t *starts; /* NULL: not opened yet */
    uint32_t size;         /* bytes from `starts` to the block's end */
    uint16_t groups;
    uint8_t depth;
} fanion_list_block;

/* Bytes before the members. */
static inline size_t fanion_list_starts_bytes(uint16_t groups) { return sizeof(uint16_t) * ((size_t)groups + 1); }

/* Whether `value` is a block of list `number` that covers `hash`, as far as its head tells. */
static inline int fanion_list_open(
    const uint8_t *value, size_t size, uint64_t number, uint64_t hash, fanion_list_block *block) {
    fanion_list_head head;
    if (size < sizeof(head) || size > UINT32_MAX)
        return 0;
    memcpy(&head, value, sizeof(head));
    size -= sizeof(head);
    if (head.number != number || head.depth > FANION_LIST_DEPTH_MAX || head.groups == 0)
        return 0;
    if (size < fanion_list_starts_bytes(head.groups))
        return 0;
    if (head.depth > 0 && (hash ^ head.prefix) >> (64 - head.depth) != 0)
        return 0;
    *block = (fanion_list_block){value + sizeof(head), (uint32_t)size, head.groups, head.depth};
    return 1;
}

static inline uint64_t fanion_list_group(uint64_t hash, uint8_t depth, uint16_t groups) {
    return (uint64_t)((unsigned __int128)(hash << depth) * groups >> 64);
}

/* Whether a block that covers `hash` holds the member: 1, 0, or FANION_LIST_DAMAGED where it can't be read. */
static inline int fanion_list_holds(
    const fanion_list_block *block, uint64_t hash, const uint8_t *member, size_t length) {
    uint16_t ends[2];
    size_t first = fanion_list_starts_bytes(block->groups);
    FANION_ASSERT(block->starts != NULL && first <= block->size);
    FANION_ASSERT(fanion_list_group(hash, block->depth, block->groups) < block->groups);
    /* About where the member lies: its page is translated while the start is still on its way. */
    uint64_t share = (uint64_t)((unsigned __int128)(hash << block->depth) * (block->size - first) >> 64);
    __builtin_prefetch(block->starts + first + share);
    memcpy(ends, block->starts + sizeof(uint16_t) * fanion_list_group(hash, block->depth, block->groups), sizeof(ends));
    if (ends[0] > ends[1] || ends[1] > block->size - first)
        return FANION_LIST_DAMAGED;
    const uint8_t *at = block->starts + first + ends[0], *end = block->starts + first + ends[1];
    while (at < end) {
        uint16_t own;
        if (end - at < (ptrdiff_t)sizeof(own))
            return FANION_LIST_DAMAGED;
        memcpy(&own, at, sizeof(own));
        at += sizeof(own);
        if (own > end - at)
            return FANION_LIST_DAMAGED;
        if (own == length && memcmp(at, member, length) == 0)
            return 1;
        at += own;
    }
    return 0;
}

#endif
