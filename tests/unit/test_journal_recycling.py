"""Unmaking segments beside readers: compressed, recycled, freed in steps, on the simulated disk."""

from __future__ import annotations

import errno
from itertools import islice
from typing import Any

import msgspec
import pytest

from fanion.journal import files, log_segment, window_rebuild
from fanion.journal.reader import JournalReader
from fanion.journal.retention import run_pass
from fanion.journal.settings import KIB
from tests.model.journal_world import BOTH_WAYS, DATA, JOURNAL, SETTINGS, Way, World, new_disk, read_all
from tests.model.simulated_disk import SimulatedStorage
from tests.unit.journal_segments import COMPRESSING, HOUR_NS, build, follow_time, names, sequences


@BOTH_WAYS
def test_a_reader_in_the_middle_goes_on_across_compression_and_recycling(read: Way) -> None:
    storage = build(5, close=False)
    reader = JournalReader(DATA, storage=storage)
    records = read(reader)
    seen = [next(records).sequence for _ in range(25)]
    run_pass(storage, JOURNAL, COMPRESSING)
    world = World(storage).open()
    for n in range(80):
        world.append(b"[%d]" % n + b" " * 3000)
        assert world.drain()
    seen += [record.sequence for record in records if record.writer == 0]
    assert reader.defects == []
    assert len(seen) > 60
    assert seen == list(range(1, len(seen) + 1))


@BOTH_WAYS
def test_a_segment_that_outgrew_its_size_is_read_whole_while_it_is_recycled(
    read: Way,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its file is cut to the common size for the pool: what stands there then is not what the segment held."""
    monkeypatch.setattr(log_segment, "WINDOW_BYTES", 8 * KIB)
    storage = build(4, close=False)
    everything = sequences(storage)
    reader = JournalReader(DATA, storage=storage)
    records = read(reader)
    seen = [next(records).sequence]
    smaller = msgspec.structs.replace(COMPRESSING, segment_bytes=SETTINGS.segment_bytes * 2 // 3)
    passed = run_pass(storage, JOURNAL, smaller)
    assert passed is not None
    assert passed.compressed == 3
    assert names(storage, ".free")
    seen += [record.sequence for record in records]
    assert reader.defects == []
    assert seen == everything


def test_what_a_kill_left_on_its_way_to_the_pool_is_removed() -> None:
    storage = build(3)
    (first, *_) = names(storage, ".log")
    storage.rename(JOURNAL / first, JOURNAL / f"{files.RECYCLED_PREFIX}0123456789abcdef.tmp")
    run_pass(storage, JOURNAL, SETTINGS)
    assert names(storage, ".tmp") == []
    assert names(storage, ".free") == []


@BOTH_WAYS
def test_what_is_removed_frees_its_blocks_in_small_steps_while_a_reader_stands_in_it(
    read: Way,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files, "REMOVE_STEP_BYTES", 8 * KIB)
    storage = build()
    follow_time(storage)
    reader = JournalReader(DATA, storage=storage)
    records = read(reader)
    seen = [next(records).sequence for _ in range(5)]
    sizes: list[int] = []
    truncate = storage.truncate

    def looking(fd: int, size: int) -> None:
        sizes.append(storage.size(fd) - size)
        truncate(fd, size)
        seen.extend(record.sequence for record in islice(records, 1))

    storage.truncate = looking  # type: ignore[method-assign]
    storage.clock += 2 * HOUR_NS
    settings = msgspec.structs.replace(SETTINGS, retention_hours=1.0, pool_segments=0)
    assert run_pass(storage, JOURNAL, settings).removed == 5  # type: ignore[union-attr]
    seen += [record.sequence for record in records]
    assert len(sizes) > 20
    assert max(sizes) == 8 * KIB
    assert names(storage, ".tmp") == []
    assert seen == sorted(set(seen))
    assert {defect.what for defect in reader.defects} == {"sequences are missing before this segment"}


def test_a_rebuild_of_the_id_window_notices_a_segment_that_goes_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the ids of its other records would be missing, and their events kept twice."""
    monkeypatch.setattr(files, "REMOVE_STEP_BYTES", 8 * KIB)
    monkeypatch.setattr(log_segment, "WINDOW_BYTES", 8 * KIB)
    storage = build(4)
    part, *_ = list(window_rebuild._parts(storage, DATA))
    runs = window_rebuild._runs(storage, part)
    next(runs)
    passed = run_pass(storage, JOURNAL, msgspec.structs.replace(COMPRESSING, pool_segments=0))
    assert passed is not None
    assert passed.compressed == 3
    with pytest.raises(FileNotFoundError):
        list(runs)


def test_a_file_that_cannot_be_shrunk_is_removed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "REMOVE_STEP_BYTES", 8 * KIB)
    for call in ("pwrite", "truncate"):
        storage = build(3)
        (first, second, _) = names(storage, ".log")
        files.remove_segment(storage, JOURNAL / first)
        files.remove_segment(storage, JOURNAL / second)
        fail_every(storage, call)
        run_pass(storage, JOURNAL, SETTINGS)
        assert names(storage, ".tmp") == []


def fail_every(storage: SimulatedStorage, call: str) -> None:
    def failing(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    setattr(storage, call, failing)


def test_only_what_was_written_goes_to_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment that was only allocated would be handed out for one that needs no commit of the file system."""
    monkeypatch.setattr(files, "FILL_BYTES_MAX", 8 * KIB)
    size = SETTINGS.segment_bytes
    for written, pooled in (([], False), ([(0, size // 2)], False), ([(0, size - 8 * KIB)], True)):
        storage = build(3)
        (first, *_) = names(storage, ".log")
        storage.disk.names[f"{JOURNAL}/{first}"].cache[-1] = 1
        storage.written = lambda fd, parts=written: parts  # type: ignore[method-assign, misc]
        files.SegmentMaker(storage, JOURNAL, SETTINGS).recycle(JOURNAL / first, keep=4)
        found = names(storage, ".free")
        assert len(found) == pooled
        assert not any(any(storage.disk.names[f"{JOURNAL}/{name}"].cache[-8 * KIB :]) for name in found)


@pytest.mark.parametrize(
    ("written", "holes"),
    [
        ([], [(0, 100)]),
        ([(0, 100)], []),
        ([(0, 10), (20, 100)], [(10, 20)]),
        ([(5, 10), (20, 90)], [(0, 5), (10, 20), (90, 100)]),
    ],
)
def test_holes_are_what_was_not_written(written: list[tuple[int, int]], holes: list[tuple[int, int]]) -> None:
    assert files.find_holes(written, 100) == holes


def test_a_segment_that_is_wanted_at_once_leaves_a_nearly_full_disk_alone() -> None:
    """What can't be allocated whole is given back: other files need the rest."""
    settings = msgspec.structs.replace(SETTINGS, reserve_bytes=10 * SETTINGS.segment_bytes)
    for free, failing, size in ((20, False, SETTINGS.segment_bytes), (12, False, 8192), (20, True, 8192)):
        storage = SimulatedStorage(new_disk(), 1)
        storage.make_directory(JOURNAL)
        storage.disk.free = free * SETTINGS.segment_bytes
        if failing:
            fail_every(storage, "allocate")
        maker = files.SegmentMaker(storage, JOURNAL, settings)
        ready = maker.make(machine=bytes(16), writer=0, epoch=1, ordinal=1, zeroed=False)
        assert storage.size(ready.fd) == size


def test_a_file_without_a_name_is_freed_by_the_next_pass() -> None:
    storage = build(3)
    (first, *_) = names(storage, ".log")
    files.remove_segment(storage, JOURNAL / first)
    after = storage.power_off(1)
    assert len(names(after, ".tmp")) == 1
    run_pass(after, JOURNAL, SETTINGS)
    assert names(after, ".tmp") == []


@pytest.mark.parametrize("at", range(8))
def test_segments_that_are_compressed_while_they_are_listed_are_read_all_the_same(at: int) -> None:
    """The plain file is gone when it is to be opened, and its compressed twin is not in the listing."""
    storage = build()
    expected = sequences(storage)
    original = storage.open
    opened = 0

    def compressing(*arguments: Any, **more: Any) -> int:
        nonlocal opened
        opened += 1
        if opened == at + 1:
            storage.open = original  # type: ignore[method-assign]
            run_pass(storage, JOURNAL, msgspec.structs.replace(COMPRESSING, pool_segments=0))
            storage.open = compressing  # type: ignore[method-assign]
        return original(*arguments, **more)

    storage.open = compressing  # type: ignore[method-assign]
    records, reader = read_all(storage)
    assert [record.sequence for record in records] == expected
    assert reader.defects == []
