/* Ring and writer under three real threads and a failing disk, for the sanitizers; needs no Python.
 *
 * A producer appends records of random sizes and waits for none; the writer drains them; a steward offers segments
 * and takes retired ones. One fdatasync in FAIL_ONE_IN fails. At the end every sequence must stand, once and whole,
 * in the segment that the order of first sequences makes responsible for it.
 * Usage: journal_stress SEED RECORDS DIRECTORY. Prints one line; exit 0 when all is well.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sched.h>

#include "fanion_writer_thread.h"

#define CAPACITY (256u * 1024u)
#define SEGMENT_BYTES (128u * 1024u)
#define SEGMENTS_MAX 65536
#define FAIL_ONE_IN 50

static fanion_ring ring;
static fanion_writer writer;
static uint8_t *map;
static uint64_t wanted, ring_salt = 0x1234567887654321ull;
static const char *directory;
static uint32_t done; /* atomic: the producer has published all */
static int descriptors[SEGMENTS_MAX];
static uint64_t salts[SEGMENTS_MAX];
static uint32_t made; /* steward only, until it is joined */
static __thread uint64_t state;

static uint64_t next_random(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static int failing_fdatasync(void *context, int fd) {
    (void)fd;
    uint64_t *calls = context;
    return ++*calls % FAIL_ONE_IN == 0 ? -EIO : 0;
}

static int64_t one_link(void *context, int fd) {
    (void)context;
    (void)fd;
    return 1;
}

static void *produce(void *argument) {
    state = *(uint64_t *)argument | 1;
    for (uint64_t n = 1; n <= wanted;) {
        uint64_t length = next_random() % (next_random() % 16 == 0 ? 20000 : 600);
        uint8_t *payload = fanion_ring_reserve(&ring, length);
        if (!payload) {
            sched_yield();
            continue;
        }
        memset(payload, (int)(n & 0xFF), length);
        fanion_ring_publish(&ring, FANION_KIND_EVENTS, n, 0);
        if (fanion_ring_sleeping(&ring)) fanion_writer_signal(writer.wake_fd);
        n++;
    }
    fanion_u32_store_release(&done, 1);
    return NULL;
}

static void *run_writer(void *argument) {
    (void)argument;
    fanion_writer_run(&writer);
    return NULL;
}

static void offer(uint64_t seed) {
    char path[4096];
    fanion_offer next;
    memset(&next, 0, sizeof next);
    snprintf(path, sizeof path, "%s/%u.log", directory, made);
    next.fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (next.fd < 0 || made == SEGMENTS_MAX) abort();
    next.size = SEGMENT_BYTES;
    next.header.magic = FANION_SEGMENT_MAGIC;
    next.header.version = FANION_SEGMENT_VERSION;
    next.header.salt = salts[made] = (seed * 2654435761u + 0x9E3779B97F4A7C15ull * (made + 1)) | 1;
    next.header.ordinal = made + 1;
    descriptors[made++] = next.fd;
    if (fanion_writer_offer(&writer, &next) < 0) made--, close(next.fd);
}

static void *steward(void *argument) {
    fanion_retired retired[FANION_RETIRED_MAX];
    uint64_t seed = *(uint64_t *)argument, count;
    struct pollfd wake = {writer.steward_fd, POLLIN, 0};
    while (!fanion_u32_load_acquire(&writer.ended)) {
        fanion_writer_take_retired(&writer, retired);
        pthread_mutex_lock(&writer.lock);
        uint32_t waiting = writer.offers_count;
        pthread_mutex_unlock(&writer.lock);
        while (waiting++ < 2) offer(seed);
        poll(&wake, 1, 1);
        while (read(writer.steward_fd, &count, 8) < 0 && errno == EINTR) {}
    }
    return NULL;
}

/* Records that the segments hold by the rule of the decision table; 0 when something is wrong. */
static uint64_t verify(void) {
    uint64_t next = 1;
    uint64_t *first = calloc(made + 1, sizeof *first);
    for (uint32_t i = 0; i < made; i++) {
        fanion_segment_header header;
        if (pread(descriptors[i], &header, sizeof header, 0) != sizeof header) header.first_sequence = 0;
        first[i] = header.magic == FANION_SEGMENT_MAGIC ? header.first_sequence : 0;
    }
    for (uint32_t i = 0; i < made; i++) {
        if (!first[i]) continue;
        uint64_t limit = wanted + 1;
        for (uint32_t j = i + 1; j < made; j++) if (first[j] && first[j] < limit) limit = first[j];
        if (first[i] >= limit) continue;
        if (first[i] != next) return 0;
        off_t size = lseek(descriptors[i], 0, SEEK_END);
        uint8_t *bytes = malloc((size_t)size);
        if (pread(descriptors[i], bytes, (size_t)size, 0) != size) return 0;
        fanion_walk_state walk = {FANION_SEGMENT_START, next, 0, UINT64_MAX, 0, 0};
        fanion_walk(bytes, (uint64_t)size, salts[i], limit, &walk);
        for (uint64_t at = FANION_SEGMENT_START; at < walk.offset;) {
            fanion_record_header *record = (fanion_record_header *)(bytes + at);
            uint8_t *payload = (uint8_t *)(record + 1);
            for (uint32_t k = 0; k < record->length; k++) if (payload[k] != (record->sequence & 0xFF)) return 0;
            at += fanion_record_span(record->length);
        }
        next = walk.sequence;
        free(bytes);
        if (next != limit) return 0;
    }
    free(first);
    return next - 1;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    uint64_t seed = strtoull(arguments[1], NULL, 10), calls = 0;
    pthread_t threads[3];
    wanted = strtoull(arguments[2], NULL, 10);
    directory = arguments[3];
    map = mmap(NULL, FANION_RING_DATA + CAPACITY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return 2;
    fanion_ring_attach(&ring, map, CAPACITY, ring_salt);
    fanion_io io = fanion_io_system;
    io.context = &calls;
    io.fdatasync = failing_fdatasync;
    io.links = one_link;
    if (fanion_writer_init(&writer, &ring, &io, CAPACITY / 4 + 8192, 0, 0)) return 2;
    pthread_create(&threads[0], NULL, run_writer, NULL);
    pthread_create(&threads[1], NULL, steward, &seed);
    pthread_create(&threads[2], NULL, produce, &seed);
    pthread_join(threads[2], NULL);
    fanion_u32_store_release(&writer.stop, 1);
    fanion_writer_signal(writer.wake_fd);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    uint64_t found = verify();
    uint64_t durable = fanion_u64_load_acquire(&ring.control->durable.word);
    printf("seed %" PRIu64 ": %" PRIu64 " of %" PRIu64 " records, durable %" PRIu64 ", %u segments, %" PRIu64
           " failures\n", seed, found, wanted, durable, made, fanion_u64_load_relaxed(&ring.counters->failures));
    for (uint32_t i = 0; i < made; i++) close(descriptors[i]);
    fanion_writer_free(&writer);
    munmap(map, FANION_RING_DATA + CAPACITY);
    return found == wanted && durable == wanted ? 0 : 1;
}
