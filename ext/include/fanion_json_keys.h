/* Whether an object of a JSON text has a key twice, in one pass over its bytes.
 *
 * For texts that a decoder takes which keeps the last of equal keys. No parser: a string with a colon behind it is a
 * key of the innermost bracket that is open. What it can't tell (a key with an escape in it, more than
 * FANION_JSON_KEYS_DEPTH levels, no memory left) counts as twice: the caller looks again, more slowly.
 *
 * An object's first keys are compared one by one; further ones stand in a table of its own. Keys are compared by
 * their xxh64, so that two of 2^64 may be taken for equal, never equal ones for two.
 *
 * Does not need the GIL. Reads only [text, text + length). */
#ifndef FANION_JSON_KEYS_H
#define FANION_JSON_KEYS_H

#include "fanion_hash.h"
#include "fanion_json_scan.h"

enum { FANION_JSON_KEYS_DEPTH = 512, FANION_JSON_KEYS_FEW = 16 };

typedef struct {
    uint64_t few[FANION_JSON_KEYS_FEW];
    uint64_t *table; /* owned; NULL while there are few. 0 is a free place */
    uint64_t mask;   /* places - 1 */
    uint64_t count;
} fanion_json_level;

/* Whether the hash wasn't there, and is now. */
static inline int fanion_json_keys_put(uint64_t *table, uint64_t mask, uint64_t hash) {
    uint64_t at = hash & mask;
    for (; table[at]; at = (at + 1) & mask)
        if (table[at] == hash) return 0;
    table[at] = hash;
    return 1;
}

/* Whether the key is new to its object; 0 too when there is no memory. */
static inline int fanion_json_keys_add(fanion_json_level *level, uint64_t hash) {
    hash |= !hash;
    if (!level->table) {
        for (uint64_t n = 0; n < level->count; n++)
            if (level->few[n] == hash) return 0;
        if (level->count < FANION_JSON_KEYS_FEW) {
            level->few[level->count++] = hash;
            return 1;
        }
    }
    if (!level->table || 2 * level->count > level->mask) {
        const uint64_t places = level->table ? 2 * (level->mask + 1) : 8 * FANION_JSON_KEYS_FEW;
        uint64_t *table = (uint64_t *)calloc(places, sizeof *table);
        if (!table) return 0;
        const uint64_t *old = level->table ? level->table : level->few;
        const uint64_t olds = level->table ? level->mask + 1 : level->count;
        for (uint64_t n = 0; n < olds; n++)
            if (old[n]) fanion_json_keys_put(table, places - 1, old[n]);
        free(level->table);
        level->table = table;
        level->mask = places - 1;
    }
    level->count++;
    return fanion_json_keys_put(level->table, level->mask, hash);
}

static inline void fanion_json_keys_leave(fanion_json_level *level) {
    free(level->table);
    level->table = NULL;
    level->count = 0;
}

/* `levels`: FANION_JSON_KEYS_DEPTH + 1 of them, zeroed; they own nothing afterwards. */
static inline int fanion_json_keys_twice(const uint8_t *text, uint64_t length, fanion_json_level *levels) {
    const uint8_t *at = text, *end = text + length;
    uint64_t depth = 0;
    int twice = 0;
    while (at < end && !twice) {
        if (*at == '"') {
            const uint8_t *first = at + 1;
            at = fanion_json_string_end(at, end);
            if (!at) break; /* no JSON */
            const uint8_t *behind = fanion_json_blanks_end(at, end);
            if (behind < end && *behind == ':') {
                const uint64_t size = (uint64_t)(at - 1 - first);
                twice = memchr(first, '\\', size) || !fanion_json_keys_add(&levels[depth], fanion_hash_xxh64(first, size));
                at = behind + 1;
            }
            continue;
        }
        if (*at == '{' || *at == '[') {
            twice = ++depth > FANION_JSON_KEYS_DEPTH;
        } else if (*at == '}' || *at == ']') {
            if (!depth) break; /* no JSON */
            fanion_json_keys_leave(&levels[depth--]);
        }
        at++;
    }
    for (uint64_t n = 0; n <= FANION_JSON_KEYS_DEPTH; n++) fanion_json_keys_leave(&levels[n]);
    return twice;
}

#endif
