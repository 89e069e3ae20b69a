"""The event loop's end of the ring: maps the file, appends records, reads the control words.

Producer methods (`append`) belong to one thread, the event loop's. The control words may be read from any
thread or process. After fork: reopen. Copying happens under the GIL; it is one memcpy per part.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec
from posix.unistd cimport write as write_fd


cdef packed struct EventsHeader:  # fanion_events_header, whose size is asserted in C
    uint16_t dialect_bytes
    uint16_t environment_bytes
    uint32_t dispositions
    uint32_t ids
    uint8_t whole
    uint8_t reserved[3]


cdef enum:
    RECEIPT_AGE_MAX_S = 60

COUNTERS = (
    "records", "bytes", "syncs", "failures", "rotations", "growing", "rewritten", "sync_us", "priority",
    "latency_us", "", "", "", "", "", "", "refused", "appended", "appended_bytes",
)
DATA_OFFSET = FANION_RING_DATA


def histogram_bounds():
    """Upper bounds of the histograms' buckets, microseconds."""
    return [fanion_histogram_bound(bucket) for bucket in range(FANION_HISTOGRAM_BUCKETS)]


cdef inline uint64_t nanoseconds(int clock) noexcept nogil:
    cdef timespec now
    clock_gettime(clock, &now)
    return <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec


cdef class Ring:
    def __cinit__(self, int fd, uint64_t capacity, uint64_t salt, *, bint write = True):
        """Maps an initialised ring file of exactly this capacity. OSError when it can't be mapped."""
        self.map = NULL
        self.wake_fd = -1
        self.map_bytes = FANION_RING_DATA + capacity
        cdef void* found = mmap(NULL, self.map_bytes, PROT_READ | (PROT_WRITE if write else 0), MAP_SHARED, fd, 0)
        if found == MAP_FAILED:
            raise OSError("the ring file can't be mapped")
        self.map = <uint8_t*>found
        fanion_ring_attach(&self.ring, self.map, capacity, salt)
        self.record_max = capacity // 4 - 64

    def __dealloc__(self):
        if self.map != NULL:
            munmap(self.map, self.map_bytes)

    def append(
        self, str dialect not None, str environment not None, uint64_t received_ns, body, bint whole,
        bytes dispositions not None = b"", bytes ids not None = b"",
    ):
        """One record. Its sequence; 0: the ring takes no more; -1: larger than a ring takes."""
        cdef Py_ssize_t dialect_bytes, environment_bytes
        cdef const char* dialect_text = PyUnicode_AsUTF8AndSize(dialect, &dialect_bytes)
        cdef const char* environment_text = PyUnicode_AsUTF8AndSize(environment, &environment_bytes)
        cdef Py_buffer view
        cdef uint8_t* at
        cdef uint64_t length, sequence, now, age
        cdef EventsHeader header
        if dialect_bytes > 0xFFFF or environment_bytes > 0xFFFF or len(ids) % 16:
            raise ValueError("dialect and environment end at 65,535 bytes; ids are 16 bytes each")
        PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)
        try:
            length = sizeof(EventsHeader) + dialect_bytes + environment_bytes + view.len
            length += len(dispositions) + len(ids)
            if length > self.record_max:
                fanion_u64_count_relaxed(&self.ring.counters.refused, 1)
                return -1
            at = NULL
            if fanion_u64_load_acquire(&self.ring.control.refuse.word) == 0:
                at = fanion_ring_reserve(&self.ring, length)
            if at == NULL:
                fanion_u64_count_relaxed(&self.ring.counters.refused, 1)
                return 0
            header = EventsHeader(
                <uint16_t>dialect_bytes, <uint16_t>environment_bytes, <uint32_t>len(dispositions),
                <uint32_t>(len(ids) // 16), whole, [0, 0, 0],
            )
            memcpy(at, &header, sizeof(EventsHeader))
            at += sizeof(EventsHeader)
            memcpy(at, dialect_text, dialect_bytes)
            at += dialect_bytes
            memcpy(at, environment_text, environment_bytes)
            at += environment_bytes
            memcpy(at, <const char*>dispositions, len(dispositions))
            at += len(dispositions)
            memcpy(at, <const char*>ids, len(ids))
            at += len(ids)
            memcpy(at, view.buf, view.len)
        finally:
            PyBuffer_Release(&view)
        # Durations come from the monotonic clock; only the time since receipt, bounded, comes from the wall's.
        now = nanoseconds(CLOCK_REALTIME)
        age = now - received_ns if received_ns < now else 0
        if age > <uint64_t>RECEIPT_AGE_MAX_S * 1000000000:
            age = 0
        sequence = fanion_ring_publish(
            &self.ring, FANION_KIND_EVENTS, received_ns,
            fanion_receipt_ticks(nanoseconds(CLOCK_MONOTONIC) - age),
        )
        if fanion_ring_sleeping(&self.ring):
            self.wake()
        return sequence

    def append_payload(self, const uint8_t[::1] payload not None, uint64_t received_ns, uint32_t kind = 1):
        """One record whose payload is complete already, whatever is to be refused; else as `append`, but the writer
        isn't woken for it: it looks by itself, 5 times a second."""
        return self.put(kind, &payload[0] if payload.shape[0] else NULL, payload.shape[0], received_ns)

    cdef int64_t put(self, uint32_t kind, const uint8_t *payload, uint64_t length, uint64_t received_ns) noexcept:
        """As `append_payload`."""
        cdef uint8_t* at
        if length > self.record_max:
            return -1
        at = fanion_ring_reserve(&self.ring, length)
        if at == NULL:
            return 0
        if length:
            memcpy(at, payload, length)
        return <int64_t>fanion_ring_publish(
            &self.ring, kind, received_ns, fanion_receipt_ticks(nanoseconds(CLOCK_MONOTONIC))
        )

    def free_room(self):
        """(position, position behind) of what no record stands in: the producer's own. Producer only."""
        freed = fanion_u64_load_acquire(&self.ring.control.freed.word)
        return (self.ring.head, freed + self.ring.capacity)

    def wipe(self, uint64_t position, uint64_t size):
        """Zeros over that part of the free room that is still free: what records of the past have left there.
        Producer only."""
        cdef uint64_t capacity = self.ring.capacity, part
        cdef uint64_t stop = fanion_u64_load_acquire(&self.ring.control.freed.word) + capacity
        cdef uint64_t at = position if position > self.ring.head else self.ring.head
        stop = stop if stop < position + size else position + size
        while at < stop:
            part = capacity - at % capacity
            part = part if part < stop - at else stop - at
            memset(self.ring.data + at % capacity, 0, part)
            at += part

    cdef void wake(self) noexcept:
        cdef uint64_t one = 1
        if self.wake_fd >= 0:
            write_fd(self.wake_fd, &one, 8)

    def set_refuse(self, uint64_t reasons):
        fanion_u64_store_release(&self.ring.control.refuse.word, reasons)

    @property
    def durable(self):
        """The highest durable sequence. Pairs with the writer's release."""
        return fanion_u64_load_acquire(&self.ring.control.durable.word)

    @property
    def failure(self):
        return fanion_u64_load_acquire(&self.ring.control.failure.word)

    @property
    def heartbeat_ns(self):
        return fanion_u64_load_relaxed(&self.ring.control.heartbeat.word)

    @property
    def segment_bytes(self):
        return fanion_u64_load_relaxed(&self.ring.control.segment_bytes.word)

    @property
    def head_sequence(self):
        fanion_u64_load_acquire(&self.ring.control.head.word)
        return fanion_u64_load_relaxed(&self.ring.control.head_sequence.word)

    @property
    def freed_sequence(self):
        fanion_u64_load_acquire(&self.ring.control.freed.word)
        return fanion_u64_load_relaxed(&self.ring.control.freed_sequence.word)

    @property
    def used_bytes(self):
        return fanion_ring_used(&self.ring)

    @property
    def capacity(self):
        return self.ring.capacity

    @property
    def shed_bytes(self):
        return self.ring.shed_bytes

    @property
    def salt(self):
        return self.ring.salt

    @property
    def record_bytes_max(self):
        return self.record_max

    def counters(self):
        """(name -> number, receipt-to-durable buckets, sync-time buckets)."""
        cdef uint64_t* words = <uint64_t*>self.ring.counters
        cdef int i
        values = {name: fanion_u64_load_relaxed(&words[i]) for i, name in enumerate(COUNTERS) if name}
        latency = [fanion_u64_load_relaxed(&words[32 + i]) for i in range(FANION_HISTOGRAM_BUCKETS)]
        syncs = [
            fanion_u64_load_relaxed(&words[32 + FANION_HISTOGRAM_BUCKETS + i])
            for i in range(FANION_HISTOGRAM_BUCKETS)
        ]
        return values, latency, syncs
