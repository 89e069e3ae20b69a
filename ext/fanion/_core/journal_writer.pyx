"""The writer thread for Python: owns the native writer, its thread and its eventfds.

The thread is plain pthread and never takes the GIL, except where a test gave it an I/O table that is written in
Python. Methods are for the steward (offer, take_retired) and for the event loop's thread (start, stop).
"""

from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.buffer cimport PyBUF_READ
from cpython.ref cimport Py_INCREF
from libc.errno cimport EIO
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from posix.unistd cimport read

from fanion._core.ring cimport Ring, fanion_ring


cdef extern from "fanion_writer_thread.h" nogil:
    ctypedef struct fanion_io:
        void* context
        int64_t (*pwrite)(void*, int, const void*, size_t, uint64_t) noexcept
        int (*fdatasync)(void*, int) noexcept
        int64_t (*links)(void*, int) noexcept
        uint64_t (*now)(void*) noexcept
    const fanion_io fanion_io_system
    ctypedef struct fanion_segment_header:
        uint64_t ordinal, first_sequence
    ctypedef struct fanion_offer:
        int fd
        uint64_t size
        fanion_segment_header header
    ctypedef struct fanion_retired:
        int fd, failure
        uint64_t ordinal, first_sequence, end_sequence, end_offset
    ctypedef struct pthread_t:
        pass
    ctypedef struct fanion_writer:
        int wake_fd, durable_fd, steward_fd
        pthread_t thread
        bint threaded, open, started
        uint32_t offers_count, stop, ended, blocked, turn
        uint64_t offset
        fanion_offer segment
    int FANION_RETIRED_MAX
    int fanion_writer_init(fanion_writer*, fanion_ring*, const fanion_io*, uint64_t, uint64_t, uint64_t)
    void fanion_writer_free(fanion_writer*)
    int fanion_writer_offer(fanion_writer*, const fanion_offer*)
    uint32_t fanion_writer_take_retired(fanion_writer*, fanion_retired*)
    int fanion_writer_step(fanion_writer*)
    void fanion_writer_run(fanion_writer*)
    void fanion_writer_signal(int fd)
    int pthread_create(pthread_t*, const void*, void* (*)(void*) noexcept nogil, void*)
    int pthread_join(pthread_t, void**)
    uint32_t fanion_u32_load_acquire(const uint32_t*)
    void fanion_u32_store_release(uint32_t*, uint32_t)
    void fanion_u64_store_release(uint64_t*, uint64_t)

cdef extern from "fanion_priority.h" nogil:
    int fanion_priority_raise()

IDLE, PROGRESS, BLOCKED, FATAL = 0, 1, 2, 3


cdef int error_number(object error) noexcept:
    number = getattr(error, "errno", None)
    return -<int>number if isinstance(number, int) and number > 0 else -EIO


cdef int64_t python_pwrite(void* context, int fd, const void* data, size_t length, uint64_t offset) noexcept with gil:
    try:
        return (<object>context).pwrite(fd, PyMemoryView_FromMemory(<char*>data, length, PyBUF_READ), offset)
    except BaseException as error:
        return error_number(error)


cdef int python_fdatasync(void* context, int fd) noexcept with gil:
    try:
        (<object>context).fdatasync(fd)
        return 0
    except BaseException as error:
        return error_number(error)


cdef int64_t python_links(void* context, int fd) noexcept with gil:
    try:
        return (<object>context).links(fd)
    except BaseException as error:
        return error_number(error)


cdef uint64_t python_now(void* context) noexcept with gil:
    try:
        return (<object>context).now()
    except BaseException:
        return 0


cdef void* thread_main(void* argument) noexcept nogil:
    cdef Native* native = <Native*>argument
    if native.raise_priority:
        fanion_u64_store_release(native.priority, fanion_priority_raise())
    fanion_writer_run(&native.writer)
    return NULL


cdef struct Native:
    fanion_writer writer
    uint64_t* priority      # borrowed from the ring's counters
    bint raise_priority


cdef class NativeWriter:
    cdef Native native
    cdef Ring ring          # keeps the map alive for as long as the thread
    cdef object table       # keeps a Python I/O table alive
    cdef bint ready

    def __cinit__(self, Ring ring not None, *, uint64_t staging_bytes, uint64_t sync_interval_ns,
                  uint64_t durable_sequence, table=None):
        """`table`: an object with pwrite, fdatasync, links, now; None: the system's own calls."""
        cdef fanion_io io = fanion_io_system
        self.ring = ring
        self.table = table
        self.ready = False
        if table is not None:
            io = fanion_io(<void*>table, python_pwrite, python_fdatasync, python_links, python_now)
        error = fanion_writer_init(
            &self.native.writer, &ring.ring, &io, staging_bytes, sync_interval_ns, durable_sequence
        )
        if error < 0:
            raise OSError(-error, "the writer can't be set up")
        self.ready = True
        self.native.priority = (<uint64_t*>ring.ring.counters) + 8
        ring.wake_fd = self.native.writer.wake_fd

    def __dealloc__(self):
        if self.ready:
            if self.native.writer.threaded:
                self.stop_now()
                self.join()
            fanion_writer_free(&self.native.writer)

    def start(self, *, bint raise_priority):
        """Starts the thread. OSError when there is none to be had."""
        self.native.raise_priority = raise_priority
        error = pthread_create(&self.native.writer.thread, NULL, thread_main, &self.native)
        if error:
            raise OSError(error, "the writer thread can't be started")
        self.native.writer.threaded = True

    def step(self):
        """One drain, without a thread: tests only."""
        cdef int result
        with nogil:
            result = fanion_writer_step(&self.native.writer)
        return result

    def offer(self, int fd, uint64_t size, const uint8_t[::1] header not None):
        """Hands over a segment that is ready; `header`: its 128 bytes. False when enough are waiting."""
        cdef fanion_offer offer
        if header.shape[0] != sizeof(fanion_segment_header):
            raise ValueError("a segment header has 128 bytes")
        memset(&offer, 0, sizeof(offer))
        offer.fd = fd
        offer.size = size
        memcpy(&offer.header, &header[0], sizeof(fanion_segment_header))
        return fanion_writer_offer(&self.native.writer, &offer) == 0

    def take_retired(self):
        """[(fd, ordinal, first_sequence, end_sequence, end_offset, failure)] of segments that are done."""
        cdef fanion_retired retired[64]
        cdef uint32_t count = fanion_writer_take_retired(&self.native.writer, retired)
        return [
            (r.fd, r.ordinal, r.first_sequence, r.end_sequence, r.end_offset, r.failure)
            for r in retired[:count]
        ]

    def turn(self):
        """The next record begins the next segment, which has to be offered."""
        fanion_u32_store_release(&self.native.writer.turn, 1)

    @property
    def turning(self):
        """Whether that hasn't come about."""
        return fanion_u32_load_acquire(&self.native.writer.turn) != 0

    def stop(self):
        """Asks the thread to end once the ring is empty."""
        fanion_u32_store_release(&self.native.writer.stop, 1)
        fanion_writer_signal(self.native.writer.wake_fd)

    cpdef void stop_now(self) noexcept:
        fanion_u32_store_release(&self.native.writer.stop, 2)
        fanion_writer_signal(self.native.writer.wake_fd)

    cpdef void join(self) noexcept:
        if self.native.writer.threaded:
            with nogil:
                pthread_join(self.native.writer.thread, NULL)
            self.native.writer.threaded = False

    cpdef void wake_steward(self) noexcept:
        fanion_writer_signal(self.native.writer.steward_fd)

    def clear_steward(self):
        """Empties the steward's eventfd."""
        cdef uint64_t count
        read(self.native.writer.steward_fd, &count, 8)

    def leave_running(self):
        """Gives up on a thread that a system call holds: its memory stays until the process ends."""
        Py_INCREF(self)

    @property
    def blocked(self):
        """Whether the writer has records and no segment to write them to."""
        return fanion_u32_load_acquire(&self.native.writer.blocked) != 0

    @property
    def ended(self):
        """Whether the thread has left."""
        return fanion_u32_load_acquire(&self.native.writer.ended) != 0

    @property
    def offers(self):
        """Segments that wait to be used."""
        return self.native.writer.offers_count

    @property
    def durable_fd(self):
        return self.native.writer.durable_fd

    @property
    def steward_fd(self):
        return self.native.writer.steward_fd

    def current(self):
        """(fd, started, first_sequence) of the segment in use, only after the thread has ended; None: none is."""
        cdef fanion_writer* writer = &self.native.writer
        if not writer.open:
            return None
        return (writer.segment.fd, writer.started, writer.segment.header.first_sequence)
