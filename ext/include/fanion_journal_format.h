/* The journal's bytes: segment header, record header, and the checks on them. No I/O, no Python.
 *
 * The format document is the docstring of src/fanion/journal/__init__.py. The structs below are on disk: do not
 * add, drop, retype or reorder fields without a new format version. All integers are little-endian.
 */
#ifndef FANION_JOURNAL_FORMAT_H
#define FANION_JOURNAL_FORMAT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fanion_assert.h"
#include "fanion_crc32c.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the journal's integers are little-endian");

#define FANION_SEGMENT_MAGIC 0x31474F4C4E414E46ull /* "FNANLOG1" */
#define FANION_SEGMENT_VERSION 2u
#define FANION_PAGE_BYTES 4096u
#define FANION_RECORD_ALIGN 32u
#define FANION_SEGMENT_START 8192u /* page 0: header and its copy, page 1: seal; then records */
#define FANION_SEQUENCE_MAX 0x7FFFFFFFFFFFFFFEull /* one below 2^63-1, so that "next" is still a sequence */
#define FANION_RECORD_LENGTH_MAX (256u * 1024u * 1024u)

enum { FANION_KIND_EVENTS = 1, FANION_KIND_PADDING = 2, FANION_KIND_INDEX = 3, FANION_KIND_EXPOSURES = 4 };

/* At offset 0 of a segment and again at FANION_HEADER_COPY; 128 bytes, within one 512-byte sector each. */
typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t checksum;       /* CRC-32C over the other 124 bytes */
    uint8_t machine[16];     /* machine id */
    uint64_t salt;           /* random per life of the file; low half marks records, high half seeds checksums */
    uint64_t ordinal;        /* place in the writer's chain of segments, from 1 */
    uint64_t epoch;          /* of the writer, raised at each claim of its slot */
    uint64_t first_sequence; /* 0: made ready, never started */
    uint64_t life;           /* how often this file was made ready; the copy with the higher life counts */
    uint64_t created_ns;     /* wall clock, ns since 1970 */
    uint32_t writer;
    uint32_t flags;          /* 1: compressed */
    uint64_t reserved[5];
} fanion_segment_header;

_Static_assert(sizeof(fanion_segment_header) == 128, "on-disk size");
#define FANION_HEADER_COPY 3584u

/* Before each record; 32 bytes at a multiple of 32, so within one sector. */
typedef struct {
    uint32_t marker;         /* low half of the salt, never 0: zeros are the end of the log */
    uint32_t checksum;       /* CRC-32C seeded with the salt's high half, from `length` to the padded end */
    uint32_t length;         /* bytes after this header, without the padding to 32 */
    uint32_t kind_pending;   /* kind in bits 0-7; bits 8-31 in a segment: how many sequences before this one were
                                not durable when it was written; in a ring: receipt in ticks of 16 microseconds */
    uint64_t sequence;
    uint64_t received_ns;    /* wall clock, ns since 1970 */
} fanion_record_header;

_Static_assert(sizeof(fanion_record_header) == 32, "on-disk size");

/* First bytes of the payload of events, and of exposures, which have no dispositions and ids. Then dialect, environment, dispositions, ids, body, in this order. */
typedef struct {
    uint16_t dialect_bytes;
    uint16_t environment_bytes;
    uint32_t dispositions;   /* one byte per event; 0: every event is kept */
    uint32_t ids;            /* 16 bytes per event; 0: none */
    uint8_t whole;           /* 1: the request's body as received; 0: a JSON array of the kept events */
    uint8_t holes;           /* 1: events of it were erased; null stands where they stood. Read by Python alone */
    uint8_t reserved[2];
} fanion_events_header;

_Static_assert(sizeof(fanion_events_header) == 16, "on-disk size");

static inline uint64_t fanion_record_span(uint64_t length) {
    return (length + sizeof(fanion_record_header) + FANION_RECORD_ALIGN - 1) & ~(uint64_t)(FANION_RECORD_ALIGN - 1);
}

static inline uint32_t fanion_record_checksum(const fanion_record_header *record, uint64_t salt) {
    return fanion_crc32c((uint32_t)(salt >> 32), (const uint8_t *)record + 8,
                         fanion_record_span(record->length) - 8);
}

/* Marker and checksum of a record whose other bytes are in place, padding zeroed. */
static inline void fanion_record_stamp(fanion_record_header *record, uint64_t salt) {
    record->marker = (uint32_t)salt;
    record->checksum = fanion_record_checksum(record, salt);
}

/* Whether a whole record of this salt starts at `bytes`, of which `available` are there.
 * 1: yes; 0: no; -1: its marker and length are plausible but it ends beyond what is there. */
static inline int fanion_record_verify(const uint8_t *bytes, uint64_t available, uint64_t salt) {
    const fanion_record_header *record = (const fanion_record_header *)bytes;
    if (available < sizeof(fanion_record_header)) return -1;
    if (record->marker != (uint32_t)salt || record->length > FANION_RECORD_LENGTH_MAX) return 0;
    if (fanion_record_span(record->length) > available) return -1;
    return record->checksum == fanion_record_checksum(record, salt);
}

static inline uint32_t fanion_header_checksum(const fanion_segment_header *header) {
    uint32_t before = fanion_crc32c(0, header, offsetof(fanion_segment_header, checksum));
    return fanion_crc32c(before, header->machine, sizeof *header - offsetof(fanion_segment_header, machine));
}

/* Fills one page with the header and its copy. */
static inline void fanion_header_page(uint8_t page[FANION_PAGE_BYTES], const fanion_segment_header *header) {
    fanion_segment_header whole = *header;
    whole.checksum = fanion_header_checksum(&whole);
    memset(page, 0, FANION_PAGE_BYTES);
    memcpy(page, &whole, sizeof whole);
    memcpy(page + FANION_HEADER_COPY, &whole, sizeof whole);
}

#define FANION_WALK_END 0     /* nothing valid with the wanted sequence here */
#define FANION_WALK_MORE 1    /* a plausible record ends beyond the window */
#define FANION_WALK_LIMIT 2   /* the next sequence is the limit */
#define FANION_WALK_INDEX 3   /* the index footer: the end of a sealed segment */

typedef struct {
    uint64_t offset;         /* in: where to start; out: behind the last record taken, in bytes of the window */
    uint64_t sequence;       /* in: the sequence wanted; out: the next one wanted */
    uint64_t durable;        /* out: the highest sequence that some record proves to have been durable */
    uint64_t first_ns;       /* out: smallest and largest receipt time of records taken */
    uint64_t last_ns;
    uint64_t records;        /* out: added to */
} fanion_walk_state;

/* Walks records of consecutive sequences. Does not need the GIL. */
static inline int fanion_walk(const uint8_t *bytes, uint64_t available, uint64_t salt, uint64_t limit,
                              fanion_walk_state *state) {
    for (;;) {
        FANION_ASSERT(state->offset <= available);
        uint64_t left = available - state->offset;
        const fanion_record_header *record = (const fanion_record_header *)(bytes + state->offset);
        if (state->sequence >= limit) return FANION_WALK_LIMIT;
        int valid = fanion_record_verify(bytes + state->offset, left, salt);
        if (valid < 0) return FANION_WALK_MORE;
        if (!valid || record->sequence != state->sequence) return FANION_WALK_END;
        if ((record->kind_pending & 0xFF) == FANION_KIND_INDEX) return FANION_WALK_INDEX;
        uint64_t pending = record->kind_pending >> 8;
        if (pending < 0xFFFFFF && record->sequence > pending && record->sequence - 1 - pending > state->durable)
            state->durable = record->sequence - 1 - pending;
        if (record->received_ns < state->first_ns) state->first_ns = record->received_ns;
        if (record->received_ns > state->last_ns) state->last_ns = record->received_ns;
        state->records++;
        state->sequence++;
        state->offset += fanion_record_span(record->length);
    }
}

/* The first offset at or after `offset` (a multiple of 32) where a valid record with above < sequence < below
 * starts, or `available` when there is none. A record that ends beyond the window counts as none, unless
 * `partial` is given: then it receives the offset of the first such candidate. */
static inline uint64_t fanion_resync(const uint8_t *bytes, uint64_t available, uint64_t offset, uint64_t salt,
                                     uint64_t above, uint64_t below, uint64_t *partial) {
    uint32_t marker = (uint32_t)salt;
    if (partial) *partial = available;
    for (; offset + sizeof(fanion_record_header) <= available; offset += FANION_RECORD_ALIGN) {
        const fanion_record_header *record = (const fanion_record_header *)(bytes + offset);
        if (record->marker != marker || record->sequence <= above || record->sequence >= below) continue;
        int valid = fanion_record_verify(bytes + offset, available - offset, salt);
        if (valid > 0) return offset;
        if (valid < 0 && partial && *partial == available) *partial = offset;
    }
    return available;
}

#endif
