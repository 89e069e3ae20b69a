"""Blocks of list segments, written, read and searched; the layout stands in `fanion_list_block.h`.

A row is a member behind its hash, 8 bytes big-endian: rows sort in the order in which blocks hold their members.
Hashes are SipHash under a secret of the list's own, so that nobody who chooses members can choose their hashes.

`answer_each` reads a JSON array of objects with three texts, whose list each of them asks for, and answers all of
them in one pass. What is not plain it leaves to its caller.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset


cdef extern from "Python.h":
    Py_buffer *PyMemoryView_GET_BUFFER(object view)
    bint PyMemoryView_Check(object view)


cdef extern from "fanion_siphash.h" nogil:
    ctypedef struct fanion_siphash_key:
        uint64_t k0, k1
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
    ctypedef struct fanion_list_block:
        const uint8_t *starts
        uint32_t size
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


cdef extern from "fanion_json_scan.h" nogil:
    ctypedef struct fanion_json_text:
        const uint8_t *at
        size_t length
    const uint8_t *fanion_json_blanks_end(const uint8_t *at, const uint8_t *end) noexcept
    const uint8_t *fanion_json_plain_text(const uint8_t *at, const uint8_t *end, fanion_json_text *text) noexcept
    const uint8_t *fanion_json_valid_end(const uint8_t *at, const uint8_t *end) noexcept


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

    cdef object set_range              # of a cursor over the lists, whose values are views into the map
    cdef object value                  # of the same cursor
    cdef uint64_t number
    cdef fanion_siphash_key key
    cdef fanion_list_block *blocks     # owned; 2**bits, by the first bits of a hash, each borrowed from the map
    cdef int bits

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


cdef class Asked:
    """One call of `answer_each`: which lists the texts of an object name."""

    cdef object find
    cdef dict known                    # (first text, second text) -> what `find` said
    cdef fanion_json_text last[2]      # the texts of the object before, borrowed from the body
    cdef ListReader within
    cdef ListReader but
    cdef bint found

    cdef int lists_of(self, const fanion_json_text *texts) except -1:
        """Sets `within` and `but`."""
        cdef size_t first = texts[0].length, second = texts[1].length
        if self.found and first == self.last[0].length and second == self.last[1].length:
            if not memcmp(texts[0].at, self.last[0].at, first) and not memcmp(texts[1].at, self.last[1].at, second):
                return 0
        key = (<bytes>texts[0].at[:first], <bytes>texts[1].at[:second])
        if key in self.known:
            lists = self.known[key]
        else:
            lists = self.known[key] = self.find(key[0].decode(), key[1].decode())
        self.within, self.but = lists
        self.last[0], self.last[1] = texts[0], texts[1]
        self.found = True
        return 0


cdef const uint8_t *read_texts(
    const uint8_t *at, const uint8_t *end, const fanion_json_text *names, fanion_json_text *texts, bint extras
) noexcept nogil:
    """Behind the object that begins at `at`, with its three texts; NULL where it isn't plain."""
    cdef fanion_json_text name
    cdef int which
    cdef int given = 0
    if at == end or at[0] != b"{":
        return NULL
    while True:
        at = fanion_json_plain_text(fanion_json_blanks_end(at + 1, end), end, &name)
        if at == NULL:
            return NULL
        at = fanion_json_blanks_end(at, end)
        if at == end or at[0] != b":":
            return NULL
        at = fanion_json_blanks_end(at + 1, end)
        which = 0
        while which < 3 and not (
            name.length == names[which].length and memcmp(name.at, names[which].at, name.length) == 0
        ):
            which += 1
        if which < 3 and not given & (1 << which):
            given |= 1 << which
            at = fanion_json_plain_text(at, end, &texts[which])
        elif which == 3 and extras:
            at = fanion_json_valid_end(at, end)
        else:
            return NULL
        if at == NULL:
            return NULL
        at = fanion_json_blanks_end(at, end)
        if at == end or at[0] != b",":
            break
    return at + 1 if at < end and at[0] == b"}" and given == 7 else NULL


def answer_each(
    bytes body not None, tuple names not None, find, tuple answers not None, size_t text_max, bint extras
):
    """The answers to `[{...}, ...]`, as a JSON array of `answers` (no, yes); None where it is to be read another way.

    Each object has three texts, the members `names`: `find(first, second)` says in which list the third one has to
    stand and in which not (readers; None: an empty list); what it raises is raised. None is returned for a third text
    above `text_max` bytes, escapes, names given twice, and, without `extras`, members of other names; with
    it, of those that aren't JSON. The body has to be UTF-8. Raises ValueError as `ListReader.holds`.
    """
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(body)
    cdef const uint8_t *end = at + PyBytes_GET_SIZE(body)
    cdef fanion_json_text own[3]
    cdef fanion_json_text texts[3]
    cdef bytes name, no = answers[0], yes = answers[1]
    cdef Py_ssize_t least = sum(map(len, names)) + 17  # bytes of an object: quotes, colons, commas and brackets
    cdef Py_ssize_t longest = max(len(no), len(yes)) + 1
    cdef Asked asked = Asked()
    cdef char *out
    cdef char *to
    cdef bint held
    cdef int which = 0
    for name in names:
        own[which].at, own[which].length = <const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)
        which += 1
    asked.find, asked.known = find, {}
    out = to = <char *>malloc((PyBytes_GET_SIZE(body) // least + 1) * longest + 2)
    if out == NULL:
        raise MemoryError
    try:
        to[0] = b"["
        to += 1
        at = fanion_json_blanks_end(at, end)
        if at == end or at[0] != b"[":
            return None
        at = fanion_json_blanks_end(at + 1, end)
        while at < end and at[0] != b"]":
            at = read_texts(at, end, own, texts, extras)
            if at == NULL or texts[2].length > text_max:
                return None
            asked.lists_of(texts)
            held = asked.within is not None and asked.within.has(texts[2].at, texts[2].length) == 1
            if held and asked.but is not None:
                held = asked.but.has(texts[2].at, texts[2].length) == 0
            name = yes if held else no
            memcpy(to, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
            to += PyBytes_GET_SIZE(name)
            to[0] = b","
            to += 1
            at = fanion_json_blanks_end(at, end)
            if at < end and at[0] == b",":
                at = fanion_json_blanks_end(at + 1, end)
                if at == end or at[0] != b"{":
                    return None
        if at == end or fanion_json_blanks_end(at + 1, end) != end:
            return None
        if to > out + 1:
            to -= 1
        to[0] = b"]"
        return PyBytes_FromStringAndSize(out, to + 1 - out)
    finally:
        free(out)


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
