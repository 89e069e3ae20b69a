"""Blocks of list segments, written, read and searched; the layout stands in `fanion_list_block.h`.

A row is a member behind its hash, 8 bytes big-endian: rows sort in the order in which blocks hold their members.
Hashes are SipHash under a secret of the list's own, so that nobody who chooses members can choose their hashes.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset


cdef extern from "Python.h":
    Py_buffer *PyMemoryView_GET_BUFFER(object view)
    bint PyMemoryView_Check(object view)


cdef extern from "fanion_siphash.h" nogil:
    void fanion_siphash(fanion_siphash_key key, const void *data, size_t length, int wide, uint64_t *out) noexcept


cdef extern from "fanion_list_block.h" nogil:
    enum:
        FANION_LIST_DEPTH_MAX
        FANION_LIST_DAMAGED
    ctypedef struct fanion_list_head:
        uint64_t seal, number, prefix
        uint32_t count
        uint16_t groups
        uint8_t depth
    size_t fanion_list_starts_bytes(uint16_t groups) noexcept
    bint fanion_list_open(
        const uint8_t *value, size_t size, uint64_t number, uint64_t hash, fanion_list_block *block
    ) noexcept
    uint64_t fanion_list_group(uint64_t hash, uint8_t depth, uint16_t groups) noexcept
    int fanion_list_holds(
        const fanion_list_block *block, uint64_t hash, const uint8_t *member, size_t length
    ) noexcept


cdef extern from * nogil:
    uint64_t swapped "__builtin_bswap64"(uint64_t word) noexcept


cdef enum:
    HASH = 8
    SEAL = 8
    LENGTH = 2
    RECORDS_MAX = 65_535  # bytes; starts have 16 bits
    TABLE_BITS_MAX = 18   # 4 MB; blocks of a deeper list are found through the store each time


cdef class ListReader:
    """Looks members of one list up, as one transaction sees it. `close` before the transaction ends.

    Where blocks lie is remembered: a transaction's pages don't move while it lives. For one thread, as its cursor is.
    """

    def __cinit__(self, object set_range, object value, uint64_t number, uint64_t secret):
        self.set_range = set_range
        self.value = value
        self.number = number
        self.key.k0 = secret
        self.key.k1 = number
        self.bits = 0
        self.blocks = <fanion_list_block *>calloc(1, sizeof(fanion_list_block))
        if self.blocks == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.blocks)

    def close(self):
        """Forgets the map. May be called twice."""
        free(self.blocks)
        self.blocks = NULL
        self.set_range = self.value = None

    def holds(self, bytes member not None):
        """Whether the list holds `member`. Raises ValueError where it is damaged, or after `close`."""
        return self.has(<const uint8_t *>PyBytes_AS_STRING(member), PyBytes_GET_SIZE(member)) == 1

    cdef int has(self, const uint8_t *own, size_t length) except -1:
        cdef uint64_t hash = 0
        cdef fanion_list_block found
        cdef const fanion_list_block *block
        cdef int answer
        if self.blocks == NULL:
            raise ValueError("this list was closed")
        fanion_siphash(self.key, own, length, 0, &hash)
        block = &self.blocks[hash >> 1 >> (63 - self.bits)]
        if block.starts == NULL:
            self.open_block(hash, &found)
            block = &found
        answer = fanion_list_holds(block, hash, own, length)
        if answer < 0:
            raise ValueError(f"list {self.number} is damaged")
        return answer

    cdef int open_block(self, uint64_t hash, fanion_list_block *found) except -1:
        cdef uint64_t sought[2]
        cdef Py_buffer *view
        cdef fanion_list_block *blocks
        sought[0] = swapped(self.number)
        sought[1] = swapped(hash)
        if not self.set_range(PyBytes_FromStringAndSize(<char *>sought, sizeof(sought))):
            raise ValueError(f"list {self.number} is damaged")
        value = self.value()
        if not PyMemoryView_Check(value):
            raise TypeError("values must be views into the map")
        view = PyMemoryView_GET_BUFFER(value)
        if not fanion_list_open(<const uint8_t *>view.buf, view.len, self.number, hash, found):
            raise ValueError(f"list {self.number} is damaged")
        if found.depth > self.bits and found.depth <= TABLE_BITS_MAX:
            blocks = <fanion_list_block *>calloc(<size_t>1 << found.depth, sizeof(fanion_list_block))
            if blocks == NULL:
                raise MemoryError()
            free(self.blocks)
            self.blocks = blocks
            self.bits = found.depth
        if found.depth <= self.bits:
            self.blocks[hash >> 1 >> (63 - self.bits)] = found[0]
        return 0


def rows_of(uint64_t number, uint64_t secret, list members not None):
    """The members of list `number` as rows, in their order."""
    cdef fanion_siphash_key key
    cdef uint64_t hash = 0
    cdef bytes member, row
    key.k0 = secret
    key.k1 = number
    rows = []
    for member in members:
        fanion_siphash(key, PyBytes_AS_STRING(member), PyBytes_GET_SIZE(member), 0, &hash)
        hash = swapped(hash)
        row = PyBytes_FromStringAndSize(NULL, HASH + PyBytes_GET_SIZE(member))
        memcpy(PyBytes_AS_STRING(row), &hash, HASH)
        memcpy(PyBytes_AS_STRING(row) + HASH, PyBytes_AS_STRING(member), PyBytes_GET_SIZE(member))
        rows.append(row)
    return rows


cdef uint64_t hash_of(bytes row) except? 0:
    cdef uint64_t hash = 0
    if PyBytes_GET_SIZE(row) < HASH:
        raise ValueError("a row begins with its hash")
    memcpy(&hash, PyBytes_AS_STRING(row), HASH)
    return swapped(hash)


def pack(uint64_t number, uint64_t prefix, int depth, list rows not None):
    """The block of the rows, which are sorted, different and begin with the prefix, without its seal. Raises
    ValueError when they can't be one."""
    cdef uint64_t hash = 0, group, filled = 0
    cdef Py_ssize_t size = 0, at = 0
    cdef fanion_list_head head
    cdef uint16_t length, start
    cdef char *starts
    cdef char *records
    cdef bytes row, block, previous = None
    if not 0 <= depth <= FANION_LIST_DEPTH_MAX:
        raise ValueError(f"a depth of {depth}")
    for row in rows:
        hash = hash_of(row)
        if depth > 0 and (hash ^ prefix) >> (64 - depth) != 0:
            raise ValueError("rows must begin with the prefix")
        if previous is not None and not previous < row:
            raise ValueError("rows must be sorted and different")
        previous = row
        size += LENGTH + PyBytes_GET_SIZE(row) - HASH
        if size > RECORDS_MAX:
            raise ValueError(f"members of more than {RECORDS_MAX} bytes")
    memset(&head, 0, sizeof(head))
    head.number = number
    head.prefix = prefix
    head.depth = <uint8_t>depth
    head.count = <uint32_t>len(rows)
    head.groups = <uint16_t>max(1, len(rows))
    block = PyBytes_FromStringAndSize(NULL, sizeof(head) - SEAL + fanion_list_starts_bytes(head.groups) + size)
    memcpy(PyBytes_AS_STRING(block), <char *>&head + SEAL, sizeof(head) - SEAL)
    starts = PyBytes_AS_STRING(block) + sizeof(head) - SEAL
    records = starts + fanion_list_starts_bytes(head.groups)
    for row in rows:
        group = fanion_list_group(hash_of(row), head.depth, head.groups)
        start = <uint16_t>at
        while filled <= group:
            memcpy(starts + LENGTH * filled, &start, LENGTH)
            filled += 1
        length = <uint16_t>(PyBytes_GET_SIZE(row) - HASH)
        memcpy(records + at, &length, LENGTH)
        memcpy(records + at + LENGTH, PyBytes_AS_STRING(row) + HASH, length)
        at += LENGTH + length
    start = <uint16_t>at
    while filled <= head.groups:
        memcpy(starts + LENGTH * filled, &start, LENGTH)
        filled += 1
    return block


def unpack(bytes block not None):
    """The members of a block without its seal, its prefix and its depth. Raises ValueError where it can't be read."""
    cdef fanion_list_head head
    cdef const char *at = PyBytes_AS_STRING(block) + sizeof(head) - SEAL
    cdef Py_ssize_t left = PyBytes_GET_SIZE(block) - <Py_ssize_t>(sizeof(head) - SEAL)
    cdef uint16_t length
    if left < 0:
        raise ValueError("not a block")
    memcpy(<char *>&head + SEAL, PyBytes_AS_STRING(block), sizeof(head) - SEAL)
    if head.depth > FANION_LIST_DEPTH_MAX:
        raise ValueError("not a block")
    at += fanion_list_starts_bytes(head.groups)
    left -= fanion_list_starts_bytes(head.groups)
    members = []
    while left > 0:
        if left < LENGTH:
            raise ValueError("not a block")
        memcpy(&length, at, LENGTH)
        if length > left - LENGTH:
            raise ValueError("not a block")
        members.append(PyBytes_FromStringAndSize(at + LENGTH, length))
        at += LENGTH + length
        left -= LENGTH + length
    if left < 0:
        raise ValueError("not a block")
    return members, head.prefix, head.depth
