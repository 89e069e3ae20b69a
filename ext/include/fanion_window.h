/* The event-id window: which ids were kept, in which record. No Python, no allocation.
 *
 * A file holds lanes (fanion_window_layout.h), one a tenant's. What follows is about one lane. Which life it is, and which
 * table that has, stands in fanion_window_lives.h.
 *
 * Insert-only tables, one current at a time. `claims` counts the slots ever taken, and says by that which life it is:
 * one atomic add is therefore also the turn-over. In the end two tables take turns, the current and the previous one:
 * together they hold at least the last `capacity` ids. Nothing is ever cleared: each slot carries the tag of the life
 * that wrote it, and any other tag is an empty slot.
 *
 * A large window begins small and grows: its first lives have tables of `first` ids, and of four times as many each,
 * that are all looked into until the first table of full size has had its life, so that nothing is forgotten early.
 *
 *   | table 0 | table 1 | ...    | even table          |    the file's bytes behind the control words; small tables
 *   | odd table                  |                     |    lie where the odd one will, when they are no longer read
 *
 * The high 16 bits of `claims` count how often the window grew: the blocks of that many tables more are allocated. A
 * life doesn't end before the next table's blocks are there; until then its ids go into the quarter of its slots that
 * is to spare, and when that is used up nothing is taken (`fanion_window_reserve` returns false). Growing is allocating
 * blocks, then one compare-exchange of `claims`: who dies in between leaves blocks that the next one finds allocated.
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
 */
#ifndef FANION_WINDOW_H
#define FANION_WINDOW_H

#include "fanion_window_lives.h"

/* The entry of an id in the table of `life`; locator 0: there is none that counts. */
static inline fanion_window_entry fanion_window_find(const fanion_window *window, uint64_t life, const uint64_t *hash) {
    uint64_t tag = fanion_window_tag(life), wanted = tag | hash[0] >> 8;
    fanion_window_table table = fanion_window_table_of(window, life);
    uint64_t place = fanion_window_home(table, hash[0]);
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
        place = fanion_window_next(table, place);
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

/* A life as a reservation meets it, and its locator there. */
typedef struct {
    uint64_t life;
    uint64_t oldest;
    uint64_t tag;
    uint64_t mine;
    fanion_window_table table;
} fanion_window_now;

static inline fanion_window_now fanion_window_at(const fanion_window *window, uint64_t life, uint64_t writer,
                                                 uint64_t sequence) {
    uint64_t tag = fanion_window_tag(life);
    return (fanion_window_now){life, fanion_window_oldest(window, life), tag,
                               fanion_window_locator(tag, writer, sequence), fanion_window_table_of(window, life)};
}

/* Finds or inserts in the current table. 1: inserted; 0: found; -1: no free slot near, or the life is long over.
 * *claimed counts slots. */
static inline int fanion_window_insert(const fanion_window *window, const fanion_window_now *now, const uint64_t *hash,
                                       fanion_window_entry *entry, uint64_t *claimed) {
    uint64_t tag = now->tag, wanted = tag | hash[0] >> 8;
    uint64_t place = fanion_window_home(now->table, hash[0]);
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
            int decided = fanion_window_decide(slot, wanted, now->mine, hash[1], entry);
            if (decided || entry->locator)
                return decided;
        }
        place = fanion_window_next(now->table, place);
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

/* The current table has no room. Turns over, or sees that it was; false: the window has to grow first. */
static inline bool fanion_window_turn(const fanion_window *window, fanion_window_now *now) {
    uint64_t claims = fanion_u64_load_acquire(&window->claims->word);
    uint64_t grown = claims >> FANION_WINDOW_COUNT_BITS;
    if (fanion_window_life_of(window, claims) == now->life) {
        if (now->life >= grown && grown < window->grown_max)
            return false;
        fanion_u64_add_relaxed(&window->control->early_turns.word, 1);
        fanion_u64_raise_acq_rel(&window->claims->word,
                                 grown << FANION_WINDOW_COUNT_BITS | fanion_window_end_of(window, now->life));
    }
    uint64_t locator = now->mine;
    *now = fanion_window_at(window, fanion_window_life(window), fanion_window_writer_of(locator), locator);
    return true;
}

/* One id in the tables of now->life, which is raised when the current one has no room. `own`: where this reservation
 * has the id already (a table that is no longer current), else locator 0. Returns NEW, DUPLICATE or FULL. */
static inline uint8_t fanion_window_place(const fanion_window *window, fanion_window_now *now, const uint64_t *hash,
                                          fanion_window_entry own, fanion_window_entry *entry, uint64_t *claimed) {
    for (;;) {
        bool found = false;
        for (uint64_t older = now->life; !found && older > now->oldest;) {
            *entry = fanion_window_find(window, --older, hash);
            found = entry->locator && !(entry->locator == own.locator && entry->place == own.place);
        }
        if (found)
            break;
        int inserted = fanion_window_insert(window, now, hash, entry, claimed);
        if (inserted == 1)
            return FANION_WINDOW_NEW;
        if (inserted == 0)
            break;
        if (!fanion_window_turn(window, now)) {
            *entry = (fanion_window_entry){0, 0};
            return FANION_WINDOW_FULL;
        }
    }
    if (((entry->locator ^ now->mine) & FANION_WINDOW_FINGERPRINT_MASK) == 0)
        entry->locator = 0; /* the same id twice in one request */
    return FANION_WINDOW_DUPLICATE;
}

/* Gives the ids of a reservation back that are new. */
static inline void fanion_window_release(const fanion_window *window, uint64_t count, const uint8_t *dispositions,
                                         const fanion_window_entry *entries) {
    for (uint64_t i = 0; i < count; i++)
        if (dispositions[i] == FANION_WINDOW_NEW && entries[i].locator)
            fanion_window_void(window, entries[i]);
}

/* After a turn-over: the ids that lie in a table of another life than now->life are placed again. How many; -1: there is
 * no room. */
static inline int64_t fanion_window_move(const fanion_window *window, fanion_window_now *now, const uint64_t *hashes,
                                         uint64_t count, uint8_t *dispositions, fanion_window_entry *entries,
                                         uint64_t *claimed) {
    int64_t moved = 0;
    for (uint64_t i = 0; i < count; i++) {
        fanion_window_entry own = entries[i];
        if (dispositions[i] != FANION_WINDOW_NEW || !own.locator || fanion_window_tag_of(own.locator) == now->tag)
            continue;
        moved++;
        dispositions[i] = fanion_window_place(window, now, hashes + 2 * i, own, &entries[i], claimed);
        FANION_WINDOW_STEP("move");
        fanion_window_void(window, own);
        if (dispositions[i] == FANION_WINDOW_FULL)
            return -1;
    }
    return moved;
}

/* Reserves `count` ids for the record (writer, sequence). `hashes`: two words each, {0, 0}: no id, always NEW.
 * A DUPLICATE's entry names the record that it repeats, a NEW one's is what `fanion_window_void` gives back. False: the
 * window has to grow first, and nothing is reserved. */
static inline bool fanion_window_reserve(const fanion_window *window, const uint64_t *hashes, uint64_t count,
                                         uint64_t writer, uint64_t sequence, uint8_t *dispositions,
                                         fanion_window_entry *entries) {
    const fanion_window_entry none = {0, 0};
    fanion_window_now now = fanion_window_at(window, fanion_window_life(window), writer, sequence);
    fanion_window_table before = now.life ? fanion_window_table_of(window, now.life - 1) : now.table;
    uint64_t reserved = 0, placed = 0, claimed = 0;
    for (uint64_t i = 0; i < count; i++) {
        __builtin_prefetch(&window->slots[fanion_window_home(now.table, hashes[2 * i])], 1);
        __builtin_prefetch(&window->slots[fanion_window_home(before, hashes[2 * i])], 0);
    }
    for (; placed < count; placed++) {
        uint64_t i = placed;
        entries[i] = none;
        dispositions[i] = FANION_WINDOW_NEW;
        if (hashes[2 * i] | hashes[2 * i + 1]) {
            dispositions[i] = fanion_window_place(window, &now, hashes + 2 * i, none, &entries[i], &claimed);
            if (dispositions[i] == FANION_WINDOW_FULL)
                goto full;
            reserved += dispositions[i] == FANION_WINDOW_NEW;
        }
    }
    for (int round = 0; reserved && round < FANION_WINDOW_ROUNDS_MAX; round++) {
        FANION_WINDOW_STEP("count");
        uint64_t claims = fanion_u64_add_acq_rel(&window->claims->word, claimed);
        uint64_t life = fanion_window_life_of(window, claims);
        if (life != now.life)
            now = fanion_window_at(window, life, writer, sequence);
        claimed = 0;
        int64_t moved = fanion_window_move(window, &now, hashes, count, dispositions, entries, &claimed);
        if (moved < 0)
            goto full;
        if (moved == 0)
            break;
    }
    return true;
full:
    fanion_u64_add_acq_rel(&window->claims->word, claimed);
    fanion_window_release(window, placed, dispositions, entries);
    return false;
}

/* Voids every entry of `writer` in this lane above `end`, its recovered last sequence. Only by its next owner before its
 * first reservation, or by who drained its ring: nobody else makes entries of that writer then. Once all lanes were
 * swept, the writer is settled at `end`. */
static inline uint64_t fanion_window_sweep(const fanion_window *window, uint64_t writer, uint64_t end) {
    uint64_t voided = 0;
    fanion_window_table parts[2];
    uint64_t grown = fanion_u64_load_acquire(&window->claims->word) >> FANION_WINDOW_COUNT_BITS;
    fanion_window_parts(window, grown, parts);
    for (int part = 0; part < 2; part++)
        for (uint64_t i = 0, place = parts[part].base; i < parts[part].slots; i++, place++) {
            uint64_t locator = fanion_u64_load_relaxed(&window->slots[place].locator);
            if (locator != 0 && fanion_window_writer_of(locator) == writer && fanion_window_above(locator, end)) {
                fanion_window_void(window, (fanion_window_entry){place, locator});
                voided++;
            }
        }
    return voided;
}

#endif
