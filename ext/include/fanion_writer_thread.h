/* The writer's thread: steps while there is something to do, sleeps while there is not. Never takes the GIL. */
#ifndef FANION_WRITER_THREAD_H
#define FANION_WRITER_THREAD_H

#include <poll.h>

#include "fanion_writer.h"

#define FANION_IDLE_POLL_MS 200   /* also the slowest pulse of `heartbeat` */
#define FANION_BLOCKED_POLL_MS 20 /* a lost wake-up costs this much */

/* Writer thread only. Sleeps until there is something to do; the producer wakes only a sleeper. */
static inline void fanion_writer_wait(fanion_writer *w, fanion_step step) {
    fanion_ring_control *control = w->ring->control;
    struct pollfd wake = {w->wake_fd, POLLIN, 0};
    uint64_t count;
    if (step == FANION_STEP_IDLE) {
        fanion_u64_store_relaxed(&control->sleeping.word, 1);
        fanion_fence_seq_cst();
        if (fanion_u64_load_acquire(&control->head.word) == w->read_position) poll(&wake, 1, FANION_IDLE_POLL_MS);
        fanion_u64_store_relaxed(&control->sleeping.word, 0);
    } else {
        poll(&wake, 1, FANION_BLOCKED_POLL_MS);
    }
    while (read(w->wake_fd, &count, 8) < 0 && errno == EINTR) {}
}

/* Writer thread only. Spaces syncs for disks with few operations a second. */
static inline void fanion_writer_pace(fanion_writer *w) {
    if (!w->sync_interval_ns) return;
    uint64_t since = w->io.now(w->io.context) - w->last_sync_ns;
    if (since >= w->sync_interval_ns) return;
    uint64_t rest = w->sync_interval_ns - since;
    struct timespec pause = {(time_t)(rest / 1000000000u), (long)(rest % 1000000000u)};
    nanosleep(&pause, NULL);
}

static inline void fanion_writer_run(fanion_writer *w) {
    for (;;) {
        uint32_t stop = fanion_u32_load_acquire(&w->stop);
        if (stop == 2) break;
        fanion_step step = fanion_writer_step(w);
        if (step == FANION_STEP_FATAL) break;
        if (step == FANION_STEP_PROGRESS) {
            if (!stop) fanion_writer_pace(w);
        } else if (step == FANION_STEP_IDLE && stop) {
            break;
        } else {
            fanion_writer_wait(w, step);
        }
    }
    fanion_u32_store_release(&w->ended, 1);
    fanion_writer_signal(w->durable_fd);
}

#endif
