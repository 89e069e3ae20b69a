/* The event-id window's file: its words, its tables' places, and whose lane is whose. See fanion_window.h.
 *
 * A file holds FANION_WINDOW_LANES lanes, each with tables and `claims` of its own: one tenant's ids turn over one
 * tenant's tables. A tenant is a number of 24 bits that every hash carries (low 8 bits of its first word, low 16 of its
 * second), so who only has a record's ids, as a rebuild does, finds the lane too. Tenants take lanes in the order in
 * which they come: `tenants` is filled from its start by compare-exchange and nothing is ever taken out, so whoever
 * looks finds the same lane. Once all are taken, who comes shares one, by its number. A lane's blocks are there before
 * its tenant stands in `tenants`.
 *
 * The layout is shared by processes of one boot, not kept over reboots. Do not add, drop, retype or reorder a field
 * without a new version of the file's kind.
 */
#ifndef FANION_WINDOW_LAYOUT_H
#define FANION_WINDOW_LAYOUT_H

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
#define FANION_WINDOW_SMALL_MAX 8
#define FANION_WINDOW_LANES 16u
#define FANION_WINDOW_TENANT_BITS 24
#define FANION_WINDOW_TENANT_MASK ((1ull << FANION_WINDOW_TENANT_BITS) - 1)
#define FANION_WINDOW_TENANT (1ull << FANION_WINDOW_TENANT_BITS) /* stands in every word of a taken lane */
#define FANION_WINDOW_COUNT_BITS 48
#define FANION_WINDOW_COUNT_MASK ((1ull << FANION_WINDOW_COUNT_BITS) - 1)

#define FANION_WINDOW_NEW 0
#define FANION_WINDOW_DUPLICATE 2
#define FANION_WINDOW_FULL 3 /* of `fanion_window_place` alone: no room, and the window has not grown yet */

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
    fanion_line state;       /* 0: to be rebuilt, 1: ready; who rebuilds, release; all, acquire */
    fanion_line early_turns; /* turn-overs because no free slot was near; all, relaxed */
    uint64_t tenants[FANION_WINDOW_LANES];   /* TENANT | whose lane; 0: nobody's; all, acq_rel; never changed again */
    fanion_line claims[FANION_WINDOW_LANES]; /* how often it grew (16 bits) | slots ever taken (48); all, acq_rel */
    uint8_t unused[4096 - (2 + FANION_WINDOW_LANES) * sizeof(fanion_line) - FANION_WINDOW_LANES * 8];
    fanion_window_writer writers[FANION_WINDOW_WRITERS + 1];
} fanion_window_control;

_Static_assert(sizeof(fanion_window_control) == 4096 + 1024 * 128, "the layout is shared");

typedef struct {
    uint64_t base;  /* its first slot */
    uint64_t slots; /* more than its life takes */
} fanion_window_table;

typedef struct {
    fanion_window_control *control; /* borrowed from the map */
    fanion_line *claims;            /* the lane's, as control */
    fanion_window_slot *slots;      /* of all lanes, as control */
    uint64_t base;                  /* the lane's first slot */
    uint64_t capacity;              /* ids of one life, once grown */
    uint64_t small;                 /* lives before the first of full size; 0: it doesn't grow */
    uint64_t grown_max;             /* how often it grows: `small` tables and both of full size, less the first */
    uint64_t ends[FANION_WINDOW_SMALL_MAX + 1];              /* slots ever taken at the end of each small life */
    fanion_window_table tables[FANION_WINDOW_SMALL_MAX + 2]; /* the small ones, even, odd */
} fanion_window;

/* Where an id stands and what stood there; `place` is a slot's number. */
typedef struct {
    uint64_t place;
    uint64_t locator; /* 0: nothing to wait for or to give back */
} fanion_window_entry;

static inline uint64_t fanion_window_table_slots(uint64_t capacity) { return capacity + capacity / 3 + 1024; }

static inline uint64_t fanion_window_bytes(uint64_t capacity) {
    return sizeof(fanion_window_control) +
           FANION_WINDOW_LANES * 2 * fanion_window_table_slots(capacity) * sizeof(fanion_window_slot);
}

/* One lane. `first`: ids of its first life; one of a quarter of `capacity` or less makes a lane that grows. */
static inline fanion_window fanion_window_attach(void *body, uint64_t capacity, uint64_t first, uint32_t lane) {
    fanion_window_control *control = (fanion_window_control *)body;
    uint64_t full = fanion_window_table_slots(capacity), base = lane * 2 * full, end = 0;
    fanion_window window = {.control = control, .claims = &control->claims[lane], .base = base,
                            .slots = (fanion_window_slot *)(control + 1), .capacity = capacity};
    for (uint64_t size = first; size <= capacity / 4 && window.small < FANION_WINDOW_SMALL_MAX; size *= 4) {
        uint64_t slots = fanion_window_table_slots(size);
        if (base + slots > window.base + full)
            break;
        window.tables[window.small] = (fanion_window_table){base, slots};
        window.ends[window.small++] = end += size;
        base += slots;
    }
    window.grown_max = window.small ? window.small + 1 : 0;
    window.tables[window.small] = (fanion_window_table){window.base + full, full};
    window.tables[window.small + 1] = (fanion_window_table){window.base, full};
    return window;
}

static inline uint64_t fanion_window_tenant_of(const uint64_t *hash) { return (hash[0] & 0xFF) | (hash[1] & 0xFFFF) << 8; }

static inline void fanion_window_put_tenant(uint64_t *hash, uint64_t tenant) {
    hash[0] = (hash[0] & ~0xFFull) | (tenant & 0xFF);
    hash[1] = (hash[1] & ~0xFFFFull) | tenant >> 8;
}

/* The tenant's lane. *is_taken: whether it is its own or, as all are taken, shared; else it is nobody's yet. */
static inline uint32_t fanion_window_lane(const fanion_window_control *control, uint64_t tenant, int *is_taken) {
    *is_taken = true;
    for (uint32_t lane = 0; lane < FANION_WINDOW_LANES; lane++) {
        uint64_t found = fanion_u64_load_acquire(&control->tenants[lane]);
        if (found == (FANION_WINDOW_TENANT | tenant))
            return lane;
        if (found == 0) {
            *is_taken = false;
            return lane;
        }
    }
    return (uint32_t)(tenant % FANION_WINDOW_LANES);
}

/* Once the lane's first blocks are there. Whoever takes it, `fanion_window_lane` is to be asked again. */
static inline void fanion_window_take_lane(fanion_window_control *control, uint32_t lane, uint64_t tenant) {
    uint64_t nobody = 0;
    FANION_WINDOW_STEP("lane");
    fanion_u64_compare_exchange_acq_rel(&control->tenants[lane], &nobody, FANION_WINDOW_TENANT | tenant);
}

static inline uint32_t fanion_window_lanes(const fanion_window_control *control) {
    uint32_t taken = 0;
    while (taken < FANION_WINDOW_LANES && fanion_u64_load_acquire(&control->tenants[taken]))
        taken++;
    return taken;
}

#endif
