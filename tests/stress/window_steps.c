/* Every step of a reservation, cut or interrupted: what a process that dies there, and others that come in between,
 * leave behind. No threads: the interrupting step runs the other process's whole work, so each schedule is exact.
 *
 * A reserves and appends the ids X, Y, X, Z. At its step i, event e happens; at its step j > i, event f. Events: A
 * dies; B does the same ids as a whole; B reserves and dies before it appends; B reserves and gives back; the table
 * turns over; it turns over so often that A's table is used again. All of that in a window of full size, and in ones that
 * begin small and grow under other ids, early or late; and in one whose other ids are another tenant's, which takes its
 * lane before, after or between. Then dead owners' entries are swept, a client sends again what
 * wasn't acknowledged, and each id must have been kept exactly once, whatever happened; another tenant's ids, however
 * many, never make it twice.
 *
 * Prints the number of schedules; exits 1 with the first one that fails.
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void step(const char *name);
#define FANION_WINDOW_STEP(name) step(name)
#include "fanion_window.h"

enum { CAPACITY = 64, SMALL = 16, IDS = 4, WRITERS = 4, LOG = 64 };
enum size { WHOLE, GROWS, GROWS_LATE, FLOODED, SIZES };
enum { OWN = 7, FLOOD = 7 + 16, TENANTS = 2 };
enum event { NOTHING, DIES, B_KEEPS, B_DIES, B_GIVES_BACK, TURNS, TURNS_TWICE, EVENTS };
static const char *const names[] = {"nothing", "A dies", "B keeps", "B dies", "B gives back", "8 others", "many others"};

typedef struct {
    uint64_t hash[2];
} id;

static fanion_window lanes[TENANTS];
static struct {
    uint64_t sequence, count;
    id kept[LOG];
    uint64_t others[LOG]; /* how many other ids had come when it was reserved */
    bool died;
} journals[WRITERS];
static jmp_buf death;
static int steps, first, second;
static enum event at_first, at_second;
static bool inside;
static uint64_t others;
static enum size size;
static const id ids[IDS] = {{{1ull << 60, 1}}, {{1ull << 60, 2}}, {{1ull << 60, 1}}, {{9ull << 60, 3}}};

static const fanion_window *lane_of(uint64_t tenant) {
    int is_taken;
    uint32_t lane;
    while (lane = fanion_window_lane(lanes[0].control, tenant, &is_taken), !is_taken)
        fanion_window_take_lane(lanes[0].control, lane, tenant);
    return &lanes[lane];
}

/* What a dialect does. `until`: 0 reserve only, 1 reserve and give back, 2 reserve and append. Returns whether the
 * client may be told that all is kept: no duplicate points at a record that isn't there. */
static bool work(uint64_t tenant, uint64_t writer, const id *wanted, uint64_t count, int until) {
    const fanion_window *window = lane_of(tenant);
    uint8_t dispositions[IDS];
    fanion_window_entry entries[IDS];
    uint64_t sequence = journals[writer].sequence + 1;
    fanion_window_reserve(window, wanted[0].hash, count, writer, sequence, dispositions, entries);
    uint64_t reserved_at = others;
    step("append");
    bool safe = true;
    for (uint64_t i = 0; i < count; i++) {
        bool repeats = dispositions[i] == FANION_WINDOW_DUPLICATE && entries[i].locator;
        if (repeats && (!fanion_window_is_settled(window, entries[i].locator) || !fanion_window_holds(window, entries[i])))
            safe = false;
    }
    if (until == 1)
        for (uint64_t i = 0; i < count; i++)
            if (dispositions[i] == FANION_WINDOW_NEW)
                fanion_window_void(window, entries[i]);
    if (until < 2)
        return false;
    for (uint64_t i = 0; i < count; i++)
        if (dispositions[i] == FANION_WINDOW_NEW)
            journals[writer].kept[journals[writer].count] = wanted[i],
            journals[writer].others[journals[writer].count++] = reserved_at;
    journals[writer].sequence = sequence; /* the ring's head: one release store, from here on nothing is lost */
    step("settle");
    fanion_u64_raise_acq_rel(&window->control->writers[writer].settled, sequence);
    step("answer");
    return safe;
}

static id other(uint64_t number) { return (id){{number * 0x9E3779B97F4A7C15ull, 7}}; }

/* Late: the life whose end waits for it has taken 8 ids more than it should. */
static void grow(const fanion_window *window) {
    uint64_t claims = window->claims->word;
    uint64_t grown = claims >> FANION_WINDOW_COUNT_BITS, count = claims & FANION_WINDOW_COUNT_MASK;
    if (!fanion_window_wants_growth(window))
        return;
    if (size == GROWS || count >= fanion_window_end_of(window, grown) + 8)
        fanion_window_grow(window, claims);
}

static void fill(uint64_t count) {
    uint64_t tenant = size == FLOODED ? FLOOD : OWN;
    for (uint64_t i = 0; i < count; i++) {
        grow(lane_of(tenant));
        id next = other(++others);
        work(tenant, 3, &next, 1, 2);
        journals[3].count = 0;
    }
}

static void happen(enum event event) {
    inside = true;
    switch (event) {
    case DIES: journals[0].died = true; inside = false; longjmp(death, 1);
    case B_KEEPS: work(OWN, 1, ids, IDS, 2); break;
    case B_DIES: journals[2].died = true; work(OWN, 2, ids, IDS, 0); break;
    case B_GIVES_BACK: work(OWN, 1, ids, IDS, 1); break;
    case TURNS: fill(8); break;
    case TURNS_TWICE: fill(2 * CAPACITY); break;
    default: break;
    }
    inside = false;
}

static void step(const char *name) {
    (void)name;
    if (inside)
        return;
    steps++;
    if (steps == first)
        happen(at_first);
    if (steps == second)
        happen(at_second);
}

/* Whether an id was kept once, or again only after so many others that it was forgotten. */
static bool kept_once(const id *wanted) {
    uint64_t first_at = UINT64_MAX, last_at = 0, found = 0;
    for (int writer = 0; writer < 3; writer++)
        for (uint64_t i = 0; i < journals[writer].count; i++)
            if (memcmp(&journals[writer].kept[i], wanted, sizeof *wanted) == 0) {
                uint64_t at = journals[writer].others[i];
                first_at = at < first_at ? at : first_at;
                last_at = at > last_at ? at : last_at;
                found++;
            }
    return found == 1 || (size != FLOODED && found == 2 && last_at - first_at >= CAPACITY - IDS);
}

static bool schedule(void *body, uint64_t before) {
    uint64_t lane_bytes = (fanion_window_bytes(CAPACITY) - sizeof(fanion_window_control)) / FANION_WINDOW_LANES;
    memset(body, 0, sizeof(fanion_window_control) + (size == FLOODED ? TENANTS : 1) * lane_bytes);
    memset(journals, 0, sizeof journals);
    for (uint32_t lane = 0; lane < TENANTS; lane++)
        lanes[lane] = fanion_window_attach(body, CAPACITY, size == WHOLE || size == FLOODED ? CAPACITY : SMALL, lane);
    steps = 0;
    inside = true;
    others = 0;
    fill(before);
    inside = false;
    bool told = setjmp(death) == 0 && work(OWN, 0, ids, IDS, 2);
    first = second = 0;
    inside = true;
    for (uint64_t writer = 0; writer < WRITERS; writer++)
        if (journals[writer].died) {
            for (uint32_t lane = 0; lane < fanion_window_lanes(lanes[0].control); lane++)
                fanion_window_sweep(&lanes[lane], writer, journals[writer].sequence);
            fanion_u64_store_release(&lanes[0].control->writers[writer].settled, journals[writer].sequence);
        }
    for (int tries = 0; !told && tries < 3; tries++)
        told = work(OWN, 1, ids, IDS, 2);
    inside = false;
    for (int i = 0; i < IDS; i++)
        if (!told || !kept_once(&ids[i]))
            return false;
    uint64_t told_back = size == WHOLE || before < CAPACITY - 2 * IDS ? before : CAPACITY - 2 * IDS; /* A's count too */
    for (uint64_t i = 0; i < told_back; i++) { /* what others kept last is untouched */
        id last = other(others - i);
        uint8_t disposition;
        fanion_window_entry entry;
        fanion_window_reserve(lane_of(size == FLOODED ? FLOOD : OWN), last.hash, 1, 1, journals[1].sequence + 1, &disposition, &entry);
        if (disposition != FANION_WINDOW_DUPLICATE)
            return false;
    }
    return true;
}

static long schedules;

static bool schedules_after(void *body, uint64_t before) {
    for (int i = 1; i <= 24; i++)
        for (int e = 0; e < EVENTS; e++)
            for (int j = i; j <= 28; j++)
                for (int f = 0; f < EVENTS; f++) {
                    if (f == NOTHING && j > i)
                        continue;
                    first = i, second = j, at_first = e, at_second = f;
                    if (!schedule(body, before)) {
                        printf("%d before, size %d, step %d: %s, step %d: %s\n", (int)before, size, i, names[e], j, names[f]);
                        for (int k = 0; k < IDS; k++)
                            printf("  id %d: %s\n", k, kept_once(&ids[k]) ? "once" : "not once");
                        return false;
                    }
                    schedules++;
                }
    return true;
}

int main(void) {
    void *body = calloc(1, fanion_window_bytes(CAPACITY));
    for (size = WHOLE; size < SIZES; size++) {
        uint64_t from = size == WHOLE ? CAPACITY - 28 : size == FLOODED ? 0 : 4, to = CAPACITY + (size == WHOLE ? 0 : SMALL + 8);
        for (uint64_t before = from; before <= to; before += size == WHOLE ? 1 : size == FLOODED ? 8 : 4)
            if (!schedules_after(body, before))
                return 1;
    }
    printf("%ld schedules\n", schedules);
    free(body);
    return 0;
}
