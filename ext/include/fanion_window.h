/* The event-id window: which ids were kept, in which record. No Python, no allocation. Long: one algorithm's steps.
 *
 * Two insert-only tables. `claims` counts the slots ever taken; claims / capacity is the life, and life & 1 names
 * the table that is current. The other one is previous: together they hold at least the last `capacity` ids. One
 * atomic add is therefore also the turn-over. Nothing is ever cleared: each slot carries the tag of the life that
 * wrote it, and any other tag is an empty slot.
 *
 *   mark      tag (8 bits) | first 56 bits of the id's hash   compare-exchanged from an older tag: the claim
 *   rest      other 64 bits of the hash                       compare-exchanged, before the locator
 *   locator   tag (8) | writer (10) | sequence (46)           compare-exchanged from an older tag: the decision
 *
 * Who owns an id is decided by one compare-exchange, the locator's. A slot that is marked and has no locator of
 * this life belongs to nobody: whoever comes with the same id completes it. So no one waits for another process,
 * stopped or dead. (56 equal bits of two different ids at the same nanosecond in the same place would be taken for
 * one id; after that moment 120 bits are compared.)
 *
 * A locator of the writer VOID is an id that was given back; it may be taken again, by that id only. Locators name
 * the record that will hold the id, before it is published: those above a dead writer's recovered end are void,
 * and `fanion_window_sweep` says so. `settled` is, per writer, the highest sequence that is as safe as the server
 * promises; a duplicate of a record above it must not be acknowledged yet.
 *
 * Turn-over against look-up: an inserter ends with an atomic add to `claims` (acq_rel), and inserts again in the new
 * table if a turn-over came before it; a look-up begins with an acquire load of `claims`. So either the look-up in
 * the previous table sees the inserter's locator, or both meet at one compare-exchange in the current one.
 *
 * The layout is shared by processes of one boot, not kept over reboots. Do not add, drop, retype or reorder a field
 * without a new version of the file's kind.
 */
#ifndef FANION_WINDOW_H
#define FANION_WINDOW_H

#include <stddef.h>

#include "fanion_atomics.h"

#ifndef FANION_WINDOW_STEP
#define FANION_WINDOW_STEP(name) ((void)0) /* the crash tests end the process here */
#endif

#define FANION_WINDOW_WRITERS 1023u
#define FANION_WINDOW_VOID 1023ull
#define FANION_WINDOW_SEQUENCE_BITS 46
#define FANION_WINDOW_SEQUENCE_MASK ((1ull << FANION_WINDOW_SEQUENCE_BITS) - 1)
#define FANION_WINDOW_FINGERPRINT_MASK ((1ull << 56) - 1)
#define FANION_WINDOW_PROBES_MAX 1024u
#define FANION_WINDOW_ROUNDS_MAX 16

#define FANION_WINDOW_NEW 0
#define FANION_WINDOW_DUPLICATE 2

typedef struct {
    uint64_t mark;
    uint64_t rest;
    uint64_t locator;
} fanion_window_slot;

_Static_assert(sizeof(fanion_window_slot) == 24, "the layout is shared");

typedef struct {
    uint64_t settled;  /* owner (and who recovers it), release; everyone, acquire */
    uint64_t attached; /* owner: 1 from attach to detach; found set by a later owner: it ended without detaching */
    uint64_t epoch;    /* owner, release, once its claim of the journal is recovered; who rebuilds, acquire */
    uint8_t unused[FANION_WORD_SPACING - 24];
} fanion_window_writer;

typedef struct {
    fanion_line claims;      /* slots ever taken; all, acq_rel */
    fanion_line state;       /* 0: to be rebuilt, 1: ready; who rebuilds, release; all, acquire */
    fanion_line early_turns; /* turn-overs because no free slot was near; all, relaxed */
    uint8_t unused[4096 - 3 * sizeof(fanion_line)];
    fanion_window_writer writers[FANION_WINDOW_WRITERS + 1];
} fanion_window_control;

_Static_assert(sizeof(fanion_window_control) == 4096 + 1024 * 128, "the layout is shared");

typedef struct {
    fanion_window_control *control; /* borrowed from the map */
    fanion_window_slot *slots;      /* as control; two tables of `table_slots` */
    uint64_t capacity;              /* ids of one life */
    uint64_t table_slots;
} fanion_window;

/* Where an id stands and what stood there; place < 2 * table_slots. */
typedef struct {
    uint64_t place;
    uint64_t locator; /* 0: nothing to wait for or to give back */
} fanion_window_entry;

static inline uint64_t fanion_window_table_slots(uint64_t capacity) { return capacity + capacity / 3 + 1024; }

static inline uint64_t fanion_window_bytes(uint64_t capacity) {
    return sizeof(fanion_window_control) + 2 * fanion_window_table_slots(capacity) * sizeof(fanion_window_slot);
}

static inline fanion_window fanion_window_attach(void *body, uint64_t capacity) {
    fanion_window_control *control = (fanion_window_control *)body;
    return (fanion_window){control, (fanion_window_slot *)(control + 1), capacity, fanion_window_table_slots(capacity)};
}

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

static inline bool fanion_window_is_settled(const fanion_window *window, uint64_t locator) {
    const fanion_window_writer *writer = &window->control->writers[fanion_window_writer_of(locator)];
    return fanion_window_above(locator, fanion_u64_load_acquire(&writer->settled)) == 0;
}

static inline uint64_t fanion_window_life(const fanion_window *window) {
    return fanion_u64_load_acquire(&window->control->claims.word) / window->capacity;
}

static inline uint64_t fanion_window_home(const fanion_window *window, uint64_t life, uint64_t first) {
    return (life & 1) * window->table_slots + (uint64_t)(((unsigned __int128)first * window->table_slots) >> 64);
}

static inline uint64_t fanion_window_next(const fanion_window *window, uint64_t life, uint64_t place) {
    return ++place == ((life & 1) + 1) * window->table_slots ? (life & 1) * window->table_slots : place;
}

/* The entry of an id in the table of `life`; locator 0: there is none that counts. */
static inline fanion_window_entry fanion_window_find(const fanion_window *window, uint64_t life, const uint64_t *hash) {
    uint64_t tag = fanion_window_tag(life), wanted = tag | hash[0] >> 8;
    uint64_t place = fanion_window_home(window, life, hash[0]);
    for (uint32_t probe = 0; probe < FANION_WINDOW_PROBES_MAX; probe++) {
        fanion_window_slot *slot = &window->slots[place];
        uint64_t mark = fanion_u64_load_acquire(&slot->mark);
        if (fanion_window_tag_of(mark) != tag)
            break;
        if (mark == wanted) {
            uint64_t locator = fanion_u64_load_acquire(&slot->locator);
            if (fanion_window_tag_of(locator) == tag && fanion_u64_load_relaxed(&slot->rest) == hash[1]) {
                bool counts = fanion_window_writer_of(locator) != FANION_WINDOW_VOID;
                return (fanion_window_entry){place, counts ? locator : 0};
            }
        }
        place = fanion_window_next(window, life, place);
    }
    return (fanion_window_entry){0, 0};
}

/* One slot that is marked for this id. 1: it is ours now; 0: it is someone's (entry->locator) or, with locator 0,
 * another id's; -1: a later life has taken the slot. Every value is read before `mark` is confirmed, so each
 * compare-exchange fails on a slot that was taken since, however long this process was stopped in between. */
static inline int fanion_window_decide(fanion_window_slot *slot, uint64_t wanted, uint64_t mine, uint64_t rest,
                                       fanion_window_entry *entry) {
    for (;;) {
        uint64_t locator = fanion_u64_load_acquire(&slot->locator), found = fanion_u64_load_acquire(&slot->rest);
        bool decided = fanion_window_tag_of(locator) == fanion_window_tag_of(wanted);
        entry->locator = 0;
        if (fanion_u64_load_acquire(&slot->mark) != wanted)
            return -1;
        if (decided && (found != rest || fanion_window_writer_of(locator) != FANION_WINDOW_VOID)) {
            entry->locator = found == rest ? locator : 0;
            return 0;
        }
        FANION_WINDOW_STEP("decide");
        if (found != rest) {
            fanion_u64_compare_exchange_acq_rel(&slot->rest, &found, rest);
        } else if (fanion_u64_compare_exchange_acq_rel(&slot->locator, &locator, mine)) {
            entry->locator = mine;
            return 1;
        }
    }
}

/* Finds or inserts in the table of `life`. 1: inserted; 0: found; -1: no free slot near, or the life is long over.
 * *claimed counts slots. */
static inline int fanion_window_insert(const fanion_window *window, uint64_t life, const uint64_t *hash, uint64_t mine,
                                       fanion_window_entry *entry, uint64_t *claimed) {
    uint64_t tag = fanion_window_tag(life), wanted = tag | hash[0] >> 8;
    uint64_t place = fanion_window_home(window, life, hash[0]);
    for (uint32_t probe = 0; probe < FANION_WINDOW_PROBES_MAX; probe++) {
        fanion_window_slot *slot = &window->slots[place];
        uint64_t mark = fanion_u64_load_acquire(&slot->mark);
        if (fanion_window_tag_of(mark) != tag) {
            if (!fanion_window_is_older(mark, tag))
                return -1;
            FANION_WINDOW_STEP("claim");
            if (fanion_u64_compare_exchange_acq_rel(&slot->mark, &mark, wanted)) {
                mark = wanted;
                ++*claimed;
            }
        }
        if (mark == wanted) {
            entry->place = place;
            int decided = fanion_window_decide(slot, wanted, mine, hash[1], entry);
            if (decided || entry->locator)
                return decided;
        }
        place = fanion_window_next(window, life, place);
    }
    return -1;
}

/* Gives an id back, if it is still this reservation's. */
static inline void fanion_window_void(const fanion_window *window, fanion_window_entry entry) {
    uint64_t nobody = fanion_window_locator(fanion_window_tag_of(entry.locator), FANION_WINDOW_VOID, 0);
    fanion_u64_compare_exchange_acq_rel(&window->slots[entry.place].locator, &entry.locator, nobody);
}

static inline bool fanion_window_holds(const fanion_window *window, fanion_window_entry entry) {
    return fanion_u64_load_acquire(&window->slots[entry.place].locator) == entry.locator;
}

/* One id in the tables of *life, which is raised when the current one has no room. `own`: where this reservation
 * has the id already (a table that is no longer current), else locator 0. Returns NEW or DUPLICATE. */
static inline uint8_t fanion_window_place(const fanion_window *window, uint64_t *life, const uint64_t *hash,
                                          uint64_t writer, uint64_t sequence, fanion_window_entry own,
                                          fanion_window_entry *entry, uint64_t *claimed) {
    for (;;) {
        if (*life > 0) {
            *entry = fanion_window_find(window, *life - 1, hash);
            if (entry->locator && !(entry->locator == own.locator && entry->place == own.place))
                break;
        }
        uint64_t mine = fanion_window_locator(fanion_window_tag(*life), writer, sequence);
        int inserted = fanion_window_insert(window, *life, hash, mine, entry, claimed);
        if (inserted == 1)
            return FANION_WINDOW_NEW;
        if (inserted == 0)
            break;
        if (fanion_window_life(window) == *life) {
            fanion_u64_add_relaxed(&window->control->early_turns.word, 1);
            fanion_u64_raise_acq_rel(&window->control->claims.word, (*life + 1) * window->capacity);
        }
        *life = fanion_window_life(window);
    }
    if (((entry->locator ^ fanion_window_locator(0, writer, sequence)) & FANION_WINDOW_FINGERPRINT_MASK) == 0)
        entry->locator = 0; /* the same id twice in one request */
    return FANION_WINDOW_DUPLICATE;
}

/* Reserves `count` ids for the record (writer, sequence). `hashes`: two words each, {0, 0}: no id, always NEW.
 * A DUPLICATE's entry names the record that it repeats, a NEW one's is what `fanion_window_void` gives back. */
static inline void fanion_window_reserve(const fanion_window *window, const uint64_t *hashes, uint64_t count,
                                         uint64_t writer, uint64_t sequence, uint8_t *dispositions,
                                         fanion_window_entry *entries) {
    const fanion_window_entry none = {0, 0};
    uint64_t life = fanion_window_life(window), claimed = 0;
    for (uint64_t i = 0; i < count; i++) {
        __builtin_prefetch(&window->slots[fanion_window_home(window, life, hashes[2 * i])], 1);
        __builtin_prefetch(&window->slots[fanion_window_home(window, life + 1, hashes[2 * i])], 0);
    }
    uint64_t reserved = 0;
    for (uint64_t i = 0; i < count; i++) {
        entries[i] = none;
        dispositions[i] = FANION_WINDOW_NEW;
        if (hashes[2 * i] | hashes[2 * i + 1]) {
            dispositions[i] = fanion_window_place(window, &life, hashes + 2 * i, writer, sequence, none, &entries[i],
                                                  &claimed);
            reserved += dispositions[i] == FANION_WINDOW_NEW;
        }
    }
    for (int round = 0; reserved && round < FANION_WINDOW_ROUNDS_MAX; round++) {
        FANION_WINDOW_STEP("count");
        life = fanion_u64_add_acq_rel(&window->control->claims.word, claimed) / window->capacity;
        claimed = 0;
        uint64_t moved = 0;
        for (uint64_t i = 0; i < count; i++) {
            fanion_window_entry own = entries[i];
            if (dispositions[i] != FANION_WINDOW_NEW || !own.locator ||
                fanion_window_tag_of(own.locator) == fanion_window_tag(life))
                continue;
            moved++;
            dispositions[i] = fanion_window_place(window, &life, hashes + 2 * i, writer, sequence, own, &entries[i],
                                                  &claimed);
            FANION_WINDOW_STEP("move");
            fanion_window_void(window, own);
        }
        if (!moved)
            break;
    }
}

/* Voids every entry of `writer` above `end`, its recovered last sequence, and settles it there. Only by its next
 * owner before its first reservation, or by who drained its ring: nobody else makes entries of that writer then. */
static inline uint64_t fanion_window_sweep(const fanion_window *window, uint64_t writer, uint64_t end) {
    uint64_t voided = 0;
    for (uint64_t place = 0; place < 2 * window->table_slots; place++) {
        uint64_t locator = fanion_u64_load_relaxed(&window->slots[place].locator);
        if (locator != 0 && fanion_window_writer_of(locator) == writer && fanion_window_above(locator, end)) {
            fanion_window_void(window, (fanion_window_entry){place, locator});
            voided++;
        }
    }
    fanion_u64_store_release(&window->control->writers[writer].settled, end);
    return voided;
}

#endif
