"""Every cut and every flipped byte of a small journal, against the decision table of the journal's docstring."""

from __future__ import annotations

import os
import random

import pytest

from fanion._core import journal_format
from fanion.journal.batch import Record
from fanion.journal.inspection import verify_segments
from fanion.journal.log_segment import HEADER_COPY, START, SegmentHeader, Source, list_segments
from fanion.journal.seal import read_seal
from fanion.journal.session import adopt
from fanion.journal.settings import KIB, JournalSettings
from tests.model.journal_world import DATA, JOURNAL, World, check_recovered, new_disk, read_all
from tests.model.simulated_disk import File, SimulatedStorage
from tests.rounds import rounds

SMALL = JournalSettings(
    ring_bytes=64 * KIB, segment_bytes=64 * KIB, group_bytes=4 * KIB, reserve_bytes=0, compress=False
)
STRIDE = rounds(7, 1)
"""Each so many-th byte is cut or flipped, every single one with all rounds; the bit that is flipped changes too."""
BODIES = [b"[%d]" % n + b" " * (n * 37 % 300) for n in range(1, 25)]


def build(*, clean: bool) -> SimulatedStorage:
    """One segment of 24 records; `clean`: sealed by an orderly end, else its process was killed."""
    storage = SimulatedStorage(new_disk(), 5)
    world = World(storage, SMALL).open()
    for body in BODIES:
        world.append(body)
        assert world.drain()
    if clean:
        assert world.close()
    return storage.kill()


def segment_file(storage: SimulatedStorage) -> File:
    (segment,) = [s for s in list_segments(storage, JOURNAL)[0] if s.header.started]
    return storage.disk.names[str(segment.path)]


def remove_ring(storage: SimulatedStorage) -> None:
    """What only the log holds is the question here."""
    storage.disk.names.pop(f"{JOURNAL}/000.ring").close()


def places() -> list[tuple[int, int]]:
    """(offset, end) of each record."""
    storage = build(clean=True)
    data = bytes(segment_file(storage).cache)
    header = list_segments(storage, JOURNAL)[0][0].header
    _, end, *_ = journal_format.walk(data, START, 1, header.salt)
    found = journal_format.list_records(data, START, end)
    begins = [start - journal_format.RECORD_HEADER_BYTES for *_, start, _ in found]
    return list(zip(begins, [*begins[1:], end], strict=True))


def bodies(records: list[Record]) -> list[bytes]:
    return [record.body for record in records]


def test_torn_tail_is_cut_at_last_whole_record_at_every_byte() -> None:
    spans = places()
    storage = build(clean=False)
    remove_ring(storage)
    whole = bytes(segment_file(storage).cache[: spans[-1][1]])
    for cut in (*range(START, len(whole), STRIDE), len(whole)):
        file = segment_file(storage)
        file.cache = bytearray(whole[:cut])
        file.sync()
        expected = BODIES[: sum(1 for _, end in spans if end <= cut)]
        records, reader = read_all(storage)
        assert bodies(records) == expected, cut
        assert reader.defects == [], cut


@pytest.mark.parametrize("step", [97])
def test_a_cut_segment_is_recovered_and_goes_on(step: int) -> None:
    spans = places()
    for cut in range(START, spans[-1][1], step):
        storage = build(clean=False)
        remove_ring(storage)
        file = segment_file(storage)
        del file.cache[cut:]
        file.sync()
        sent = dict(enumerate(BODIES, 1))
        check_recovered(storage, sent, sum(1 for _, end in spans if end <= cut))


def test_the_ring_brings_back_what_a_cut_took() -> None:
    """The ring still holds the records of the last, incomplete page."""
    spans = places()
    storage = build(clean=False)
    file = segment_file(storage)
    del file.cache[spans[-3][0] + 5 :]
    check_recovered(storage, dict(enumerate(BODIES, 1)), len(BODIES))


def test_every_flipped_byte_of_a_sealed_segment_is_found_and_costs_one_record_at_most() -> None:
    spans = places()
    storage = build(clean=True)
    file = segment_file(storage)
    whole = bytes(file.cache)
    for at in range(0, len(whole), STRIDE):
        file.cache = bytearray(whole)
        file.cache[at] ^= 1 << (at % 8)
        records, reader = read_all(storage)
        damaged = [n for n, (begin, behind) in enumerate(spans) if begin <= at < behind]
        expected = [body for n, body in enumerate(BODIES) if n not in damaged]
        assert bodies(records) == expected, at
        assert len(reader.defects) == len(damaged), at
        if damaged:
            (defect,) = reader.defects
            assert (defect.offset, defect.sequence, defect.next_sequence) == (
                spans[damaged[0]][0],
                damaged[0] + 1,
                damaged[0] + 2,
            )


def test_both_headers_damaged_is_told_and_the_file_is_left_alone() -> None:
    storage = build(clean=True)
    file = segment_file(storage)
    file.cache[20] ^= 1
    file.cache[HEADER_COPY + 20] ^= 1
    records, reader = read_all(storage)
    assert records == []
    assert [defect.what for defect in reader.defects] == ["no valid segment header"]


def test_flips_of_an_unsealed_segment_never_give_a_wrong_record() -> None:
    """The last group is not known to have been durable, so a flip in it cuts; any other costs one record."""
    spans = places()
    storage = build(clean=False)
    remove_ring(storage)
    file = segment_file(storage)
    whole = bytes(file.cache)
    for at in range(START, spans[-1][1], 7):
        file.cache = bytearray(whole)
        file.cache[at] ^= 0x80
        (damaged,) = [n for n, (begin, behind) in enumerate(spans) if begin <= at < behind]
        records, reader = read_all(storage)
        assert bodies(records) == BODIES[:damaged] + BODIES[damaged + 1 :], at
        assert len(reader.defects) == (damaged < len(BODIES) - 1), at


def test_verify_names_every_damaged_place() -> None:
    spans = places()
    storage = build(clean=True)
    file = segment_file(storage)
    for n in (3, 4, 11):
        file.cache[spans[n][0] + 40] ^= 1
    report = verify_segments(DATA, storage)
    assert sum(report) == len(BODIES) - 3
    assert [(d.offset, d.sequence, d.next_sequence) for d in report.defects] == [
        (spans[3][0], 4, 6),
        (spans[11][0], 12, 13),
    ]


def test_records_of_a_files_earlier_life_are_the_end_of_the_log() -> None:
    """S8b: a recycled file full of valid records with higher sequences than its new ones."""
    storage = build(clean=True)
    old = segment_file(storage)
    sealed = bytes(old.cache)
    world = World(storage, SMALL).open()
    world.append(b"[0]")
    assert world.drain()
    fresh = storage.disk.names[str(list_segments(storage, JOURNAL)[0][-1].path)]
    end = START + journal_format.record_span(16 + 7 + 4 + 3)
    fresh.cache[end:] = sealed[end:]
    records, reader = read_all(storage)
    assert bodies(records) == [*BODIES, b"[0]"]
    assert reader.defects == []


def test_a_body_that_holds_a_copied_record_is_never_taken_apart() -> None:
    """S8b: also not when the record around it is damaged."""
    storage = SimulatedStorage(new_disk(), 6)
    world = World(storage, SMALL).open()
    world.append(b"[1]")
    assert world.drain()
    path = list_segments(storage, JOURNAL)[0][-1].path
    first = bytes(storage.disk.names[str(path)].cache[START : START + 64])
    ring = world.session.ring
    for shift in range(32):
        body = b"[" + b" " * shift + first * 3 + b"]"
        assert ring.append("feather", "prod", 1, body, False) > 0
    assert world.drain()
    world.close()
    file = storage.disk.names[str(path)]
    whole = bytes(file.cache)
    total = len(read_all(storage)[0])
    assert total == 33
    data, header = bytes(file.cache), list_segments(storage, JOURNAL)[0][-1].header
    _, end, *_ = journal_format.walk(data, START, 1, header.salt)
    for *_, start, _ in journal_format.list_records(data, START, end)[1:]:
        file.cache = bytearray(whole)
        file.cache[start - 28] ^= 0xFF
        records, reader = read_all(storage)
        assert len(records) == total - 1
        assert [record.sequence for record in records].count(1) == 1
        assert len(reader.defects) == 1


def three_segments() -> SimulatedStorage:
    storage = SimulatedStorage(new_disk(), 9)
    world = World(storage, SMALL).open()
    for n in range(50):
        world.append(bytes([n]) * 3000)
        assert world.drain()
    assert world.close()
    assert len(list_segments(storage, JOURNAL)[0]) == 3
    return storage


def test_swapped_names_change_nothing() -> None:
    storage = three_segments()
    paths = [str(s.path) for s in list_segments(storage, JOURNAL)[0]]
    names = storage.disk.names
    names[paths[0]], names[paths[2]] = names[paths[2]], names[paths[0]]
    records, reader = read_all(storage)
    assert [record.sequence for record in records] == list(range(1, 51))
    assert reader.defects == []


def test_a_duplicated_segment_is_read_once() -> None:
    storage = three_segments()
    path = list_segments(storage, JOURNAL)[0][1].path
    storage.disk.names[str(path.with_name("copy.log"))] = storage.disk.names[str(path)]
    assert len(read_all(storage)[0]) == 50


def test_a_missing_segment_is_told_and_the_others_are_served() -> None:
    storage = three_segments()
    segment, following = list_segments(storage, JOURNAL)[0][1:]
    del storage.disk.names[str(segment.path)]
    records, reader = read_all(storage)
    first, behind = segment.header.first_sequence, following.header.first_sequence
    assert [record.sequence for record in records] == [*range(1, first), *range(behind, 51)]
    (defect,) = reader.defects
    assert (defect.sequence, defect.next_sequence) == (first, behind)


def test_a_seal_that_is_damaged_is_the_same_as_none() -> None:
    storage = build(clean=True)
    file = segment_file(storage)
    file.cache[4096 + 20] ^= 1
    with OpenSegment(storage) as (source, header):
        assert read_seal(source, header) is None
    assert bodies(read_all(storage)[0]) == BODIES


class OpenSegment:
    """The only segment's source and header."""

    def __init__(self, storage: SimulatedStorage) -> None:
        (segment,) = list_segments(storage, JOURNAL)[0]
        self.source, self.header = Source(storage, segment.path), segment.header

    def __enter__(self) -> tuple[Source, SegmentHeader]:
        return self.source, self.header

    def __exit__(self, *_: object) -> None:
        self.source.close()


def test_an_adopted_ring_is_read_to_its_last_record() -> None:
    storage = SimulatedStorage(new_disk(), 3)
    world = World(storage, SMALL).open()
    for body in BODIES:
        world.append(body)
    storage = storage.kill()
    recovered = adopt(storage, JOURNAL, 0, SMALL)
    assert recovered is not None
    assert recovered.moved == len(BODIES)
    assert bodies(read_all(storage)[0]) == BODIES
    assert adopt(storage, JOURNAL, 0, SMALL) is None


@pytest.mark.parametrize("seed", range(20))
def test_a_ring_that_lost_pages_gives_no_record_beyond_the_gap(seed: int) -> None:
    storage = SimulatedStorage(new_disk(), seed)
    world = World(storage, SMALL).open()
    for body in BODIES:
        world.append(body)
    ring = storage.disk.names[f"{JOURNAL}/000.ring"]
    data = ring.read()
    at = 20480 + random.Random(seed).randrange(4000)
    data[at] ^= 0xFF
    os.pwrite(ring.memory, data, 0)
    storage = storage.kill()
    assert adopt(storage, JOURNAL, 0, SMALL) is not None
    found = bodies(read_all(storage)[0])
    assert found == BODIES[: len(found)]
    assert len(found) < len(BODIES)


@pytest.mark.parametrize("sequence", [2**31 - 2, 2**32 - 2, 2**63 - 4])
def test_sequences_at_the_edges_of_integers(sequence: int) -> None:
    """S9: right, or refused; the last sequence is 2^63 - 2."""
    storage = SimulatedStorage(new_disk(), 4)
    world = World(storage, SMALL).open()
    session = world.session
    state = session.slot.state
    assert state is not None
    session.slot.write(
        machine=state.machine,
        epoch=state.epoch,
        next_sequence=sequence,
        ring_bytes=state.ring_bytes,
        clean=True,
    )
    storage = storage.kill()
    world = World(storage, SMALL).open()
    taken = [world.append(b"[%d]" % n) for n in range(5)]
    wanted = [n if n <= 2**63 - 2 else 0 for n in range(sequence, sequence + 5)]
    assert taken == wanted
    assert world.drain()
    assert [record.sequence for record in read_all(storage)[0]] == [n for n in wanted if n]
    storage = storage.kill()
    world = World(storage, SMALL).open()
    assert world.session.recovered.next_sequence == [n for n in wanted if n][-1] + 1
