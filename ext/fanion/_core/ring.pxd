"""The ring's C declarations; what each word means stands in ext/include/fanion_ring.h."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "fanion_ring.h" nogil:
    ctypedef struct fanion_line:
        uint64_t word
    ctypedef struct fanion_ring_control:
        fanion_line head, head_sequence, freed, freed_sequence, durable, sleeping, heartbeat, failure, refuse
        fanion_line segment_bytes
    ctypedef struct fanion_ring_counters:
        uint64_t refused
    ctypedef struct fanion_ring:
        uint8_t* data
        fanion_ring_control* control
        fanion_ring_counters* counters
        uint64_t capacity, salt, head, next_sequence, shed_bytes
    ctypedef struct fanion_events_header:
        pass
    int FANION_RING_DATA
    uint32_t FANION_KIND_EVENTS, FANION_KIND_EXPOSURES
    int FANION_HISTOGRAM_BUCKETS
    void fanion_ring_attach(fanion_ring* ring, uint8_t* map, uint64_t capacity, uint64_t salt)
    uint64_t fanion_ring_used(const fanion_ring* ring)
    uint8_t* fanion_ring_reserve(fanion_ring* ring, uint64_t length)
    uint64_t fanion_ring_publish(fanion_ring* ring, uint32_t kind, uint64_t received_ns, uint32_t ticks)
    bint fanion_ring_sleeping(fanion_ring* ring)
    uint64_t fanion_histogram_bound(uint32_t bucket)
    uint32_t fanion_receipt_ticks(uint64_t monotonic_ns)
    uint64_t fanion_record_span(uint64_t length)
    uint64_t fanion_u64_load_relaxed(const uint64_t* word)
    uint64_t fanion_u64_load_acquire(const uint64_t* word)
    void fanion_u64_store_release(uint64_t* word, uint64_t value)
    void fanion_u64_count_relaxed(uint64_t* word, uint64_t count)


cdef class Ring:
    cdef fanion_ring ring       # producer side; borrowed by the writer thread until `close`
    cdef uint8_t* map           # owned; NULL after close
    cdef size_t map_bytes
    cdef uint64_t record_max    # payload bytes
    cdef public int wake_fd     # eventfd of the writer thread, -1: none; set by who starts the writer

    cdef void wake(self) noexcept
    cdef int64_t put(self, uint32_t kind, const uint8_t *payload, uint64_t length, uint64_t received_ns) noexcept
