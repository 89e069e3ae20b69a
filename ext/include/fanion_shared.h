/* Layouts and algorithms of the files that all workers map: header, limiter slots. No Python, no allocation.
 *
 * A shared file is one header page and a body:
 *
 *   0     8  magic "FANIONSH"
 *   8     4  kind        what the body is, FANION_SHARED_*
 *   12    4  version     of that kind's layout
 *   16    8  body_bytes
 *   24    8  layout      the kind's own fingerprint (slot count, catalogue)
 *   32   16  boot_id     the boot in which the body was last zeroed (kinds that don't outlive a boot)
 *   48       zero up to 4096, where the body begins
 *
 * The whole file is allocated and written before it gets its name, and never changes its size: touching a page
 * that isn't there is a SIGBUS. (A kind that grows allocates its blocks before it touches them.) Do not add, drop, retype or reorder a field without a new version.
 */
#ifndef FANION_SHARED_H
#define FANION_SHARED_H

#include <fcntl.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "fanion_atomics.h"

#define FANION_SHARED_MAGIC "FANIONSH"
#define FANION_SHARED_HEADER_BYTES 4096

typedef struct {
    char magic[8];
    uint32_t kind;
    uint32_t version;
    uint64_t body_bytes;
    uint64_t layout;
    uint8_t boot_id[16];
} fanion_shared_header;

_Static_assert(sizeof(fanion_shared_header) == 48, "the header's layout is fixed");

#ifndef F_OFD_SETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif

/* Locks that belong to the open file, not to the process: no close elsewhere drops them. */
static inline int fanion_lock_byte(int fd, long offset) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = offset, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &lock);
}

static inline int fanion_unlock_byte(int fd, long offset) {
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = offset, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &lock);
}

/* 1: held through another open file; 0: free, or held through this one; -1: errno. */
static inline int fanion_byte_is_locked(int fd, long offset) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = offset, .l_len = 1};
    if (fcntl(fd, F_OFD_GETLK, &lock) != 0)
        return -1;
    return lock.l_type != F_UNLCK;
}

static inline uint64_t fanion_clock_boottime_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Metric series: a directory of names beside the rows, appended under the file's lock, read without one.
 *
 * `entries` counts the finished entries: stored with release after an entry is whole, read with acquire. An entry
 * never changes again, so a process may keep a cell's number for its life. */
#define FANION_SERIES_NAME_BYTES 184

typedef struct {
    uint64_t entries;
    uint8_t unused[FANION_WORD_SPACING - 8];
} fanion_series_head;

typedef struct {
    uint32_t cell;
    uint32_t width;
    char name[FANION_SERIES_NAME_BYTES]; /* zero-padded */
} fanion_series;

_Static_assert(sizeof(fanion_series_head) == FANION_WORD_SPACING, "entries start on a line of their own");
_Static_assert(sizeof(fanion_series) == 192, "an entry's layout is fixed");

/* Rate limiter: GCRA (a token bucket in one word) in a hash table with bounded probing.
 *
 * `arrival_ns` is the theoretical arrival time, CLOCK_BOOTTIME: the moment at which the scope has its whole burst
 * again. Every worker reads and compare-exchanges both words; nobody ever waits.
 *
 * A slot whose scope has recovered is as good as empty and may be taken over. Two races are left open, since
 * closing them would need a lock and each costs at most one burst of one scope: a taker that found its slot just
 * before a take-over charges the new owner with one request, and two takers that claim different slots for one
 * scope at once count separately until the later slot recovers (the rescan after a claim makes this rare).
 */
#define FANION_LIMITER_PROBES 8
#define FANION_LIMITER_GRACE_NS 1000000000u

typedef struct {
    uint64_t scope; /* 0: empty; acquire/acq_rel by all workers */
    uint64_t arrival_ns; /* as above */
} fanion_limiter_slot;

_Static_assert(sizeof(fanion_limiter_slot) == 16, "a slot never crosses a cache line");

static inline fanion_limiter_slot *fanion_limiter_find(fanion_limiter_slot *slots, uint64_t mask, uint64_t scope,
                                                       uint64_t probes) {
    for (uint64_t probe = 0; probe < probes; probe++) {
        fanion_limiter_slot *slot = &slots[(scope + probe) & mask];
        if (fanion_u64_load_acquire(&slot->scope) == scope) {
            return slot;
        }
    }
    return NULL;
}

/* Takes over an empty or recovered slot, else the one that recovers first. Returns NULL when another worker was
 * quicker: look again. */
static inline fanion_limiter_slot *fanion_limiter_claim(fanion_limiter_slot *slots, uint64_t mask, uint64_t scope,
                                                        uint64_t now_ns) {
    fanion_limiter_slot *best = NULL;
    uint64_t best_scope = 0, best_arrival = UINT64_MAX, best_probe = 0;
    for (uint64_t probe = 0; probe < FANION_LIMITER_PROBES; probe++) {
        fanion_limiter_slot *slot = &slots[(scope + probe) & mask];
        uint64_t owner = fanion_u64_load_acquire(&slot->scope);
        uint64_t arrival = owner == 0 ? 0 : fanion_u64_load_acquire(&slot->arrival_ns);
        if (best == NULL || arrival < best_arrival) {
            best = slot;
            best_scope = owner;
            best_arrival = arrival;
            best_probe = probe;
        }
        if (owner == 0 || arrival + FANION_LIMITER_GRACE_NS <= now_ns) {
            break;
        }
    }
    if (!fanion_u64_compare_exchange_acq_rel(&best->scope, &best_scope, scope)) {
        return NULL;
    }
    if (best_arrival > now_ns) { /* the old owner's debt isn't the new one's; whoever used the slot since keeps it */
        fanion_u64_compare_exchange_acq_rel(&best->arrival_ns, &best_arrival, now_ns);
    }
    fanion_limiter_slot *earlier = fanion_limiter_find(slots, mask, scope, best_probe);
    return earlier != NULL ? earlier : best;
}

/* 0: allowed and counted; else the nanoseconds after which the same request would be allowed.
 * `cost_ns` <= `burst_ns`; both far below 2^63. */
static inline uint64_t fanion_limiter_take(fanion_limiter_slot *slots, uint64_t mask, uint64_t scope, uint64_t now_ns,
                                           uint64_t cost_ns, uint64_t burst_ns) {
    fanion_limiter_slot *slot = NULL;
    while (slot == NULL) {
        slot = fanion_limiter_find(slots, mask, scope, FANION_LIMITER_PROBES);
        if (slot == NULL) {
            slot = fanion_limiter_claim(slots, mask, scope, now_ns);
        }
    }
    uint64_t arrival = fanion_u64_load_acquire(&slot->arrival_ns);
    for (;;) {
        uint64_t start = arrival > now_ns ? arrival : now_ns;
        if (start > now_ns + burst_ns) { /* the limit was lowered since: nobody owes more than one burst */
            start = now_ns + burst_ns;
        }
        uint64_t next = start + cost_ns;
        if (next > now_ns + burst_ns) {
            return next - now_ns - burst_ns;
        }
        if (fanion_u64_compare_exchange_acq_rel(&slot->arrival_ns, &arrival, next)) {
            return 0;
        }
    }
}

#endif
