"""The event-id window: an index of the journal that tells new event ids from repeated ones. Long: one file's calls.

One `IdWindow` per process and file; the algorithm, its orders and what a crash leaves behind stand in
`fanion_window.h`. A reservation belongs to the event loop's thread and to exactly one record, the next one: reserve,
append and commit (or release) with nothing awaited in between, so that a locator's sequence can't become another
record's. `reserve` allocates its answer and nothing else.

A large lane begins small; `grow`, beside the event loop, allocates the next table's blocks once it is wanted.

The file is forgotten at a reboot and when the journal's identity or the key changes (`fingerprint`); then `ready` is
False until who holds the rebuild lock has put the journal's ids back.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.errno cimport EAGAIN
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from fanion._core.shared cimport fanion_lock_byte, fanion_unlock_byte


cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <unistd.h>

    /* errno, or 0. Where the file system can't, glibc writes to each block, which only its first user may do. */
    static int fanion_allocate(int fd, long start, long bytes, int emulate) {
        if (bytes == 0 || fallocate(fd, 0, start, bytes) == 0) return 0;
        if (errno != EOPNOTSUPP) return errno;
        return emulate ? posix_fallocate(fd, start, bytes) : 0;
    }
    """
    int fanion_allocate(int fd, long start, long bytes, int emulate) nogil
    int usleep(unsigned int microseconds) nogil


cdef extern from "fanion_shared.h":
    enum:
        FANION_SHARED_HEADER_BYTES


cdef enum:
    GROW_LOCK = 1  # byte of the body that who makes a lane larger holds
    LANE_LOCK = 2  # and who takes one for a tenant


KIND_WINDOW = 4
LANES = FANION_WINDOW_LANES
"""Tenants with a lane of their own; those that come later share one with somebody."""
FIRST_IDS = 262_144
"""Ids of a growing lane's first life: 8 MiB. Smaller, and usual days would pay for looking into older tables."""
WRITERS = FANION_WINDOW_WRITERS
KEY_BYTES = 16
NEW = FANION_WINDOW_NEW
DUPLICATE = FANION_WINDOW_DUPLICATE
CAPACITY_MIN = 1024
CAPACITY_MAX = 1 << 32
BATCH_MAX = 65_536


def siphash(bytes key not None, bytes data not None, *, bint wide=False):
    """SipHash-2-4 of `data`: 8 bytes, or 16 when `wide`. `key` has 16 bytes."""
    cdef uint64_t out[2]
    fanion_siphash(read_key(key), <const char *> data, len(data), wide, out)
    return PyBytes_FromStringAndSize(<char *> out, 16 if wide else 8)


cdef fanion_siphash_key read_key(bytes key) except *:
    cdef fanion_siphash_key made
    if len(key) != 16:
        raise ValueError(f"a key of {len(key)} bytes; 16 are needed")
    memcpy(&made, <const char *> key, 16)
    return made


cdef int hash_id(fanion_siphash_key key, uint64_t tenant, object id, uint64_t *out) except -1:
    """Two words, with the tenant in them; both 0 for None."""
    cdef Py_ssize_t length
    cdef const char *text
    if id is None:
        out[0] = out[1] = 0
        return 0
    if isinstance(id, bytes):
        text, length = PyBytes_AS_STRING(id), len(id)
    else:
        try:
            text = PyUnicode_AsUTF8AndSize(id, &length)
        except UnicodeEncodeError:
            return hash_id(key, tenant, id.encode("utf-8", "surrogatepass"), out)
    fanion_siphash(key, text, length, 1, out)  # once: it is to be inlined
    fanion_window_put_tenant(out, tenant)
    return 0


@cython.final
cdef class IdWindow(SharedFile):
    """The window in `path`. `capacity`: ids that it remembers of each tenant at least, while no more than `LANES` of
    them came. `key`: 16 secret bytes of the data directory. `first`: ids of a lane's first table.

    `fingerprint`: what the window is an index of; a file of another one is refused, or made anew with `replace`
    (only for the one process that starts before the others). ValueError and OSError as `SharedFile`'s.
    """

    def __init__(
        self, str path, uint64_t capacity, bytes key not None, uint64_t fingerprint=0, *, bint replace=False,
        uint64_t first=FIRST_IDS,
    ):
        cdef uint64_t starts[2]
        cdef uint64_t sizes[2]
        cdef uint32_t lane
        if not CAPACITY_MIN <= capacity <= CAPACITY_MAX:
            raise ValueError(f"a window of {capacity} ids; {CAPACITY_MIN} to {CAPACITY_MAX} are allowed")
        if not CAPACITY_MIN <= first <= CAPACITY_MAX:
            raise ValueError(f"a first table of {first} ids; {CAPACITY_MIN} to {CAPACITY_MAX} are allowed")
        self.key = read_key(key)
        self.lanes[0] = fanion_window_attach(NULL, capacity, first, 0)
        fanion_window_allocated(&self.lanes[0], 0, starts, sizes)
        SharedFile.__init__(
            self, path, KIND_WINDOW, 3, fanion_window_bytes(capacity), fingerprint ^ capacity ^ (first << 33),
            replace=replace, per_boot=True, large=True,
            begin=starts[1] + sizes[1] if sizes[1] else starts[0] + sizes[0],
        )
        for lane in range(FANION_WINDOW_LANES):
            self.lanes[lane] = fanion_window_attach(self.body, capacity, first, lane)
        cdef int failed = 0
        if replace:  # copied files have holes where nothing was written yet
            failed = fanion_allocate(self.fd, 0, FANION_SHARED_HEADER_BYTES + sizeof(fanion_window_control), 1)
            for lane in range(max(1, fanion_window_lanes(self.lanes[0].control))):
                grown = fanion_u64_load_acquire(&self.lanes[lane].claims.word) >> FANION_WINDOW_COUNT_BITS
                failed = failed or self.allocate(&self.lanes[lane], min(grown, self.lanes[lane].grown_max))
        if failed:
            self.close()
            raise OSError(failed, os.strerror(failed), self.path)

    def is_plausible(self):
        """Whether its control words are such as an owner writes them. Before any other process has the file open."""
        self.check_open()
        cdef fanion_window_control *control = self.lanes[0].control
        cdef fanion_window_writer *row
        cdef unsigned int writer
        cdef uint32_t lane
        if control.early_turns.word >> 48 or control.state.word > 1:
            return False
        tenants = set()
        for lane in range(FANION_WINDOW_LANES):
            tenant = control.tenants[lane]
            if tenant and (tenant & ~FANION_WINDOW_TENANT_MASK != FANION_WINDOW_TENANT or len(tenants) < lane):
                return False
            if (not tenant and self.lanes[lane].claims.word) or tenant in tenants:
                return False
            if tenant:
                tenants.add(tenant)
            if not self.is_lane_plausible(&self.lanes[lane]):
                return False
        for writer in range(FANION_WINDOW_WRITERS + 1):
            row = &control.writers[writer]
            if row.settled >> 48 or row.attached > 1 or row.epoch >> 48:
                return False
        return True

    cdef bint is_lane_plausible(self, const fanion_window *lane) noexcept:
        cdef uint64_t grown = lane.claims.word >> FANION_WINDOW_COUNT_BITS
        cdef uint64_t least = fanion_window_end_of(lane, grown - 2) if 1 < grown <= lane.grown_max else 0
        return grown <= lane.grown_max and lane.claims.word & FANION_WINDOW_COUNT_MASK >= least

    cdef int lane_of(self, uint64_t tenant, int *failed) noexcept nogil:
        """The tenant's lane, which is taken where it had none; *failed: errno, when there is no room on the disk."""
        cdef bint taken
        cdef uint32_t lane = fanion_window_lane(self.lanes[0].control, tenant, &taken)
        while not taken:
            if fanion_lock_byte(self.fd, FANION_SHARED_HEADER_BYTES + LANE_LOCK) != 0:
                usleep(100)  # someone else takes a lane, which is a few milliseconds
            else:
                lane = fanion_window_lane(self.lanes[0].control, tenant, &taken)
                if not taken:
                    failed[0] = self.allocate(&self.lanes[lane], 0)
                if not taken and not failed[0]:
                    fanion_window_take_lane(self.lanes[0].control, lane, tenant)
                fanion_unlock_byte(self.fd, FANION_SHARED_HEADER_BYTES + LANE_LOCK)
                if failed[0]:
                    break
            lane = fanion_window_lane(self.lanes[0].control, tenant, &taken)
        return lane

    def reserve(self, bytes scope not None, list ids not None, unsigned int writer, uint64_t sequence):
        """Reserves `ids` (None: an event without one) in `scope`, which is the tenant too, for the record (writer,
        sequence). None: there is no room for them until the window has grown.

        Reservations of one record may stand beside each other; one for another record is a RuntimeError until
        they are committed or released.
        """
        cdef uint64_t scope_key[2]
        cdef Py_ssize_t count = PyList_GET_SIZE(ids)
        cdef Py_ssize_t index
        self.check_writer(writer)
        if count > BATCH_MAX or count > <Py_ssize_t> self.lanes[0].capacity:
            raise ValueError(f"{count} ids in one reservation; {min(BATCH_MAX, self.lanes[0].capacity)} are allowed")
        if self.open_count and self.open_sequence != sequence:
            raise RuntimeError(
                f"a reservation for record {self.open_sequence} is open while one for {sequence} is wanted; append "
                "and commit (or release) before anything is awaited"
            )
        fanion_siphash(self.key, PyBytes_AS_STRING(scope), len(scope), 1, scope_key)
        cdef fanion_siphash_key key = fanion_siphash_key(scope_key[0], scope_key[1])
        cdef uint64_t tenant = (scope_key[0] ^ scope_key[1]) & FANION_WINDOW_TENANT_MASK
        cdef int failed = 0
        cdef int lane = self.lane_of(tenant, &failed)
        if failed:
            return None
        cdef Reservation made = Reservation.__new__(Reservation)
        made.owner = self
        made.writer = writer
        made.sequence = sequence
        made.hashes = PyBytes_FromStringAndSize(NULL, count * 16)
        made.dispositions = PyBytes_FromStringAndSize(NULL, count)
        cdef uint64_t *hashes = <uint64_t *> PyBytes_AS_STRING(made.hashes)
        cdef uint8_t *dispositions = <uint8_t *> PyBytes_AS_STRING(made.dispositions)
        for index in range(count):
            hash_id(key, tenant, <object> PyList_GET_ITEM(ids, index), hashes + 2 * index)
        made.entries = <fanion_window_entry *> PyMem_Malloc((count + 1) * sizeof(fanion_window_entry))
        if made.entries == NULL:
            raise MemoryError
        if not fanion_window_reserve(
            &self.lanes[lane], hashes, count, writer, sequence, dispositions, made.entries,
        ):
            return None
        for index in range(count):  # only a record that keeps an event says so: see insert_run
            if dispositions[index] == FANION_WINDOW_DUPLICATE:
                hashes[2 * index] = hashes[2 * index + 1] = 0
        made.count = count
        made.open = True
        self.open_sequence = sequence
        self.open_count += 1
        return made

    def attach(self, unsigned int writer, uint64_t end):
        """Makes the calling process the writer's owner; `end`: the last sequence that its journal holds.

        Voids what a dead owner left above it, and returns how many entries that were. Before the first
        reservation; looks at the whole window unless the last owner detached. Does not hold the GIL meanwhile.
        """
        self.check_writer(writer)
        cdef fanion_window_writer *row = &self.lanes[0].control.writers[writer]
        cdef uint64_t voided = 0
        cdef uint32_t lane
        cdef bint unclean = fanion_u64_load_acquire(&row.attached) != 0
        if unclean or fanion_u64_load_acquire(&row.settled) > end:
            with nogil:
                for lane in range(fanion_window_lanes(self.lanes[0].control)):
                    voided += fanion_window_sweep(&self.lanes[lane], writer, end)
        fanion_u64_store_release(&row.settled, end)
        fanion_u64_store_release(&row.attached, 1)
        return voided

    def detach(self, unsigned int writer, uint64_t end):
        """Gives the writer up; `end`: its last sequence, all of it safe."""
        self.settle(writer, end)
        fanion_u64_store_release(&self.lanes[0].control.writers[writer].attached, 0)

    def settle(self, unsigned int writer, uint64_t sequence):
        """Says that the writer's records up to `sequence` are as safe as the server promises. Never lowered."""
        self.check_writer(writer)
        fanion_u64_raise_acq_rel(&self.lanes[0].control.writers[writer].settled, sequence)

    def settled(self, unsigned int writer):
        self.check_writer(writer)
        return fanion_u64_load_acquire(&self.lanes[0].control.writers[writer].settled)

    def is_attached(self, unsigned int writer):
        """Whether the writer has an owner, or had one that died."""
        self.check_writer(writer)
        return fanion_u64_load_acquire(&self.lanes[0].control.writers[writer].attached) != 0

    def announce(self, unsigned int writer, uint64_t epoch):
        """Says that the writer's claim of this epoch is recovered: its log is whole. Before `attach`."""
        self.check_writer(writer)
        fanion_u64_store_release(&self.lanes[0].control.writers[writer].epoch, epoch)

    def announced(self, unsigned int writer):
        """The last epoch that the writer's owner announced."""
        self.check_writer(writer)
        return fanion_u64_load_acquire(&self.lanes[0].control.writers[writer].epoch)

    @property
    def ready(self):
        """Whether the window holds what the journal says."""
        self.check_open()
        return fanion_u64_load_acquire(&self.lanes[0].control.state.word) == 1

    def mark_ready(self):
        """After the rebuild. Pairs with `ready`."""
        self.check_open()
        fanion_u64_store_release(&self.lanes[0].control.state.word, 1)

    @property
    def open_reservations(self):
        """Reservations of this process that are neither committed nor released."""
        return self.open_count

    @property
    def capacity(self):
        return self.lanes[0].capacity

    def counters(self):
        """claims: slots ever taken; evicted: ids that the window no longer has; early_turns: turn-overs before
        their time (0 in practice); leaked: reservations of this process that nobody finished."""
        self.check_open()
        cdef uint64_t oldest
        cdef uint64_t evicted = 0
        cdef uint32_t lane
        for lane in range(fanion_window_lanes(self.lanes[0].control)):
            oldest = fanion_window_oldest(&self.lanes[lane], fanion_window_life(&self.lanes[lane]))
            evicted += fanion_window_end_of(&self.lanes[lane], oldest - 1) if oldest else 0
        return {
            "claims": sum(self.lane_claims()),
            "evicted": evicted,
            "early_turns": fanion_u64_load_relaxed(&self.lanes[0].control.early_turns.word),
            "leaked": self.leaked,
        }

    def lane_claims(self):
        """The slots ever taken of each lane that a tenant has, in the order in which they came."""
        self.check_open()
        cdef uint32_t lane
        return [
            fanion_u64_load_acquire(&self.lanes[lane].claims.word) & FANION_WINDOW_COUNT_MASK
            for lane in range(fanion_window_lanes(self.lanes[0].control))
        ]

    @property
    def wants_growth(self):
        """Whether `grow` should be called, beside the event loop: half of some current table's life is over."""
        self.check_open()
        return self.growing_lane() >= 0

    cdef int growing_lane(self) noexcept nogil:
        cdef uint32_t lane = 0
        while lane < FANION_WINDOW_LANES and self.lanes[0].control.tenants[lane]:
            if fanion_window_wants_growth(&self.lanes[lane]):
                return lane
            lane += 1
        return -1

    def grow(self):
        """Allocates the next table's blocks of one lane, which may take a second, and lets it be used. Does not hold
        the GIL meanwhile; one thread of a process at a time. False: that isn't wanted, or another process is at it.
        OSError when there is no room on the disk."""
        cdef int failed = EAGAIN
        cdef int lane
        self.check_open()
        with nogil:
            lane = self.growing_lane()
            if lane >= 0:
                failed = self.grow_once(&self.lanes[lane])
        if failed and failed != EAGAIN:
            raise OSError(failed, os.strerror(failed), self.path)
        return failed == 0

    cdef int grow_once(self, const fanion_window *lane) noexcept nogil:
        """0: it grew; EAGAIN: not wanted, or another process is at it; else errno."""
        cdef uint64_t claims
        cdef uint64_t grown
        cdef int failed
        if fanion_lock_byte(self.fd, FANION_SHARED_HEADER_BYTES + GROW_LOCK) != 0:
            return EAGAIN
        claims = fanion_u64_load_acquire(&lane.claims.word)
        grown = claims >> FANION_WINDOW_COUNT_BITS
        failed = EAGAIN
        if fanion_window_wants_growth(lane):
            failed = self.allocate(lane, grown + 1)
        while failed == 0 and claims >> FANION_WINDOW_COUNT_BITS == grown:
            if fanion_window_grow(lane, claims):
                break
            claims = fanion_u64_load_acquire(&lane.claims.word)
        fanion_unlock_byte(self.fd, FANION_SHARED_HEADER_BYTES + GROW_LOCK)
        return failed

    cdef int allocate(self, const fanion_window *lane, uint64_t grown) noexcept nogil:
        """Has the blocks of a lane that grew `grown` times, whichever of them were there. errno, or 0."""
        cdef uint64_t before[2]
        cdef uint64_t starts[2]
        cdef uint64_t wanted[2]
        cdef long at
        cdef int part
        cdef int failed = 0
        fanion_window_allocated(lane, grown - 1 if grown else 0, starts, before)
        fanion_window_allocated(lane, grown, starts, wanted)
        if grown == 0 and lane != &self.lanes[0]:
            before[0] = before[1] = 0
        for part in range(2):
            at = <long> (FANION_SHARED_HEADER_BYTES + starts[part])
            if failed == 0:
                failed = fanion_allocate(self.fd, at, <long> before[part], 0)
            if failed == 0:
                failed = fanion_allocate(
                    self.fd, at + <long> before[part], <long> (wanted[part] - before[part]), 1
                )
        return failed

    def usage(self):
        """(bytes of the file on disk now, bytes when the lanes of all tenants have grown to their end)."""
        self.check_open()
        return os.fstat(self.fd).st_blocks * 512, FANION_SHARED_HEADER_BYTES + self.body_bytes

    cdef int check_writer(self, unsigned int writer) except -1:
        self.check_open()
        if writer >= FANION_WINDOW_WRITERS:
            raise ValueError(f"writer {writer}; 0 to {FANION_WINDOW_WRITERS - 1} are allowed")
        return 0


@cython.final
@cython.freelist(64)
cdef class Reservation:
    """The ids of one request. `dispositions`: a byte per id, 0 new, 2 duplicate (also of an earlier one in the same
    request). `hashes`: 16 bytes per id, for the journal's record; zeros for a duplicate and where there was none.

    Dropped without commit or release, it is released, and counted as leaked.
    """

    def __dealloc__(self):
        if self.open:
            self.owner.leaked += 1
            self.owner.open_count -= 1
            if self.owner.base != NULL:
                self.give_back()
        PyMem_Free(self.entries)

    def commit(self, uint64_t sequence):
        """The record `sequence` holds these ids. RuntimeError when it isn't the one they were reserved for: then
        something was appended in between, and a crash there would have lost this request's events."""
        self.finish(True)
        if sequence != self.sequence:
            raise RuntimeError(
                f"reserved for record {self.sequence}, appended as {sequence}; append and commit (or release) before "
                "anything is awaited"
            )

    def release(self):
        """Nothing of this request was kept: its ids are free again."""
        self.finish(False)

    cdef int finish(self, bint keep) except -1:
        if not self.open:
            raise RuntimeError("the reservation was committed or released before")
        self.owner.check_open()
        self.open = False
        self.owner.open_count -= 1
        if not keep:
            self.give_back()
        return 0

    cdef void give_back(self) noexcept:
        cdef const uint8_t *dispositions = <const uint8_t *> PyBytes_AS_STRING(self.dispositions)
        cdef Py_ssize_t index
        for index in range(self.count):
            if dispositions[index] == FANION_WINDOW_NEW and self.entries[index].locator != 0:
                fanion_window_void(&self.owner.lanes[0], self.entries[index])

    @property
    def duplicates(self):
        """How many of the ids are repetitions."""
        return self.dispositions.count(b"\x02")

    @property
    def waits(self):
        """[(writer, sequence)]: records that duplicates repeat and that aren't safe yet, each once."""
        cdef const uint8_t *dispositions = <const uint8_t *> PyBytes_AS_STRING(self.dispositions)
        cdef Py_ssize_t index
        cdef uint64_t locator
        cdef uint64_t settled
        self.owner.check_open()
        found = {}
        for index in range(self.count):
            locator = self.entries[index].locator
            if dispositions[index] == FANION_WINDOW_DUPLICATE and locator != 0:
                writer = fanion_window_writer_of(locator)
                settled = fanion_u64_load_acquire(&self.owner.lanes[0].control.writers[writer].settled)
                if fanion_window_above(locator, settled):
                    found[writer, settled + fanion_window_above(locator, settled)] = None
        return list(found)

    @property
    def repeats(self):
        """[(writer, sequence)]: records that duplicates repeat, safe or not, each once. Before `check`, which lets go
        of those that are safe."""
        cdef const uint8_t *dispositions = <const uint8_t *> PyBytes_AS_STRING(self.dispositions)
        cdef Py_ssize_t index
        cdef uint64_t locator
        cdef uint64_t settled
        self.owner.check_open()
        found = {}
        for index in range(self.count):
            locator = self.entries[index].locator
            if dispositions[index] == FANION_WINDOW_DUPLICATE and locator != 0:
                writer = fanion_window_writer_of(locator)
                settled = fanion_u64_load_acquire(&self.owner.lanes[0].control.writers[writer].settled)
                found[writer, fanion_window_sequence_near(locator, settled)] = None
        return list(found)

    def check(self):
        """True: every duplicate repeats a record that is safe. False: some record isn't safe yet.
        None: some record never came to be, so the request must be sent again."""
        cdef const uint8_t *dispositions = <const uint8_t *> PyBytes_AS_STRING(self.dispositions)
        cdef Py_ssize_t index
        cdef bint safe = True
        self.owner.check_open()
        for index in range(self.count):
            if dispositions[index] == FANION_WINDOW_DUPLICATE and self.entries[index].locator != 0:
                if not fanion_window_is_settled(&self.owner.lanes[0], self.entries[index].locator):
                    safe = False
                elif fanion_window_holds(&self.owner.lanes[0], self.entries[index]):
                    self.entries[index].locator = 0
                    continue
                if not fanion_window_holds(&self.owner.lanes[0], self.entries[index]):
                    return None
        return safe
