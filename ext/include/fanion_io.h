/* The writer thread's system calls as a table, so that tests fail, delay or record any of them.
 *
 * Each function returns a negative errno on failure. `fanion_io_system` is the real one. The calls that make
 * files (open, rename, unlink) are not here because the writer never makes any; they are in the Python side's
 * table (src/fanion/journal/storage.py), which also backs this one in tests. Does not need the GIL.
 */
#ifndef FANION_IO_H
#define FANION_IO_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* statx */
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    void *context;
    int64_t (*pwrite)(void *context, int fd, const void *bytes, size_t length, uint64_t offset); /* may be short */
    int (*fdatasync)(void *context, int fd);
    int64_t (*links)(void *context, int fd);  /* names that the file still has: 0 = deleted */
    uint64_t (*now)(void *context);           /* monotonic clock, ns */
} fanion_io;

static int64_t fanion_system_pwrite(void *context, int fd, const void *bytes, size_t length, uint64_t offset) {
    (void)context;
    ssize_t done = pwrite(fd, bytes, length, (off_t)offset);
    return done < 0 ? -errno : done;
}

static int fanion_system_fdatasync(void *context, int fd) {
    (void)context;
    return fdatasync(fd) < 0 ? -errno : 0;
}

/* Asks for nothing but the links: where times were asked for too, as fstat does, Linux from 6.13 on gives the next
 * write a time of its own, and its fdatasync one more block to write (0.16 ms instead of 0.11). */
static int64_t fanion_system_links(void *context, int fd) {
    (void)context;
    struct statx found;
    return statx(fd, "", AT_EMPTY_PATH, STATX_NLINK, &found) < 0 ? -errno : (int64_t)found.stx_nlink;
}

static uint64_t fanion_system_now(void *context) {
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static const fanion_io fanion_io_system = {NULL, fanion_system_pwrite, fanion_system_fdatasync,
                                           fanion_system_links, fanion_system_now};

/* Writes all of it: short writes go on, EINTR tries again. 0 or a negative errno. */
static inline int fanion_io_write(const fanion_io *io, int fd, const uint8_t *bytes, uint64_t length,
                                  uint64_t offset) {
    while (length) {
        int64_t done = io->pwrite(io->context, fd, bytes, (size_t)length, offset);
        if (done == -EINTR) continue;
        if (done < 0) return (int)done;
        if (done == 0) return -EIO;
        bytes += done;
        offset += (uint64_t)done;
        length -= (uint64_t)done;
    }
    return 0;
}

#endif
