/* The ring: records on their way from the event loop to the writer thread, in a file mapped MAP_SHARED.
 *
 * One producer (the event loop's thread), one consumer (the writer thread). A record lies in one piece; when it
 * does not fit before the end, a padding record (header only) sends both sides back to the start. Positions only
 * grow; a position's place in the data is position % capacity. Nothing blocks and nothing allocates: a full
 * ring refuses. Bytes of the map outlive the process, so a record counts as taken once `head` is stored.
 *
 * Who writes each control word, who reads it, and what pairs with what:
 *   head            producer, release    writer thread, acquire: the records below it are whole
 *   head_sequence   producer, before head's release; read after head's acquire
 *   freed           writer, release      producer, acquire: the bytes below it may be overwritten
 *   freed_sequence  writer, before freed's release; read by recovery alone, as a hint
 *   durable         writer, release      event loop and readers in other processes, acquire
 *   sleeping        writer stores, full fence, re-reads head; producer stores head, full fence, reads sleeping
 *   heartbeat       writer, relaxed      steward, relaxed: only its age counts
 *   failure         writer, release      steward, acquire: errno of the last failed write, 0 when well
 *   refuse          steward, release     producer, acquire: reasons to take nothing (space, directory)
 *   segment_bytes   writer, relaxed      steward, relaxed: fill of the current segment
 * After a crash all of them are hints: recovery believes only records with valid checksums.
 */
#ifndef FANION_RING_H
#define FANION_RING_H

#include <stdbool.h>

#include "fanion_assert.h"
#include "fanion_atomics.h"
#include "fanion_journal_format.h"

#define FANION_RING_DATA 20480u /* page 0: identity, page 1: control words, pages 2-4: counters; then data */

/* Page 0; written before the ring is used, constant while it is. On disk: versioned as the segment header is. */
typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t checksum;      /* CRC-32C over the other 60 bytes */
    uint8_t machine[16];
    uint64_t salt;          /* of the records in this ring; new at each claim */
    uint64_t epoch;
    uint64_t capacity;      /* bytes of data, a multiple of 4096 */
    uint32_t writer;
    uint32_t reserved;
} fanion_ring_identity;

_Static_assert(sizeof(fanion_ring_identity) == 64, "on-disk size");

typedef struct {
    fanion_line head, head_sequence, freed, freed_sequence, durable, sleeping, heartbeat, failure, refuse,
        segment_bytes;
} fanion_ring_control;

_Static_assert(sizeof(fanion_ring_control) <= 4096, "the control words have one page");

#define FANION_HISTOGRAM_BUCKETS 192 /* 8 per power of two of microseconds: upper bounds within 12.5 % */

/* Pages 2-4; each word has one writer (named), is relaxed, and starts at 0 with each claim. */
typedef struct {
    uint64_t records;       /* writer: made durable */
    uint64_t bytes;         /* writer: of these, as written */
    uint64_t syncs;         /* writer: fdatasync calls that succeeded */
    uint64_t failures;      /* writer: failed pwrite or fdatasync calls, each poisons a segment */
    uint64_t rotations;     /* writer */
    uint64_t growing;       /* writer: segments that outgrew their size because none was ready */
    uint64_t rewritten;     /* writer: records written again after a failure */
    uint64_t sync_us;       /* writer: time within fdatasync, microseconds */
    uint64_t priority;      /* writer thread: 3 SCHED_FIFO, 2 nice -10, 1 short slice, 0 none */
    uint64_t latency_us;    /* writer: sum of receipt -> durable */
    uint64_t unused[6];
    uint64_t refused;       /* producer: appends refused */
    uint64_t appended;      /* producer: records taken */
    uint64_t appended_bytes;/* producer */
    uint64_t unused_producer[13];
    uint64_t receipt_to_durable[FANION_HISTOGRAM_BUCKETS]; /* writer: records by microseconds */
    uint64_t sync_time[FANION_HISTOGRAM_BUCKETS];          /* writer: fdatasync calls by microseconds */
} fanion_ring_counters;

_Static_assert(sizeof(fanion_ring_counters) <= 12288, "the counters have three pages");

typedef struct {
    uint8_t *data;                  /* borrowed from the map until it is unmapped */
    fanion_ring_control *control;   /* as data */
    fanion_ring_counters *counters; /* as data */
    uint64_t capacity;
    uint64_t salt;
    /* producer only */
    uint64_t head;
    uint64_t next_sequence;
    uint64_t shed_bytes;            /* fill at which records are refused */
    uint64_t reserved_span;         /* of the record being filled in; 0: none */
    uint64_t reserved_padding;
} fanion_ring;

/* Bucket of a duration: index of the upper bound below. */
static inline uint32_t fanion_histogram_bucket(uint64_t us) {
    if (us < 8) return (uint32_t)us;
    uint32_t power = 63 - (uint32_t)__builtin_clzll(us);
    uint32_t bucket = (power - 2) * 8 + (uint32_t)((us >> (power - 3)) & 7);
    return bucket < FANION_HISTOGRAM_BUCKETS ? bucket : FANION_HISTOGRAM_BUCKETS - 1;
}

/* The first duration, in microseconds, that no longer belongs to the bucket. */
static inline uint64_t fanion_histogram_bound(uint32_t bucket) {
    if (bucket < 8) return bucket + 1;
    uint32_t power = bucket / 8 + 2;
    return ((uint64_t)(bucket % 8 + 9)) << (power - 3);
}

static inline uint32_t fanion_receipt_ticks(uint64_t monotonic_ns) { return (uint32_t)((monotonic_ns / 16000) & 0xFFFFFF); }

static inline void fanion_ring_attach(fanion_ring *ring, uint8_t *map, uint64_t capacity, uint64_t salt) {
    memset(ring, 0, sizeof *ring);
    ring->control = (fanion_ring_control *)(map + 4096);
    ring->counters = (fanion_ring_counters *)(map + 8192);
    ring->data = map + FANION_RING_DATA;
    ring->capacity = capacity;
    ring->salt = salt;
    ring->shed_bytes = capacity / 10 * 9;
    ring->head = fanion_u64_load_acquire(&ring->control->head.word);
    ring->next_sequence = fanion_u64_load_relaxed(&ring->control->head_sequence.word) + 1;
}

static inline uint64_t fanion_ring_used(const fanion_ring *ring) {
    uint64_t freed = fanion_u64_load_acquire(&ring->control->freed.word);
    return fanion_u64_load_acquire(&ring->control->head.word) - freed;
}

/* Producer only. Room for a record with `length` payload bytes, or NULL when the ring takes no more. The caller
 * fills the payload and then publishes, or forgets the reservation by reserving again. */
static inline uint8_t *fanion_ring_reserve(fanion_ring *ring, uint64_t length) {
    uint64_t span = fanion_record_span(length);
    uint64_t place = ring->head % ring->capacity;
    uint64_t padding = span > ring->capacity - place ? ring->capacity - place : 0;
    uint64_t used = ring->head - fanion_u64_load_acquire(&ring->control->freed.word);
    ring->reserved_span = 0;
    if (length > FANION_RECORD_LENGTH_MAX || used + padding + span > ring->shed_bytes) return NULL;
    if (ring->next_sequence > FANION_SEQUENCE_MAX) return NULL;
    ring->reserved_span = span;
    ring->reserved_padding = padding;
    FANION_ASSERT((padding ? 0 : place) + span <= ring->capacity);
    fanion_record_header *record = (fanion_record_header *)(ring->data + (padding ? 0 : place));
    /* The last bytes of the span are padding or payload; the payload overwrites what is its own. */
    memset((uint8_t *)record + span - FANION_RECORD_ALIGN, 0, FANION_RECORD_ALIGN);
    record->length = (uint32_t)length;
    return (uint8_t *)record + sizeof(fanion_record_header);
}

/* Producer only, after reserve: stamps the record and makes it visible. Returns its sequence. */
static inline uint64_t fanion_ring_publish(fanion_ring *ring, uint32_t kind, uint64_t received_ns, uint32_t ticks) {
    if (ring->reserved_padding) {
        fanion_record_header *pad = (fanion_record_header *)(ring->data + ring->head % ring->capacity);
        memset(pad, 0, sizeof *pad);
        pad->kind_pending = FANION_KIND_PADDING;
        pad->sequence = ring->next_sequence;
        fanion_record_stamp(pad, ring->salt);
        ring->head += ring->reserved_padding;
    }
    fanion_record_header *record = (fanion_record_header *)(ring->data + ring->head % ring->capacity);
    FANION_ASSERT(ring->reserved_span != 0 && fanion_record_span(record->length) == ring->reserved_span);
    FANION_ASSERT(ring->head % ring->capacity + ring->reserved_span <= ring->capacity);
    record->kind_pending = kind | (ticks << 8);
    record->sequence = ring->next_sequence;
    record->received_ns = received_ns;
    fanion_record_stamp(record, ring->salt);
    ring->head += ring->reserved_span;
    fanion_u64_count_relaxed(&ring->counters->appended, 1);
    fanion_u64_count_relaxed(&ring->counters->appended_bytes, ring->reserved_span);
    ring->reserved_span = 0;
    fanion_u64_store_relaxed(&ring->control->head_sequence.word, ring->next_sequence);
    fanion_u64_store_release(&ring->control->head.word, ring->head);
    return ring->next_sequence++;
}

/* Producer only, after publish: whether the writer thread has to be woken. */
static inline bool fanion_ring_sleeping(fanion_ring *ring) {
    fanion_fence_seq_cst();
    return fanion_u64_load_relaxed(&ring->control->sleeping.word) != 0;
}

/* Consumer only. The record at `position`, padding skipped by moving *position; NULL at `head`. */
static inline fanion_record_header *fanion_ring_at(const fanion_ring *ring, uint64_t *position, uint64_t head) {
    while (*position < head) {
        uint64_t place = *position % ring->capacity;
        fanion_record_header *record = (fanion_record_header *)(ring->data + place);
        if ((record->kind_pending & 0xFF) != FANION_KIND_PADDING) return record;
        *position += ring->capacity - place;
    }
    return NULL;
}

#endif
