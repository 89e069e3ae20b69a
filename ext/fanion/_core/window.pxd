"""The event-id window's C declarations; what each word means stands in ext/include/fanion_window.h."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fanion._core.shared cimport SharedFile


cdef extern from "fanion_siphash.h" nogil:
    ctypedef struct fanion_siphash_key:
        uint64_t k0, k1
    void fanion_siphash(fanion_siphash_key key, const void *data, size_t length, int wide, uint64_t *out) noexcept


cdef extern from "fanion_window.h" nogil:
    uint32_t FANION_WINDOW_WRITERS
    const uint32_t FANION_WINDOW_LANES
    const uint64_t FANION_WINDOW_TENANT
    const uint64_t FANION_WINDOW_TENANT_MASK
    int FANION_WINDOW_NEW
    int FANION_WINDOW_DUPLICATE
    ctypedef struct fanion_line:
        uint64_t word
    ctypedef struct fanion_window_writer:
        uint64_t settled, attached, epoch
    ctypedef struct fanion_window_control:
        fanion_line state, early_turns
        uint64_t tenants[16]
        fanion_window_writer writers[1024]
    ctypedef struct fanion_window:
        fanion_window_control *control
        fanion_line *claims
        uint64_t capacity, small, grown_max
    ctypedef struct fanion_window_entry:
        uint64_t place, locator
    uint64_t fanion_window_bytes(uint64_t capacity) noexcept
    uint64_t FANION_WINDOW_COUNT_MASK
    int FANION_WINDOW_COUNT_BITS
    fanion_window fanion_window_attach(void *body, uint64_t capacity, uint64_t first, uint32_t lane) noexcept
    uint64_t fanion_window_tenant_of(const uint64_t *hash) noexcept
    void fanion_window_put_tenant(uint64_t *hash, uint64_t tenant) noexcept
    uint32_t fanion_window_lane(const fanion_window_control *control, uint64_t tenant, bint *is_taken) noexcept
    void fanion_window_take_lane(fanion_window_control *control, uint32_t lane, uint64_t tenant) noexcept
    uint32_t fanion_window_lanes(const fanion_window_control *control) noexcept
    uint64_t fanion_window_life(const fanion_window *window) noexcept
    uint64_t fanion_window_oldest(const fanion_window *window, uint64_t life) noexcept
    uint64_t fanion_window_end_of(const fanion_window *window, uint64_t life) noexcept
    uint64_t fanion_window_small_end(const fanion_window *window) noexcept
    bint fanion_window_wants_growth(const fanion_window *window) noexcept
    bint fanion_window_grow(const fanion_window *window, uint64_t claims) noexcept
    void fanion_window_allocated(
        const fanion_window *window, uint64_t grown, uint64_t *starts, uint64_t *bytes
    ) noexcept
    uint64_t fanion_window_writer_of(uint64_t locator) noexcept
    uint64_t fanion_window_above(uint64_t locator, uint64_t sequence) noexcept
    uint64_t fanion_window_sequence_near(uint64_t locator, uint64_t sequence) noexcept
    bint fanion_window_is_settled(const fanion_window *window, uint64_t locator) noexcept
    bint fanion_window_holds(const fanion_window *window, fanion_window_entry entry) noexcept
    void fanion_window_void(const fanion_window *window, fanion_window_entry entry) noexcept
    bint fanion_window_reserve(
        const fanion_window *window, const uint64_t *hashes, uint64_t count, uint64_t writer, uint64_t sequence,
        uint8_t *dispositions, fanion_window_entry *entries,
    ) noexcept
    uint64_t fanion_window_sweep(const fanion_window *window, uint64_t writer, uint64_t end) noexcept
    uint64_t fanion_u64_load_acquire(const uint64_t *word) noexcept
    uint64_t fanion_u64_load_relaxed(const uint64_t *word) noexcept
    void fanion_u64_store_release(uint64_t *word, uint64_t value) noexcept
    void fanion_u64_raise_acq_rel(uint64_t *word, uint64_t value) noexcept


cdef class IdWindow(SharedFile):
    cdef fanion_window lanes[16]    # borrowed from the map, until closed; what is no lane's own stands in each
    cdef fanion_siphash_key key     # of all hashes; the journal's records carry them, so it lives as long as those
    cdef uint64_t open_sequence     # the record that the open reservations are for
    cdef Py_ssize_t open_count      # reservations neither committed nor released
    cdef readonly uint64_t leaked   # reservations that were dropped without either, and released then

    cdef int check_writer(self, unsigned int writer) except -1
    cdef bint is_lane_plausible(self, const fanion_window *lane) noexcept
    cdef int lane_of(self, uint64_t tenant, int *failed) noexcept nogil
    cdef int allocate(self, const fanion_window *lane, uint64_t grown) noexcept nogil
    cdef int growing_lane(self) noexcept nogil
    cdef int grow_once(self, const fanion_window *lane) noexcept nogil


cdef class Reservation:
    cdef IdWindow owner             # keeps the map alive; NULL pointers never outlive it
    cdef fanion_window_entry *entries
    cdef Py_ssize_t count
    cdef uint64_t writer
    cdef bint open
    cdef readonly uint64_t sequence
    cdef readonly bytes dispositions
    cdef readonly bytes hashes

    cdef int finish(self, bint keep) except -1
    cdef void give_back(self) noexcept
