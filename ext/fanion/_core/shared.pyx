# cython: language_level=3
"""Files that all workers map: the base of all of them, the generation word, rate limiters.

A `SharedFile` is created whole (allocated, zeroed, synced, then linked to its name), has one header page that
says what it is, and never changes its size. What its body means is a subclass's business; subclasses add no
locks to the request path, only atomic words.

Errors: OSError (with the path) when the system refuses, ValueError when the file isn't what was asked for.
After fork: the mapping stays good, slot locks are shared with the parent; claim slots after the fork only.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EACCES, EAGAIN, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.unistd cimport close as close_fd


cdef extern from "fanion_shared.h" nogil:
    const char *FANION_SHARED_MAGIC
    enum:
        FANION_SHARED_HEADER_BYTES
        FANION_WORD_SPACING

    ctypedef struct fanion_shared_header:
        char magic[8]
        uint32_t kind
        uint32_t version
        uint64_t body_bytes
        uint64_t layout
        uint8_t boot_id[16]

    ctypedef struct fanion_limiter_slot:
        uint64_t scope
        uint64_t arrival_ns

    uint64_t fanion_clock_boottime_ns() noexcept
    uint64_t fanion_limiter_take(
        fanion_limiter_slot *slots, uint64_t mask, uint64_t scope, uint64_t now_ns, uint64_t cost_ns,
        uint64_t burst_ns,
    ) noexcept


cdef extern from "<sys/mman.h>" nogil:
    void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void *address, size_t length)
    enum:
        PROT_READ
        PROT_WRITE
        MAP_SHARED
        MAP_POPULATE
    void *MAP_FAILED


cdef extern from "<sys/file.h>":
    int flock(int fd, int operation) nogil
    enum:
        LOCK_EX
        LOCK_UN


KIND_GENERATION = 1
KIND_LIMITER = 2
HEADER_BYTES = FANION_SHARED_HEADER_BYTES

cdef bytes ZEROS = bytes(1 << 20)


cdef bytes current_boot_id():
    """16 bytes that differ from boot to boot."""
    with open("/proc/sys/kernel/random/boot_id", "rb") as file:
        return bytes.fromhex(file.read().strip().replace(b"-", b"").decode("ascii"))


cdef bytes header_page(uint32_t kind, uint32_t version, uint64_t body_bytes, uint64_t layout):
    cdef fanion_shared_header header
    memset(&header, 0, sizeof(header))
    memcpy(header.magic, FANION_SHARED_MAGIC, 8)
    header.kind = kind
    header.version = version
    header.body_bytes = body_bytes
    header.layout = layout
    cdef bytes boot_id = current_boot_id()
    memcpy(header.boot_id, <const char *> boot_id, 16)
    cdef bytes start = PyBytes_FromStringAndSize(<char *> &header, sizeof(header))
    return start.ljust(FANION_SHARED_HEADER_BYTES, b"\0")


cdef create_file(str path, bytes header, uint64_t body_bytes, bint replace, bint large, uint64_t begin):
    """Writes the whole file beside its place, syncs it, and gives it its name."""
    directory = os.path.dirname(path)
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.new"
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        allocate(fd, body_bytes, begin)
        os.pwrite(fd, header, 0)
        if not large:
            write_zeros(fd, len(header), body_bytes)
        os.fsync(fd)
        if replace:
            os.replace(temporary, path)
        else:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
        sync_directory(directory)
        return True
    finally:
        os.close(fd)
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass


cdef allocate(int fd, uint64_t body_bytes, uint64_t begin):
    """Gives the file its size, and blocks to its header and the first `begin` bytes of its body (0: to all)."""
    os.ftruncate(fd, FANION_SHARED_HEADER_BYTES + body_bytes)
    os.posix_fallocate(fd, 0, FANION_SHARED_HEADER_BYTES + (begin if begin else body_bytes))


cdef write_zeros(int fd, object offset, object count):
    end = offset + count
    while offset < end:
        offset += os.pwrite(fd, ZEROS[:min(len(ZEROS), end - offset)], offset)


cdef sync_directory(str directory):
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


cdef class SharedFile:
    """One mapped file. `path`'s directory must exist.

    `replace`: a file of another kind, version, size or layout is replaced (only for the one process that
    starts before the others); without it, ValueError. `per_boot`: a body from an earlier boot is zeroed.
    `large`: blocks are allocated, but zeros are neither written nor mapped before a page is first touched, since
    hundreds of megabytes of them would be felt at every start. `begin`, with `large`: bytes of the body that get
    blocks at first (0: all of it); the subclass allocates the rest before it is touched.
    """

    def __cinit__(self, *args, **kwargs):
        self.fd = -1
        self.base = NULL
        self.body = NULL

    def __init__(
        self, str path, uint32_t kind, uint32_t version, uint64_t body_bytes, uint64_t layout=0, *,
        bint replace=False, bint per_boot=False, bint large=False, uint64_t begin=0,
    ):
        if self.base != NULL:
            raise ValueError("already open")
        self.path = os.path.abspath(path)
        self.body_bytes = body_bytes
        header = header_page(kind, version, body_bytes, layout)
        for _ in range(16):
            if self.try_open(header, replace, per_boot, large, begin):
                break
        else:
            raise OSError(EAGAIN, "the file is replaced again and again", self.path)
        cdef void *base = mmap(
            NULL, FANION_SHARED_HEADER_BYTES + body_bytes, PROT_READ | PROT_WRITE,
            MAP_SHARED if large else MAP_SHARED | MAP_POPULATE, self.fd, 0,
        )
        if base == MAP_FAILED:
            code = errno
            self.close()
            raise OSError(code, os.strerror(code), self.path)
        self.base = <uint8_t *> base
        self.body = self.base + FANION_SHARED_HEADER_BYTES

    cdef try_open(self, bytes header, bint replace, bint per_boot, bint large, uint64_t begin):
        """True: the right file is open in `fd`. False: someone was quicker, try again."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            if not create_file(self.path, header, self.body_bytes, False, large, begin):
                return False
            self.fresh = True
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if flock(fd, LOCK_EX) != 0:
                raise OSError(errno, os.strerror(errno), self.path)
            if os.fstat(fd).st_nlink == 0:
                return False
            if not self.fits(fd, header):
                if not replace:
                    raise ValueError(
                        f"{self.path} was made with other settings or by another version; "
                        f"stop every server of this directory, then start again (the file is made anew)"
                    )
                create_file(self.path, header, self.body_bytes, True, large, begin)
                self.fresh = True
                return False
            if per_boot and os.pread(fd, 16, 32) != header[32:48]:
                if large:  # nobody has it mapped: who did saw to its boot
                    os.ftruncate(fd, FANION_SHARED_HEADER_BYTES)
                    allocate(fd, self.body_bytes, begin)
                else:
                    write_zeros(fd, FANION_SHARED_HEADER_BYTES, self.body_bytes)
                os.pwrite(fd, header, 0)
                self.fresh = True
            flock(fd, LOCK_UN)
            self.fd, fd = fd, -1
            return True
        finally:
            if fd != -1:
                os.close(fd)

    cdef fits(self, int fd, bytes header):
        """Whole size, and a header that names the same kind, version, size and layout."""
        if os.fstat(fd).st_size != FANION_SHARED_HEADER_BYTES + self.body_bytes:
            return False
        return os.pread(fd, 32, 0) == header[:32]

    cdef int lock_file(self) except -1:
        """Waits for every other holder; for what is rare. `unlock_file` after it."""
        self.check_open()
        if flock(self.fd, LOCK_EX) != 0:
            raise OSError(errno, os.strerror(errno), self.path)
        return 0

    cdef int unlock_file(self) except -1:
        flock(self.fd, LOCK_UN)
        return 0

    cdef int check_open(self) except -1:
        if self.base == NULL:
            raise ValueError(f"{self.path} is closed")
        return 0

    def try_lock(self, unsigned int number):
        """Claims byte `number` of the body until closed or dead; False when another holder lives."""
        self.check_open()
        if fanion_lock_byte(self.fd, FANION_SHARED_HEADER_BYTES + number) == 0:
            return True
        if errno == EAGAIN or errno == EACCES:
            return False
        raise OSError(errno, os.strerror(errno), self.path)

    def unlock(self, unsigned int number):
        """Gives up what `try_lock` claimed."""
        self.check_open()
        if fanion_unlock_byte(self.fd, FANION_SHARED_HEADER_BYTES + number) != 0:
            raise OSError(errno, os.strerror(errno), self.path)

    def is_locked_elsewhere(self, unsigned int number):
        """Whether a holder other than this object lives."""
        self.check_open()
        cdef int locked = fanion_byte_is_locked(self.fd, FANION_SHARED_HEADER_BYTES + number)
        if locked < 0:
            raise OSError(errno, os.strerror(errno), self.path)
        return locked == 1

    def close(self):
        """Unmaps; the object and the slots made from it are unusable from here on."""
        if self.base != NULL:
            munmap(self.base, FANION_SHARED_HEADER_BYTES + self.body_bytes)
            self.base = NULL
            self.body = NULL
        if self.fd != -1:
            os.close(self.fd)
            self.fd = -1

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, FANION_SHARED_HEADER_BYTES + self.body_bytes)
        if self.fd != -1:
            close_fd(self.fd)  # `os` may be gone: the interpreter's end takes what is still open, too


@cython.final
cdef class GenerationWord(SharedFile):
    """The newest store generation that anyone has announced: a hint, raised after the commit.

    Writer: publishers (acq_rel). Readers: every worker at every request (acquire); they then look into the
    store.
    """

    def __init__(self, str path, *, bint replace=False):
        SharedFile.__init__(self, path, KIND_GENERATION, 1, FANION_WORD_SPACING, replace=replace)

    def load(self):
        self.check_open()
        return fanion_u64_load_acquire(<uint64_t *> self.body)

    def raise_to(self, uint64_t generation):
        """Never lowers the word."""
        self.check_open()
        fanion_u64_raise_acq_rel(<uint64_t *> self.body, generation)


@cython.final
cdef class LimiterTable(SharedFile):
    """GCRA over hashed scopes, shared by all workers, forgotten at a reboot. `slots` is a power of two."""

    def __init__(self, str path, uint64_t slots, *, bint replace=False):
        if slots < 8 or slots & (slots - 1) or slots > (1 << 32):
            raise ValueError(f"{slots} limiter slots; a power of two from 8 to 2**32 is allowed")
        self.mask = slots - 1
        SharedFile.__init__(
            self, path, KIND_LIMITER, 1, slots * sizeof(fanion_limiter_slot), slots, replace=replace,
            per_boot=True,
        )

    def take(self, uint64_t scope, double rate_per_s, uint64_t burst, uint64_t cost=1, uint64_t now_ns=0):
        """Seconds until `cost` more requests are allowed; 0.0: allowed and counted.

        A cost above the burst counts as the whole burst. `now_ns`: CLOCK_BOOTTIME (0: read it).
        """
        self.check_open()
        if not 1e-6 <= rate_per_s <= 1e9:
            raise ValueError(f"rate is {rate_per_s} per second; 0.000001 to 1000000000 is allowed")
        cdef uint64_t interval_ns = <uint64_t> (1e9 / rate_per_s)
        if burst < 1 or burst > (<uint64_t> 1 << 62) // interval_ns:
            raise ValueError(f"burst is {burst}; 1 to {(1 << 62) // interval_ns} is allowed at this rate")
        cdef uint64_t wait_ns = fanion_limiter_take(
            <fanion_limiter_slot *> self.body, self.mask, scope if scope != 0 else 1,
            now_ns if now_ns != 0 else fanion_clock_boottime_ns(), min(cost, burst) * interval_ns,
            burst * interval_ns,
        )
        return wait_ns / 1e9


def boottime_ns():
    """CLOCK_BOOTTIME: never goes back, counts suspended time, starts anew at a boot."""
    return fanion_clock_boottime_ns()
