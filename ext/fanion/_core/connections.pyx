# cython: language_level=3
"""The connections of this process as the kernel sees them: which of them owe a request's head, and ending one.

The HTTP server has one timer for a request's head and for an idle connection. What tells them apart is known to the
kernel: an idle connection has sent an answer since it last received something; one that received something since, or
has never sent anything, is owed either an answer by us or the rest of a head by its peer. `Connections.look`, called
at even intervals, counts how often in a row a connection was found so without a byte having been sent in between.

Descriptors belong to the server, which may close one at any moment, and another connection may get its number. So a
connection is known by the kernel's cookie, which is never used again; and `end` works on a duplicate, after looking
whether that is still the connection that was meant, in the state that it was meant in.

Does not need the GIL while it looks. One thread at a time.
"""

import os

from libc.errno cimport errno
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset


cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <dirent.h>
    #include <netinet/in.h>
    #include <stddef.h>
    #include <stdint.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/socket.h>
    #include <unistd.h>
    #include <linux/tcp.h>

    #ifndef SO_COOKIE
    #define SO_COOKIE 57
    #endif

    typedef struct dirent fanion_dirent;

    /* 1: a connection accepted on `port`, owed something; 0: one that isn't; -1: something else. */
    static int fanion_connection_look(int fd, uint16_t port, uint64_t *cookie, uint64_t *sent) {
        struct tcp_info info;
        struct sockaddr_storage address;
        socklen_t length = sizeof info;
        memset(&info, 0, sizeof info);
        if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return -1;
        if (length < offsetof(struct tcp_info, tcpi_bytes_sent) + 8) return -1;
        if (info.tcpi_state != 1 && info.tcpi_state != 8) return -1; /* ESTABLISHED, CLOSE_WAIT */
        length = sizeof address;
        if (getsockname(fd, (struct sockaddr *)&address, &length) != 0) return -1;
        uint16_t own = address.ss_family == AF_INET    ? ((struct sockaddr_in *)&address)->sin_port
                       : address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                       : 0;
        if (ntohs(own) != port) return -1;
        length = sizeof *cookie;
        if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &length) != 0) return -1;
        *sent = info.tcpi_bytes_sent;
        return info.tcpi_bytes_sent == 0 || info.tcpi_last_data_recv < info.tcpi_last_data_sent;
    }

    static int fanion_connection_end(int fd) { return shutdown(fd, SHUT_RDWR); }
    """
    ctypedef struct DIR:
        pass
    ctypedef struct fanion_dirent:
        char *d_name
    DIR *opendir(const char *name) nogil
    fanion_dirent *readdir(DIR *folder) nogil
    int closedir(DIR *folder) nogil
    int dirfd(DIR *folder) nogil
    long strtol(const char *text, char **end, int base) nogil
    int fanion_connection_look(int fd, uint16_t port, uint64_t *cookie, uint64_t *sent) nogil
    int fanion_connection_end(int fd) nogil


cdef struct fanion_seen:
    uint64_t cookie  # of the connection that was found under this descriptor; 0: none
    uint64_t sent    # bytes that it had sent
    uint32_t looks   # in a row in which it was owed something and sent nothing


cdef class Connections:
    """Those that this process accepted on `port`."""

    cdef fanion_seen *seen    # by descriptor; freed in __dealloc__
    cdef Py_ssize_t count
    cdef uint16_t port

    def __cinit__(self, uint16_t port):
        self.port = port
        self.seen = NULL
        self.count = 0

    def __dealloc__(self):
        free(self.seen)

    def look(self, uint32_t looks_max):
        """Looks once at every connection. [(descriptor, cookie, bytes sent)] of those that were owed something in
        `looks_max` looks in a row or more. OSError when the descriptors can't be listed."""
        cdef int found[1024]
        cdef int total = 0
        cdef int failed
        with nogil:
            failed = self.look_at_all(looks_max, found, 1024, &total)
        if failed:
            raise OSError(failed, os.strerror(failed), "/proc/self/fd")
        return [
            (found[index], self.seen[found[index]].cookie, self.seen[found[index]].sent) for index in range(total)
        ]

    cdef int look_at_all(self, uint32_t looks_max, int *found, int found_max, int *total) noexcept nogil:
        cdef DIR *folder = opendir(b"/proc/self/fd")
        cdef fanion_dirent *entry
        cdef char *end
        cdef long fd
        if folder == NULL:
            return errno
        while True:
            entry = readdir(folder)
            if entry == NULL:
                break
            fd = strtol(entry.d_name, &end, 10)
            if end == entry.d_name or fd == dirfd(folder) or fd < 0 or self.reach(fd) != 0:
                continue
            if self.look_at(<int> fd) >= looks_max and total[0] < found_max:
                found[total[0]] = <int> fd
                total[0] += 1
        closedir(folder)
        return 0

    cdef uint32_t look_at(self, int fd) noexcept nogil:
        """How often in a row it was owed something."""
        cdef fanion_seen *seen = &self.seen[fd]
        cdef uint64_t cookie = 0
        cdef uint64_t sent = 0
        cdef int owed = fanion_connection_look(fd, self.port, &cookie, &sent)
        if owed < 0:
            seen.cookie = 0
            seen.looks = 0
            return 0
        if owed == 0 or seen.cookie != cookie or seen.sent != sent:
            seen.looks = 0
        if owed == 1:
            seen.looks += 1
        seen.cookie = cookie
        seen.sent = sent
        return seen.looks

    cdef int reach(self, long fd) noexcept nogil:
        """Room for a descriptor. 0: there is."""
        cdef Py_ssize_t wanted = self.count
        if fd < self.count:
            return 0
        while wanted <= fd:
            wanted = wanted * 2 if wanted else 1024
        cdef fanion_seen *larger = <fanion_seen *> realloc(self.seen, wanted * sizeof(fanion_seen))
        if larger == NULL:
            return 1
        memset(larger + self.count, 0, (wanted - self.count) * sizeof(fanion_seen))
        self.seen = larger
        self.count = wanted
        return 0

    def forget_looks(self):
        """Begins to count anew: this process could not answer meanwhile."""
        cdef Py_ssize_t fd
        for fd in range(self.count):
            self.seen[fd].looks = 0

    def end(self, int fd, uint64_t cookie, uint64_t sent):
        """Shuts the connection down, both ways, if it is still the one that `look` told of and still owed something.
        False: it is another, or was answered meanwhile."""
        cdef uint64_t cookie_now = 0
        cdef uint64_t sent_now = 0
        cdef bint ended = False
        try:
            duplicate = os.dup(fd)
        except OSError:
            return False
        if (
            fanion_connection_look(duplicate, self.port, &cookie_now, &sent_now) == 1
            and cookie_now == cookie
            and sent_now == sent
        ):
            ended = fanion_connection_end(duplicate) == 0
        os.close(duplicate)
        return ended
