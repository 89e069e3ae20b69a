"""The headers of many records as columns, out of a region that `journal_format.walk` has taken; no body is touched.

Offsets are in bytes of that buffer, which is neither kept nor written to. What a payload's first bytes say of its
parts is checked here against its length, so that whoever reads the columns may trust them.
"""

from cpython cimport array
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp


cdef extern from "fanion_journal_format.h" nogil:
    ctypedef struct fanion_record_header:
        uint32_t marker, checksum, length, kind_pending
        uint64_t sequence, received_ns

    ctypedef struct fanion_events_header:
        uint16_t dialect_bytes, environment_bytes
        uint32_t dispositions, ids
        uint8_t whole

    uint64_t fanion_record_span(uint64_t length)

cdef array.array WIDE = array.array("Q")
cdef array.array NUMBERS = array.array("I")
cdef array.array BYTES = array.array("B")


cdef class Names:
    """Texts by number, each once; UTF-8. Only grows: it lives as long as a reader."""

    cdef readonly list texts
    cdef dict _numbers
    cdef bytes _last
    cdef uint32_t _last_number

    def __init__(self):
        self.texts, self._numbers, self._last, self._last_number = [], {}, None, 0

    cdef int number(self, const uint8_t *text, uint32_t length, uint32_t *found) except -1:
        """UnicodeDecodeError: it is no UTF-8."""
        if self._last is not None and len(self._last) == length:
            if memcmp(<const char *>self._last, text, length) == 0:
                found[0] = self._last_number
                return 0
        cdef bytes raw = text[:length]
        known = self._numbers.get(raw)
        if known is None:
            self.texts.append(raw.decode())
            known = self._numbers[raw] = len(self.texts) - 1
        self._last, self._last_number = raw, known
        found[0] = self._last_number
        return 0


cdef class RecordTable:
    """A row for each record: `sequence`, `received_ns`; `dialect`, `environment` (numbers in the names);
    `dispositions`, `ids`, `body` (where they begin), `disposition_count`, `id_count`, `body_bytes`; `whole`; `kind`.

    `end`: where the record behind the last row begins, which is not the region's end if its payload is none.
    """

    cdef readonly array.array sequence, received_ns
    cdef readonly array.array dialect, environment
    cdef readonly array.array dispositions, disposition_count, ids, id_count, body, body_bytes, whole, kind
    cdef readonly uint32_t count
    cdef readonly uint64_t end

    def __len__(self):
        return self.count


def tabulate(
    const uint8_t[::1] data not None, uint64_t offset, uint64_t end, uint32_t records, uint64_t from_sequence,
    uint64_t since_ns, Names dialects not None, Names environments not None,
):
    """The region's `records` records as a `RecordTable`, but for those below `from_sequence` and those received
    before `since_ns`."""
    cdef RecordTable table = RecordTable.__new__(RecordTable)
    cdef uint64_t[::1] sequence, received_ns
    cdef uint32_t[::1] dialect, environment, dispositions, disposition_count, ids, id_count, body, body_bytes
    cdef uint8_t[::1] whole, kind
    cdef const fanion_record_header *record
    cdef const fanion_events_header *events
    cdef uint64_t at, parts
    cdef uint32_t n = 0
    if not offset <= end <= <uint64_t>data.shape[0] or <uint64_t>data.shape[0] > 0xFFFFFFFF:
        raise ValueError("the region ends before it begins or beyond the buffer, or the buffer beyond 4 GiB")
    if records > (end - offset) // sizeof(fanion_record_header):
        raise ValueError("the region is too short for so many records")
    table.sequence, table.received_ns = array.clone(WIDE, records, False), array.clone(WIDE, records, False)
    table.dialect, table.environment = array.clone(NUMBERS, records, False), array.clone(NUMBERS, records, False)
    table.dispositions = array.clone(NUMBERS, records, False)
    table.disposition_count = array.clone(NUMBERS, records, False)
    table.ids, table.id_count = array.clone(NUMBERS, records, False), array.clone(NUMBERS, records, False)
    table.body, table.body_bytes = array.clone(NUMBERS, records, False), array.clone(NUMBERS, records, False)
    table.whole, table.kind = array.clone(BYTES, records, False), array.clone(BYTES, records, False)
    sequence, received_ns, dialect, environment = (
        table.sequence, table.received_ns, table.dialect, table.environment
    )
    dispositions, disposition_count = table.dispositions, table.disposition_count
    ids, id_count = table.ids, table.id_count
    body, body_bytes, whole, kind = table.body, table.body_bytes, table.whole, table.kind
    while offset + sizeof(fanion_record_header) <= end and n < records:
        record = <const fanion_record_header *>&data[offset]
        if offset + fanion_record_span(record.length) > end:
            raise ValueError("a record ends beyond the region")
        if record.sequence >= from_sequence and record.received_ns >= since_ns:
            at = offset + sizeof(fanion_record_header)
            events = <const fanion_events_header *>(<const uint8_t *>record + sizeof(fanion_record_header))
            if record.length < sizeof(fanion_events_header):
                break
            parts = sizeof(fanion_events_header) + events.dialect_bytes + events.environment_bytes
            parts += events.dispositions + <uint64_t>events.ids * 16
            if parts > record.length:
                break
            at += sizeof(fanion_events_header)
            try:
                dialects.number(&data[0] + at, events.dialect_bytes, &dialect[n])
                at += events.dialect_bytes
                environments.number(&data[0] + at, events.environment_bytes, &environment[n])
            except UnicodeDecodeError:
                break
            at += events.environment_bytes
            sequence[n], received_ns[n] = record.sequence, record.received_ns
            dispositions[n], disposition_count[n] = <uint32_t>at, events.dispositions
            at += events.dispositions
            ids[n], id_count[n] = <uint32_t>at, events.ids
            at += <uint64_t>events.ids * 16
            body[n], body_bytes[n] = <uint32_t>at, <uint32_t>(record.length - parts)
            whole[n], kind[n] = events.whole != 0, record.kind_pending & 0xFF
            n += 1
        offset += fanion_record_span(record.length)
    table.count, table.end = n, offset
    return table
