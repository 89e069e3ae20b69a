"""Puts ids of the journal's records back into an event-id window; see `fanion.journal.window_rebuild`."""

import os

from libc.errno cimport EAGAIN
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fanion._core.window cimport (
    FANION_WINDOW_NEW, IdWindow, fanion_window, fanion_window_entry, fanion_window_reserve, fanion_window_tenant_of,
    fanion_window_wants_growth,
)


cdef extern from "fanion_journal_format.h" nogil:
    int FANION_KIND_EVENTS
    ctypedef struct fanion_record_header:
        uint32_t length, kind_pending
        uint64_t sequence
    ctypedef struct fanion_events_header:
        uint16_t dialect_bytes, environment_bytes
        uint32_t dispositions, ids
    uint64_t fanion_record_span(uint64_t length) noexcept


cdef extern from "<unistd.h>":
    int usleep(unsigned int microseconds) nogil


def insert(IdWindow window not None, const uint8_t[::1] hashes not None, unsigned int writer, uint64_t sequence):
    """Puts back the ids of a record that the journal has (16 bytes each, zeros: none); how many were new. Makes
    the window larger where that is wanted; OSError when it can't be."""
    cdef uint64_t fresh = 0
    cdef int failed = 0
    window.check_writer(writer)
    if hashes.shape[0] % 16:
        raise ValueError(f"{hashes.shape[0]} bytes of ids; 16 each are needed")
    if hashes.shape[0]:
        with nogil:
            fresh = insert_ids(window, &hashes[0], hashes.shape[0] // 16, writer, sequence, &failed)
    if failed:
        raise OSError(failed, os.strerror(failed), window.path)
    return fresh


def insert_run(
    IdWindow window not None, const uint8_t[::1] data not None, uint64_t start, uint64_t end, unsigned int writer,
    *, bint extra, uint64_t above=0, bint count_only=False,
):
    """Puts back the ids of the verified journal records in data[start:end] that have a sequence over `above`.

    A record's first ids are its events', as many as it has dispositions (all of them when it has none); with
    `extra` the others are meant. A duplicate's id is no reason to refuse the next one, since the record that it
    repeats may have been lost; so records don't carry it. Returns how many ids the records have room for. Does
    not hold the GIL meanwhile. Makes the window larger as `insert` does.
    """
    cdef uint64_t total = 0
    cdef int failed = 0
    window.check_writer(writer)
    if start > end or end > <uint64_t> data.shape[0]:
        raise ValueError(f"records from {start} to {end} in {data.shape[0]} bytes")
    with nogil:
        while failed == 0 and start + sizeof(fanion_record_header) <= end:
            total += insert_record(window, &data[start], end - start, writer, extra, above, count_only, &failed)
            start += fanion_record_span((<const fanion_record_header *> &data[start]).length)
    if failed:
        raise OSError(failed, os.strerror(failed), window.path)
    return total


cdef uint64_t insert_record(
    IdWindow window, const uint8_t *bytes, uint64_t available, unsigned int writer, bint extra, uint64_t above,
    bint count_only, int *failed,
) noexcept nogil:
    cdef const fanion_record_header *record = <const fanion_record_header *> bytes
    cdef fanion_events_header head
    cdef uint64_t first
    cdef uint64_t count
    cdef uint64_t own
    if record.sequence <= above or record.kind_pending & 0xFF != FANION_KIND_EVENTS:
        return 0
    if record.length < sizeof(head) or available < sizeof(fanion_record_header) + record.length:
        return 0
    memcpy(&head, bytes + sizeof(fanion_record_header), sizeof(head))
    first = sizeof(head) + head.dialect_bytes + head.environment_bytes + head.dispositions
    if first + <uint64_t> head.ids * 16 > record.length:
        return 0
    own = min(head.dispositions, head.ids) if head.dispositions else head.ids
    count = head.ids - own if extra else own
    if not count_only:
        first += sizeof(fanion_record_header) + (own * 16 if extra else 0)
        insert_ids(window, bytes + first, count, writer, record.sequence, failed)
    return count


cdef uint64_t insert_ids(
    IdWindow window, const uint8_t *hashes, uint64_t total, unsigned int writer, uint64_t sequence, int *failed
) noexcept nogil:
    cdef uint64_t words[512]
    cdef uint64_t count
    cdef uint64_t first
    cdef uint64_t index
    cdef uint64_t fresh = 0
    while total:
        count = min(total, <uint64_t> 256)
        memcpy(words, hashes, count * 16)
        first = 0
        for index in range(1, count + 1):  # a record's ids are of one tenant, and zeros of none
            if index == count or fanion_window_tenant_of(words + 2 * index) != fanion_window_tenant_of(
                words + 2 * first
            ):
                failed[0] = insert_some(window, words + 2 * first, index - first, writer, sequence, &fresh)
                if failed[0]:
                    return fresh
                first = index
        hashes += count * 16
        total -= count
    return fresh


cdef int insert_some(
    IdWindow window, const uint64_t *hashes, uint64_t count, unsigned int writer, uint64_t sequence, uint64_t *fresh
) noexcept nogil:
    """Ids of one tenant, or zeros. errno, or 0."""
    cdef uint8_t dispositions[256]
    cdef fanion_window_entry entries[256]
    cdef uint64_t index
    cdef int failed = 0
    cdef const fanion_window *lane
    if not hashes[0] | hashes[1]:
        return 0
    lane = &window.lanes[window.lane_of(fanion_window_tenant_of(hashes), &failed)]
    if failed:
        return failed
    if fanion_window_wants_growth(lane):
        failed = window.grow_once(lane)
    while not fanion_window_reserve(lane, hashes, count, writer, sequence, dispositions, entries):
        failed = window.grow_once(lane)
        if failed == EAGAIN:  # someone else is at it
            usleep(1_000)
        elif failed:
            return failed
    for index in range(count):
        fresh[0] += dispositions[index] == FANION_WINDOW_NEW and entries[index].locator != 0
    return 0
