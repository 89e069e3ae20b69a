/* The writer: ring to log segments, one fdatasync per drain. Pure C, never takes the GIL. Long: one thread's work.
 *
 * The writer creates, renames and unlinks nothing. The steward (a thread of the same process, outside) offers
 * segments that are ready and takes back those that are done; both lists are short and behind one mutex that is
 * held for a few instructions. One rule covers every failure: the ring holds exactly what must be written again.
 * A record leaves the ring when it is durable and the page that holds its last byte will not be written again;
 * so after a failed pwrite or fdatasync the segment is given up and everything still in the ring goes to another.
 *
 * `fanion_writer_step` does one drain and needs no thread; the thread is in fanion_writer_thread.h.
 */
#ifndef FANION_WRITER_H
#define FANION_WRITER_H

#include "fanion_io.h"
#include "fanion_ring.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#define FANION_OFFERS_MAX 8
#define FANION_RETIRED_MAX 64
#define FANION_FAILURE_RING 0x10000u /* the ring's own memory does not verify; the process must be replaced */

typedef struct {
    int fd;
    uint64_t size;                  /* bytes made ready; a record that would end behind asks for the next segment */
    fanion_segment_header header;   /* first_sequence is set when started */
} fanion_offer;

typedef struct {
    int fd;
    uint64_t ordinal;
    uint64_t first_sequence;
    uint64_t end_sequence;          /* first sequence that is not in it, as far as it is durable */
    uint64_t end_offset;
    int failure;                    /* 0, or the errno that ended it: not to be trusted beyond end_sequence */
} fanion_retired;

typedef enum { FANION_STEP_IDLE, FANION_STEP_PROGRESS, FANION_STEP_BLOCKED, FANION_STEP_FATAL } fanion_step;

typedef struct {
    fanion_ring *ring;              /* borrowed; outlives the writer */
    fanion_io io;
    uint8_t *staging;
    uint64_t staging_bytes;         /* one group at most, or one record */
    uint64_t sync_interval_ns;
    int wake_fd, durable_fd, steward_fd;
    /* writer thread only */
    uint64_t read_position, read_sequence;        /* next record to write */
    uint64_t free_position, free_sequence;        /* last record that left the ring */
    uint64_t free_offset;                         /* where the next record to leave lies in the segment */
    uint64_t offset, durable_offset, durable_sequence, started_sequence;
    uint64_t last_sync_ns;
    bool open, started, grew, asked; /* in use; header names its first sequence; outgrew its size; a quarter is used */
    fanion_offer segment;
    /* shared with the steward, behind `lock` */
    pthread_mutex_t lock;
    fanion_offer offers[FANION_OFFERS_MAX];
    fanion_retired retired[FANION_RETIRED_MAX];
    uint32_t offers_count, retired_count;
    /* thread */
    pthread_t thread;
    bool threaded;
    uint32_t stop;                  /* atomic; 1: end when drained, 2: end now */
    uint32_t ended;                 /* atomic; 1: the thread has left */
    uint32_t blocked;               /* atomic; 1: records wait and there is no segment for them */
    uint32_t turn;                  /* atomic; 1, from the steward: the next record begins the next segment */
} fanion_writer;

static inline void fanion_writer_signal(int fd) {
    uint64_t one = 1;
    if (fd >= 0) while (write(fd, &one, 8) < 0 && errno == EINTR) {}
}

static inline int fanion_writer_init(fanion_writer *w, fanion_ring *ring, const fanion_io *io, uint64_t staging_bytes,
                                     uint64_t sync_interval_ns, uint64_t durable_sequence) {
    memset(w, 0, sizeof *w);
    w->ring = ring;
    w->io = *io;
    w->staging_bytes = staging_bytes;
    w->sync_interval_ns = sync_interval_ns;
    w->read_sequence = durable_sequence + 1;
    w->free_sequence = w->durable_sequence = durable_sequence;
    w->segment.fd = w->wake_fd = w->durable_fd = w->steward_fd = -1;
    if (posix_memalign((void **)&w->staging, FANION_PAGE_BYTES, staging_bytes)) return -ENOMEM;
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->durable_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->steward_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&w->lock, NULL);
    if (w->wake_fd < 0 || w->durable_fd < 0 || w->steward_fd < 0) return -errno;
    return 0;
}

/* After the thread has ended. Segment files stay with whoever made them. */
static inline void fanion_writer_free(fanion_writer *w) {
    int fds[3] = {w->wake_fd, w->durable_fd, w->steward_fd};
    for (int i = 0; i < 3; i++) if (fds[i] >= 0) close(fds[i]);
    free(w->staging);
    pthread_mutex_destroy(&w->lock);
}

/* Steward only. 0, or -EAGAIN when the list is full. */
static inline int fanion_writer_offer(fanion_writer *w, const fanion_offer *offer) {
    int result = -EAGAIN;
    pthread_mutex_lock(&w->lock);
    if (w->offers_count < FANION_OFFERS_MAX) {
        w->offers[w->offers_count++] = *offer;
        result = 0;
    }
    pthread_mutex_unlock(&w->lock);
    fanion_writer_signal(w->wake_fd);
    return result;
}

/* Steward only. Moves the retired segments to `out`; returns how many. */
static inline uint32_t fanion_writer_take_retired(fanion_writer *w, fanion_retired out[FANION_RETIRED_MAX]) {
    pthread_mutex_lock(&w->lock);
    uint32_t count = w->retired_count;
    memcpy(out, w->retired, count * sizeof *out);
    w->retired_count = 0;
    pthread_mutex_unlock(&w->lock);
    return count;
}

/* Retires the current segment and starts with the next offer, if both are possible. */
static inline bool fanion_writer_exchange(fanion_writer *w, int failure) {
    pthread_mutex_lock(&w->lock);
    bool possible = w->retired_count < FANION_RETIRED_MAX && (failure || w->offers_count > 0);
    if (possible && w->open) {
        fanion_retired *r = &w->retired[w->retired_count++];
        *r = (fanion_retired){w->segment.fd, w->segment.header.ordinal, w->segment.header.first_sequence,
                              w->started_sequence, w->durable_offset, failure};
        w->open = false;
    }
    if (possible && !failure) {
        w->segment = w->offers[0];
        memmove(w->offers, w->offers + 1, --w->offers_count * sizeof *w->offers);
    }
    pthread_mutex_unlock(&w->lock);
    return possible;
}

/* The segment is no longer trusted; what the ring holds is to be written again. */
static inline fanion_step fanion_writer_give_up(fanion_writer *w, int error) {
    fanion_u64_count_relaxed(&w->ring->counters->failures, 1);
    fanion_u64_count_relaxed(&w->ring->counters->rewritten, w->read_sequence - 1 - w->free_sequence);
    fanion_u64_store_release(&w->ring->control->failure.word, (uint64_t)-error);
    fanion_writer_exchange(w, -error);
    w->open = false;
    w->read_position = w->free_position;
    w->read_sequence = w->free_sequence + 1;
    fanion_u32_store_release(&w->blocked, 1);
    fanion_writer_signal(w->steward_fd);
    fanion_writer_signal(w->durable_fd); /* the event loop looks what is durable; `failure` is the steward's */
    return FANION_STEP_BLOCKED;
}

static inline int fanion_writer_sync(fanion_writer *w) {
    uint64_t before = w->io.now(w->io.context);
    int error;
    do error = w->io.fdatasync(w->io.context, w->segment.fd);
    while (error == -EINTR);
    if (error < 0) return error;
    /* Synced to a file without a name is synced to nothing: the directory was deleted under us. */
    int64_t links = w->io.links(w->io.context, w->segment.fd);
    if (links <= 0) return links < 0 ? (int)links : -ENOENT;
    w->last_sync_ns = w->io.now(w->io.context);
    uint64_t us = (w->last_sync_ns - before) / 1000;
    fanion_u64_count_relaxed(&w->ring->counters->syncs, 1);
    fanion_u64_count_relaxed(&w->ring->counters->sync_us, us);
    fanion_u64_count_relaxed(&w->ring->counters->sync_time[fanion_histogram_bucket(us)], 1);
    return 0;
}

/* Everything written is durable here, or the last segment was given up. Takes the next segment, if one is ready.
 * Its header says "made ready" until its first group is durable. */
static inline bool fanion_writer_next_segment(fanion_writer *w) {
    bool rotation = w->open;
    if (!fanion_writer_exchange(w, 0)) return false;
    if (rotation) {
        fanion_u64_count_relaxed(&w->ring->counters->rotations, 1);
        w->free_position = w->read_position;
        w->free_sequence = w->read_sequence - 1;
        fanion_u64_store_relaxed(&w->ring->control->freed_sequence.word, w->free_sequence);
        fanion_u64_store_release(&w->ring->control->freed.word, w->free_position);
    }
    w->open = true;
    w->started = w->grew = w->asked = false;
    w->started_sequence = w->read_sequence;
    w->segment.header.first_sequence = w->read_sequence;
    w->free_offset = w->offset = w->durable_offset = FANION_SEGMENT_START;
    fanion_writer_signal(w->steward_fd);
    return true;
}

/* The first group is durable: now the header may say that the segment holds it. In this order, because the header
 * also says that earlier segments hold nothing from its first sequence on. 0 or a negative errno. */
static inline int fanion_writer_start_segment(fanion_writer *w) {
    uint8_t page[FANION_PAGE_BYTES];
    fanion_header_page(page, &w->segment.header);
    int error = fanion_io_write(&w->io, w->segment.fd, page, sizeof page, 0);
    if (!error) error = fanion_writer_sync(w);
    w->started = !error;
    return error;
}

/* Copies whole records from the ring to staging, stamped for the segment. Returns their bytes; *rotate is set
 * when the first one should go to the next segment; -1: the ring does not verify. */
static inline int64_t fanion_writer_collect(fanion_writer *w, uint64_t head, bool may_grow, bool *rotate) {
    uint64_t staged = 0, salt = w->segment.header.salt;
    fanion_record_header *record;
    *rotate = false;
    while ((record = fanion_ring_at(w->ring, &w->read_position, head))) {
        uint64_t room = w->ring->capacity - w->read_position % w->ring->capacity;
        uint64_t span = fanion_record_span(record->length);
        if (fanion_record_verify((uint8_t *)record, room, w->ring->salt) != 1 || span > w->staging_bytes ||
            record->sequence != w->read_sequence)
            return -1;
        if (staged + span > w->staging_bytes) break;
        uint64_t end = w->offset + staged + span;
        if (end > w->segment.size && !may_grow && end - span > FANION_SEGMENT_START) {
            *rotate = staged == 0;
            break;
        }
        fanion_record_header *copy = (fanion_record_header *)(w->staging + staged);
        memcpy(copy, record, span);
        uint64_t pending = record->sequence - w->started_sequence;
        copy->kind_pending = (record->kind_pending & 0xFF) | (uint32_t)((pending < 0xFFFFFF ? pending : 0xFFFFFF) << 8);
        fanion_record_stamp(copy, salt);
        staged += span;
        w->read_position += span;
        w->read_sequence++;
    }
    return (int64_t)staged;
}

/* Lets go of the records whose last page is complete, and measures those that became durable just now (a record
 * written again after a failure may have been durable before). */
static inline void fanion_writer_release(fanion_writer *w, uint64_t from, uint64_t durable_before) {
    fanion_ring_counters *counters = w->ring->counters;
    fanion_record_header *record;
    uint32_t now = fanion_receipt_ticks(w->last_sync_ns);
    fanion_u64_count_relaxed(&counters->records, w->durable_sequence - durable_before);
    while ((record = fanion_ring_at(w->ring, &from, w->read_position))) {
        if (record->sequence <= durable_before) {
            from += fanion_record_span(record->length);
            continue;
        }
        if ((record->kind_pending & 0xFF) == FANION_KIND_EVENTS) { /* nobody waits for others, nor is the writer woken */
            uint64_t us = (uint64_t)((now - (record->kind_pending >> 8)) & 0xFFFFFF) * 16;
            fanion_u64_count_relaxed(&counters->receipt_to_durable[fanion_histogram_bucket(us)], 1);
            fanion_u64_count_relaxed(&counters->latency_us, us);
        }
        from += fanion_record_span(record->length);
    }
    uint64_t complete = w->durable_offset & ~(uint64_t)(FANION_PAGE_BYTES - 1);
    while ((record = fanion_ring_at(w->ring, &w->free_position, w->read_position))) {
        uint64_t span = fanion_record_span(record->length);
        if (w->free_offset + span > complete) break;
        w->free_offset += span;
        w->free_position += span;
        w->free_sequence = record->sequence;
    }
    fanion_u64_store_relaxed(&w->ring->control->freed_sequence.word, w->free_sequence);
    fanion_u64_store_release(&w->ring->control->freed.word, w->free_position);
}

/* Stages the next group into a segment that has room for it, taking the next segment where needed.
 * Returns its bytes (0: blocked until a segment is offered); -1: the ring does not verify. */
static inline int64_t fanion_writer_stage(fanion_writer *w, uint64_t head) {
    bool rotate;
    if (!w->open && !fanion_writer_next_segment(w)) return 0;
    /* All that was written is durable here, so the segment can end; one that just began is fresh. */
    if (fanion_u32_load_acquire(&w->turn) && (!w->started || fanion_writer_next_segment(w)))
        fanion_u32_store_release(&w->turn, 0);
    int64_t staged = fanion_writer_collect(w, head, false, &rotate);
    if (staged || !rotate) return staged;
    bool next = fanion_writer_next_segment(w);
    if (!next && !w->grew) {
        w->grew = true; /* none is ready: the file grows, counted */
        fanion_u64_count_relaxed(&w->ring->counters->growing, 1);
    }
    return fanion_writer_collect(w, head, !next, &rotate);
}

/* One drain: what the ring holds, at most one group, written and synced. */
static inline fanion_step fanion_writer_step(fanion_writer *w) {
    fanion_ring_control *control = w->ring->control;
    fanion_u64_store_relaxed(&control->heartbeat.word, w->io.now(w->io.context));
    uint64_t head = fanion_u64_load_acquire(&control->head.word);
    uint64_t from = w->read_position, durable_before = w->durable_sequence;
    if (!fanion_ring_at(w->ring, &from, head)) return FANION_STEP_IDLE;
    int64_t staged = fanion_writer_stage(w, head);
    if (staged < 0) {
        fanion_u64_store_release(&control->failure.word, FANION_FAILURE_RING);
        fanion_writer_signal(w->durable_fd);
        return FANION_STEP_FATAL;
    }
    fanion_u32_store_release(&w->blocked, staged == 0);
    if (staged == 0) {
        fanion_writer_signal(w->steward_fd);
        return FANION_STEP_BLOCKED;
    }
    int error = fanion_io_write(&w->io, w->segment.fd, w->staging, (uint64_t)staged, w->offset);
    if (!error) error = fanion_writer_sync(w);
    if (!error && !w->started) error = fanion_writer_start_segment(w);
    if (error) return fanion_writer_give_up(w, error);
    w->offset += (uint64_t)staged;
    w->durable_offset = w->offset;
    w->started_sequence = w->read_sequence;
    fanion_u64_count_relaxed(&w->ring->counters->bytes, (uint64_t)staged);
    fanion_u64_store_relaxed(&control->segment_bytes.word, w->offset);
    if (w->read_sequence - 1 > w->durable_sequence) w->durable_sequence = w->read_sequence - 1;
    fanion_u64_store_release(&control->durable.word, w->durable_sequence);
    fanion_u64_store_release(&control->failure.word, 0);
    fanion_writer_release(w, from, durable_before);
    fanion_writer_signal(w->durable_fd);
    if (!w->asked && w->offset >= w->segment.size / 4) {
        w->asked = true;
        fanion_writer_signal(w->steward_fd);
    }
    return FANION_STEP_PROGRESS;
}

#endif
