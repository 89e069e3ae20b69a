"""The journal's bytes for Python: checksums, walking and resynchronising over windows of a segment or ring.

Functions take any contiguous buffer; they neither keep it nor write to it. Offsets are in bytes of the buffer and
are checked against its size here, once; the C below trusts them. Scans release the GIL.
"""

from libc.stdint cimport UINT64_MAX, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef extern from "fanion_journal_format.h" nogil:
    ctypedef struct fanion_record_header:
        uint32_t marker, checksum, length, kind_pending
        uint64_t sequence, received_ns
    ctypedef struct fanion_walk_state:
        uint64_t offset, sequence, durable, first_ns, last_ns, records
    enum:
        FANION_KIND_EVENTS
        FANION_KIND_EXPOSURES
    uint32_t fanion_crc32c(uint32_t seed, const void* data, size_t length)
    uint64_t fanion_record_span(uint64_t length)
    int fanion_record_verify(const uint8_t* data, uint64_t available, uint64_t salt)
    void fanion_record_stamp(fanion_record_header* record, uint64_t salt)
    int fanion_walk(const uint8_t* data, uint64_t available, uint64_t salt, uint64_t limit, fanion_walk_state* s)
    uint64_t fanion_resync(const uint8_t* data, uint64_t available, uint64_t offset, uint64_t salt,
                           uint64_t above, uint64_t below, uint64_t* partial)

END, MORE, LIMIT, INDEX = 0, 1, 2, 3
RECORD_HEADER_BYTES = sizeof(fanion_record_header)


def crc32c(const uint8_t[::1] data not None, uint32_t seed = 0):
    """CRC-32C of the buffer, continued from `seed`."""
    if data.shape[0] == 0:
        return fanion_crc32c(seed, b"", 0)
    cdef uint32_t result
    with nogil:
        result = fanion_crc32c(seed, &data[0], data.shape[0])
    return result


def record_span(uint64_t length):
    """Bytes that a record with this payload takes, header and padding included."""
    return fanion_record_span(length)


def walk(
    const uint8_t[::1] data not None, uint64_t offset, uint64_t sequence, uint64_t salt, uint64_t limit = UINT64_MAX
):
    """Takes records of consecutive sequences. (result, offset, sequence, durable, first_ns, last_ns, records)."""
    cdef fanion_walk_state state = fanion_walk_state(offset, sequence, 0, UINT64_MAX, 0, 0)
    cdef uint64_t available = data.shape[0]
    cdef int result
    if offset >= available:
        return (MORE, offset, sequence, 0, UINT64_MAX, 0, 0)
    with nogil:
        result = fanion_walk(&data[0], available, salt, limit, &state)
    return (result, state.offset, state.sequence, state.durable, state.first_ns, state.last_ns, state.records)


def resync(const uint8_t[::1] data not None, uint64_t offset, uint64_t salt, uint64_t above, uint64_t below):
    """(offset, candidate): the first valid record with above < sequence < below at or after `offset`, a multiple
    of 32 in the file; -1: none. `candidate`: the first that would need bytes beyond the buffer; -1: none."""
    cdef uint64_t available = data.shape[0], partial = available, found
    if offset >= available:
        return (-1, -1)
    with nogil:
        found = fanion_resync(&data[0], available, offset, salt, above, below, &partial)
    return (<long long>found if found < available else -1, <long long>partial if partial < available else -1)


def read_record(const uint8_t[::1] data not None, uint64_t offset, uint64_t salt):
    """(kind, pending, sequence, received_ns, payload start, payload length) of a valid record, else None."""
    cdef uint64_t available = data.shape[0]
    cdef const fanion_record_header* record
    if offset >= available or fanion_record_verify(&data[offset], available - offset, salt) != 1:
        return None
    record = <const fanion_record_header*>&data[offset]
    return (
        record.kind_pending & 0xFF, record.kind_pending >> 8, record.sequence, record.received_ns,
        offset + sizeof(fanion_record_header), record.length,
    )


def list_records(const uint8_t[::1] data not None, uint64_t offset, uint64_t end):
    """[(kind, sequence, received_ns, payload start, payload length)] of a region that `walk` has taken."""
    cdef const fanion_record_header* record
    result = []
    if end > <uint64_t>data.shape[0]:
        raise ValueError("the region ends beyond the buffer")
    while offset + sizeof(fanion_record_header) <= end:
        record = <const fanion_record_header*>&data[offset]
        start = offset + sizeof(fanion_record_header)
        result.append((record.kind_pending & 0xFF, record.sequence, record.received_ns, start, record.length))
        offset += fanion_record_span(record.length)
    return result


def scan_ring(const uint8_t[::1] data not None, uint64_t salt, uint64_t above = 0):
    """{sequence: (offset, span)} of every valid record of events or exposures above a sequence in a ring's data,
    wherever it lies."""
    cdef uint64_t available = data.shape[0], offset = 0
    cdef const fanion_record_header* record
    result = {}
    while offset < available:
        with nogil:
            offset = fanion_resync(&data[0], available, offset, salt, above, UINT64_MAX, NULL)
        if offset >= available:
            break
        record = <const fanion_record_header*>&data[offset]
        if record.kind_pending & 0xFF in (FANION_KIND_EVENTS, FANION_KIND_EXPOSURES):
            result[record.sequence] = (offset, fanion_record_span(record.length))
        offset += fanion_record_span(record.length)
    return result


def stamp(const uint8_t[::1] data not None, uint64_t offset, uint64_t salt, uint64_t pending):
    """The record at `offset` (valid, whole) as bytes for the segment with this salt."""
    cdef const fanion_record_header* record = <const fanion_record_header*>&data[offset]
    cdef uint64_t span = fanion_record_span(record.length)
    if offset + span > <uint64_t>data.shape[0]:
        raise ValueError("the record ends beyond the buffer")
    copy = bytearray(span)
    cdef uint8_t[::1] target = copy
    memcpy(&target[0], record, span)
    cdef fanion_record_header* stamped = <fanion_record_header*>&target[0]
    stamped.kind_pending = (record.kind_pending & 0xFF) | <uint32_t>(min(pending, 0xFFFFFF) << 8)
    fanion_record_stamp(stamped, salt)
    return copy


def make_record(const uint8_t[::1] payload not None, int kind, uint64_t sequence, uint64_t received_ns, uint64_t salt,
                uint64_t pending = 0):
    """A record as bytes: for index footers, and for tests that write segments by hand."""
    cdef uint64_t span = fanion_record_span(payload.shape[0])
    copy = bytearray(span)
    cdef uint8_t[::1] target = copy
    cdef fanion_record_header* record = <fanion_record_header*>&target[0]
    record.length = <uint32_t>payload.shape[0]
    record.kind_pending = kind | <uint32_t>(min(pending, 0xFFFFFF) << 8)
    record.sequence = sequence
    record.received_ns = received_ns
    if payload.shape[0]:
        memcpy(&target[sizeof(fanion_record_header)], &payload[0], payload.shape[0])
    fanion_record_stamp(record, salt)
    return copy
