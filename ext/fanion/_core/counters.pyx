# cython: language_level=3
"""Counters of all workers in one mapped file: rows of cells, a directory of what each counts, histograms.

A row belongs to the process that claimed it; its cells are added to with one relaxed atomic add and read by
anyone at any time. What a name's cells are is settled once, under the file's lock, for all workers.

Errors: as in `shared`.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from fanion._core.shared cimport (
    SharedFile,
    fanion_u64_add_relaxed,
    fanion_u64_load_acquire,
    fanion_u64_load_relaxed,
    fanion_u64_store_relaxed,
    fanion_u64_store_release,
)


cdef extern from "fanion_shared.h" nogil:
    enum:
        FANION_WORD_SPACING
        FANION_SERIES_NAME_BYTES

    ctypedef struct fanion_series_head:
        uint64_t entries

    ctypedef struct fanion_series:
        uint32_t cell
        uint32_t width
        char name[184]


KIND_METRICS = 3


@cython.final
cdef class MetricFile(SharedFile):
    """Counters of all workers: `slots` rows of `cells` 64-bit words, and a directory of what each cell counts.

    Writer of a row: the process that claimed it (relaxed adds). Readers: any worker, at /metrics.
    """

    def __init__(self, str path, int slots, int cells, *, bint replace=False):
        if not (1 <= slots <= 1024 and 1 <= cells <= 65_536):
            raise ValueError(f"{slots} slots of {cells} cells; 1 to 1024 and 1 to 65536 are allowed")
        self.slots = slots
        self.cells = cells
        self.series_max = cells
        self.row_bytes = (cells * 8 + FANION_WORD_SPACING - 1) // FANION_WORD_SPACING * FANION_WORD_SPACING
        cdef uint64_t directory = sizeof(fanion_series_head) + self.series_max * sizeof(fanion_series)
        SharedFile.__init__(
            self, path, KIND_METRICS, 1, directory + slots * self.row_bytes, (<uint64_t> slots << 32) | cells,
            replace=replace, per_boot=True,
        )
        self.rows_start = self.body + directory

    def series(self, str name, int width=1):
        """The first of the `width` cells of the series `name`, the same in every worker; -1 when there is no room.

        The first use of a name takes the file's lock; keep the answer.
        """
        self.check_open()
        cdef bytes raw = name.encode()
        if not 1 <= len(raw) <= FANION_SERIES_NAME_BYTES or not 1 <= width <= self.cells:
            raise ValueError(f"series {name[:80]!r} of {width} cells: name or width is out of range")
        raw = raw.ljust(FANION_SERIES_NAME_BYTES, b"\0")
        cdef int cell = self.find(raw, width)
        if cell >= 0:
            return cell
        self.lock_file()
        try:
            cell = self.find(raw, width)
            return cell if cell >= 0 else self.append(raw, width)
        finally:
            self.unlock_file()

    cdef int find(self, bytes name, uint32_t width) except -2:
        cdef fanion_series *entries = <fanion_series *> (self.body + sizeof(fanion_series_head))
        cdef uint64_t count = fanion_u64_load_acquire(&(<fanion_series_head *> self.body).entries)
        cdef const char *raw = name
        cdef uint64_t index
        for index in range(count):
            if entries[index].width == width and memcmp(entries[index].name, raw, FANION_SERIES_NAME_BYTES) == 0:
                return entries[index].cell
        return -1

    cdef object append(self, bytes name, uint32_t width):
        """Under the file's lock. What a writer that died left behind `entries` is written over."""
        cdef fanion_series_head *head = <fanion_series_head *> self.body
        cdef uint64_t count = fanion_u64_load_relaxed(&head.entries)
        cdef uint64_t cell = 0
        cdef fanion_series *entry = <fanion_series *> (self.body + sizeof(fanion_series_head)) + count
        if count > 0:
            cell = (entry - 1).cell + (entry - 1).width
        if count >= self.series_max or cell + width > <uint64_t> self.cells:
            return -1
        entry.cell = <uint32_t> cell
        entry.width = width
        memcpy(entry.name, <const char *> name, FANION_SERIES_NAME_BYTES)
        fanion_u64_store_release(&head.entries, count + 1)
        return <int> cell

    def directory(self):
        """[(name, first cell, width)] in the order of their first use, over all workers."""
        self.check_open()
        cdef fanion_series *entries = <fanion_series *> (self.body + sizeof(fanion_series_head))
        cdef uint64_t count = fanion_u64_load_acquire(&(<fanion_series_head *> self.body).entries)
        return [
            (
                PyBytes_FromStringAndSize(entries[index].name, FANION_SERIES_NAME_BYTES).rstrip(b"\0").decode(),
                entries[index].cell,
                entries[index].width,
            )
            for index in range(count)
        ]

    def is_whole(self):
        """Whether every series lies where appending puts it. Before any other process has the file open."""
        self.check_open()
        cdef fanion_series *entries = <fanion_series *> (self.body + sizeof(fanion_series_head))
        cdef uint64_t count = fanion_u64_load_acquire(&(<fanion_series_head *> self.body).entries)
        cdef uint64_t cell = 0
        cdef uint64_t index
        if count > <uint64_t> self.series_max:
            return False
        for index in range(count):
            if entries[index].cell != cell or not 1 <= entries[index].width <= <uint64_t> self.cells - cell:
                return False
            cell += entries[index].width
            if not PyBytes_FromStringAndSize(entries[index].name, FANION_SERIES_NAME_BYTES).isascii():
                return False
        return True

    def claim(self):
        """A row of this process's own, or None when all are held. A dead worker's counts go on in it."""
        cdef int number
        for number in range(self.slots):
            if self.try_lock(number):
                return self.slot(number)
        return None

    def slot(self, int number):
        """Row `number` without claiming it."""
        self.check_open()
        if not 0 <= number < self.slots:
            raise IndexError(f"slot {number} of {self.slots}")
        cdef MetricSlot slot = MetricSlot.__new__(MetricSlot)
        slot.owner = self
        slot.number = number
        slot.cells = self.cells
        slot.row = <uint64_t *> (self.rows_start + number * self.row_bytes)
        return slot

    def column(self, int cell):
        """Cell `cell` of every row; not one instant, but no word is torn."""
        self.check_open()
        if not 0 <= cell < self.cells:
            raise IndexError(f"cell {cell} of {self.cells}")
        cdef uint8_t *start = self.rows_start + cell * sizeof(uint64_t)
        cdef int number
        return [
            fanion_u64_load_relaxed(<uint64_t *> (start + number * self.row_bytes)) for number in range(self.slots)
        ]


@cython.final
cdef class MetricSlot:
    """One worker's row. Adding is one atomic add: no lock, no allocation."""

    def add(self, int cell, uint64_t count=1):
        fanion_u64_add_relaxed(self.at(cell), count)

    def set(self, int cell, uint64_t value):
        fanion_u64_store_relaxed(self.at(cell), value)

    def get(self, int cell):
        return fanion_u64_load_relaxed(self.at(cell))

    def values(self):
        self.owner.check_open()
        return [fanion_u64_load_relaxed(self.row + cell) for cell in range(self.cells)]

    cdef uint64_t *at(self, int cell) except NULL:
        self.owner.check_open()
        if not 0 <= cell < self.cells:
            raise IndexError(f"cell {cell} of {self.cells}")
        return self.row + cell


@cython.final
cdef class AnswerCounter:
    """Counts answers by dialect, endpoint and status, each in a cell that `know` names; `otherwise` is asked for one
    that it doesn't know yet, and when the file is closed."""

    cdef MetricSlot row
    cdef dict cells                # dialect -> endpoint -> status -> cell: no key of three to be made for each answer
    cdef object otherwise

    def __init__(self, MetricSlot row not None, otherwise):
        self.row, self.cells, self.otherwise = row, {}, otherwise

    def know(self, str dialect, str endpoint, int status, int cell):
        self.cells.setdefault(dialect, {}).setdefault(endpoint, {})[status] = cell

    def count(self, str dialect not None, str endpoint not None, status, /):
        endpoints = self.cells.get(dialect)
        statuses = None if endpoints is None else (<dict> endpoints).get(endpoint)
        cell = None if statuses is None else (<dict> statuses).get(status)
        if cell is None or self.row.owner.base == NULL:
            self.otherwise(dialect, endpoint, status)
        else:
            fanion_u64_add_relaxed(self.row.at(cell), 1)
