"""Retention, compression and recycling of finished segments, on the simulated disk and by the real process."""

from __future__ import annotations

import errno
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanion.clock.belief import Moment, begin
from fanion.clock.keeper import clock_path, encode
from fanion.errors import JournalError
from fanion.journal import files, log_segment, window_rebuild
from fanion.journal.inspection import summarise, verify_segments
from fanion.journal.log_segment import START, list_segments
from fanion.journal.reader import JournalReader
from fanion.journal.retention import run_pass
from fanion.journal.settings import KIB, JournalSettings
from fanion.journal.stamps import read_stamps
from fanion.journal.storage import write_all
from tests.model.journal_world import DATA, JOURNAL, SETTINGS, World, new_disk, read_all
from tests.model.simulated_disk import SimulatedStorage

COMPRESSING = msgspec.structs.replace(SETTINGS, compress=True)
HOUR_NS = 3_600_000_000_000


def build(segments: int = 6, *, close: bool = True) -> SimulatedStorage:
    storage = SimulatedStorage(new_disk(), 11)
    world = World(storage).open()
    while len([s for s in list_segments(storage, JOURNAL)[0] if s.header.started]) < segments:
        world.append(b'["%d"]' % len(world.sent) + b" " * 3000)
        assert world.drain()
    if close:
        assert world.close()
    return storage


def follow_time(storage: SimulatedStorage) -> None:
    """As a server does from its start, for long enough that something may be deleted by age."""
    moment = Moment(storage.wall() / 1e9, storage.boottime() / 1e9, storage.boot())
    belief = msgspec.structs.replace(begin(moment), kept_s=SETTINGS.clock_trust_s)
    path = clock_path(DATA)
    storage.make_directory(path.parent)
    fd = storage.open(path, create=True)
    write_all(storage, fd, encode(belief), 0)
    storage.close(fd)


def names(storage: SimulatedStorage, suffix: str) -> list[str]:
    return [name for name in storage.list_directory(JOURNAL) if name.endswith(suffix)]


def sequences(storage: SimulatedStorage) -> list[int]:
    return [record.sequence for record in read_all(storage)[0]]


def test_sealed_segments_are_compressed_recycled_and_read_as_before() -> None:
    storage = build()
    before = read_all(storage)[0]
    passed = run_pass(storage, JOURNAL, COMPRESSING)
    assert passed is not None
    assert passed.compressed == 5
    assert passed.bytes_after < passed.bytes_before / 5
    assert len(names(storage, ".zst")) == 5
    assert len(names(storage, ".free")) > 0
    after, reader = read_all(storage)
    assert after == before
    assert reader.defects == []
    assert sum(verify_segments(DATA, storage)) == len(before)
    (line,) = summarise(DATA, storage)
    assert (line.records, line.compressed, line.segments) == (len(before), 5, 6)
    again = run_pass(storage, JOURNAL, COMPRESSING)
    assert again is not None
    assert (again.sealed, again.removed, again.compressed) == (0, 0, 0)


def test_every_flipped_byte_of_a_compressed_segment_is_found() -> None:
    storage = build(2)
    run_pass(storage, JOURNAL, COMPRESSING)
    before = read_all(storage)[0]
    (name,) = names(storage, ".zst")
    file = storage.disk.names[f"{JOURNAL}/{name}"]
    whole = bytes(file.cache)
    for at in range(START, len(whole), 3):
        file.cache = bytearray(whole)
        file.cache[at] ^= 0x10
        records, reader = read_all(storage)
        assert all(record in before for record in records), at
        assert len(records) < len(before), at
        assert reader.defects, at


def test_a_pass_that_ends_anywhere_leaves_every_record_readable_once() -> None:
    number = 0
    while True:
        number += 1
        storage = build(3)
        storage.fail_at = storage.calls + number
        try:
            run_pass(storage, JOURNAL, COMPRESSING)
            break
        except OSError:
            storage.fail_at = -1
        expected = list(range(1, sequences(storage)[-1] + 1))
        for after in (storage.kill(), storage.power_off(number)):
            assert sequences(after) == expected, number
            run_pass(after, JOURNAL, COMPRESSING)
            assert sequences(after) == expected, number
            assert len(names(after, ".zst")) == 2
            assert names(after, ".tmp") == []
        storage.disk.close()
    assert number > 20


def test_segments_leave_by_age_from_the_oldest_and_never_the_last() -> None:
    storage = build()
    follow_time(storage)
    settings = msgspec.structs.replace(SETTINGS, retention_hours=1.0)
    assert run_pass(storage, JOURNAL, settings).removed == 0  # type: ignore[union-attr]
    storage.clock += 2 * HOUR_NS
    assert run_pass(storage, JOURNAL, settings).removed == 5  # type: ignore[union-attr]
    records, reader = read_all(storage)
    assert reader.defects == []
    assert records[0].sequence > 1
    world = World(storage).open()
    assert world.append(b"[1]") == records[-1].sequence + 1


HOURLY = msgspec.structs.replace(SETTINGS, retention_hours=1.0)


def turn_wall(storage: SimulatedStorage, hours: float) -> None:
    wall = storage.wall
    storage.wall = lambda: wall() + int(hours * HOUR_NS)  # type: ignore[method-assign]


@pytest.mark.parametrize("jump_hours", [1.0, 365 * 24.0, -365 * 24.0, -55 * 365 * 24.0])
def test_wall_clock_that_jumps_deletes_nothing(jump_hours: float) -> None:
    """Neither while it is wrong, nor once it has been believed, nor when it is right again."""
    storage = build()
    follow_time(storage)
    storage.clock += HOUR_NS // 2
    turn_wall(storage, jump_hours)
    assert run_pass(storage, JOURNAL, HOURLY).removed == 0  # type: ignore[union-attr]
    trusting = msgspec.structs.replace(HOURLY, clock_trust_hours=0.0)
    assert run_pass(storage, JOURNAL, trusting).removed == 0  # type: ignore[union-attr]
    turn_wall(storage, -jump_hours)
    assert run_pass(storage, JOURNAL, HOURLY).removed == 0  # type: ignore[union-attr]
    storage.clock += HOUR_NS
    assert run_pass(storage, JOURNAL, HOURLY).removed == 5  # type: ignore[union-attr]


def test_nothing_leaves_by_age_while_no_time_has_been_followed() -> None:
    storage = build()
    storage.clock += 2 * HOUR_NS
    assert run_pass(storage, JOURNAL, HOURLY).removed == 0  # type: ignore[union-attr]


def test_what_came_while_the_clock_was_in_the_past_does_not_leave_first() -> None:
    """By size the oldest go; a new writer's segments, stamped 1972, aren't."""
    storage = SimulatedStorage(new_disk(), 13)
    follow_time(storage)
    older, newer = World(storage).open(), World(storage).open()
    for world, jump_hours in ((older, 0.0), (newer, -50 * 365 * 24.0)):
        turn_wall(storage, jump_hours)
        for n in range(80):
            world.append(b"[%d]" % n + b" " * 3000)
            assert world.drain()
    for world in (older, newer):
        assert world.close()
    count = len(list_segments(storage, JOURNAL)[0])
    settings = msgspec.structs.replace(SETTINGS, retention_bytes=(count - 2) * SETTINGS.segment_bytes)
    passed = run_pass(storage, JOURNAL, settings)
    assert passed is not None
    assert passed.removed > 0
    left = {record.writer: record.sequence for record in reversed(read_all(storage)[0])}
    assert left[0] > 1
    assert left[1] == 1


def test_newest_segments_are_told_by_their_chain_when_stamps_say_nothing() -> None:
    """The id window remembers what came last, also when the clock was a year ahead or behind for a while."""
    for jump_hours in (365 * 24.0, -365 * 24.0):
        storage = SimulatedStorage(new_disk(), 14)
        follow_time(storage)
        worlds = [World(storage).open(), World(storage).open()]
        for turn in range(3):
            turn_wall(storage, (jump_hours, -jump_hours)[turn % 2] if turn else 0.0)
            for n in range(60):
                for world in worlds:
                    world.append(b"[%d]" % n + b" " * 3000)
                    assert world.drain()
        parts = list(window_rebuild._parts(storage, DATA))
        found = window_rebuild.newest_first(parts, read_stamps(storage, DATA, SETTINGS))
        for writer in (0, 1):
            chain = [part.segment for part in parts if part.segment.header.writer == writer]
            assert [p.segment for p in reversed(found) if p.segment.header.writer == writer] == chain
        ends = {part.segment.header.writer for part in found[:2]}
        assert ends == {0, 1}, jump_hours


def test_segments_leave_by_total_size() -> None:
    storage = build()
    settings = msgspec.structs.replace(SETTINGS, retention_bytes=3 * SETTINGS.segment_bytes)
    passed = run_pass(storage, JOURNAL, settings)
    assert passed is not None
    assert passed.removed == 3


def test_a_registered_reader_keeps_what_it_has_not_passed_unless_forced() -> None:
    storage = build()
    follow_time(storage)
    reader = JournalReader(DATA, storage=storage, name="pipeline")
    records = reader.read()
    for _ in range(30):
        next(records)
    reader.commit()
    storage.clock += 2 * HOUR_NS
    settings = msgspec.structs.replace(SETTINGS, retention_hours=1.0)
    assert run_pass(storage, JOURNAL, settings).removed == 1  # type: ignore[union-attr]
    again = JournalReader(DATA, storage=storage, name="pipeline")
    assert next(iter(again.read())).sequence == 30
    forced = msgspec.structs.replace(settings, retention_forced=True)
    assert run_pass(storage, JOURNAL, forced).removed == 4  # type: ignore[union-attr]


def test_a_reader_in_the_middle_goes_on_across_compression_and_recycling() -> None:
    storage = build(5, close=False)
    reader = JournalReader(DATA, storage=storage)
    records = reader.read()
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


def test_a_segment_that_outgrew_its_size_is_read_whole_while_it_is_recycled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its file is cut to the common size for the pool: what stands there then is not what the segment held."""
    monkeypatch.setattr(log_segment, "WINDOW_BYTES", 8 * KIB)
    storage = build(4, close=False)
    everything = sequences(storage)
    reader = JournalReader(DATA, storage=storage)
    records = reader.read()
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


def test_what_is_removed_frees_its_blocks_in_small_steps_while_a_reader_stands_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files, "REMOVE_STEP_BYTES", 8 * KIB)
    storage = build()
    follow_time(storage)
    reader = JournalReader(DATA, storage=storage)
    records = reader.read()
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


def test_since_reads_only_what_can_hold_the_time() -> None:
    storage = build(5)
    all_records = read_all(storage)[0]
    since = all_records[-3].received_ns
    reads = 0
    original = storage.pread

    def counting(fd: int, size: int, offset: int) -> bytes:
        nonlocal reads
        part = original(fd, size, offset)
        reads += len(part)
        return part

    storage.pread = counting  # type: ignore[method-assign]
    reader = JournalReader(DATA, storage=storage, since_ns=since)
    assert [record.sequence for record in reader.read()] == [record.sequence for record in all_records[-3:]]
    assert reads < 2 * SETTINGS.segment_bytes + 5 * 10_000


def test_a_clock_that_jumps_changes_no_order() -> None:
    """S13: receipt times go back a year in the middle; segments still leave from the oldest end, without a gap."""
    storage = SimulatedStorage(new_disk(), 12)
    world = World(storage).open()
    wall = storage.wall
    for n in range(80):
        if n == 40:
            storage.wall = lambda: wall() - 365 * 24 * HOUR_NS  # type: ignore[method-assign]
        world.append(b"[%d]" % n + b" " * 3000)
        assert world.drain()
    assert world.close()
    assert sequences(storage) == list(range(1, 81))
    for limit in (4, 2):
        settings = msgspec.structs.replace(SETTINGS, retention_bytes=limit * SETTINGS.segment_bytes)
        run_pass(storage, JOURNAL, settings)
        records, reader = read_all(storage)
        assert [record.sequence for record in records] == list(range(records[0].sequence, 81))
        assert records[0].sequence > 1
        assert reader.defects == []


def test_a_checkpoint_of_another_journal_is_not_taken_up() -> None:
    storage = build(2)
    reader = JournalReader(DATA, storage=storage)
    count = len(list(reader.read()))
    assert list(JournalReader(DATA, storage=storage, checkpoint=reader.checkpoint).read()) == []
    stranger = msgspec.structs.replace(reader.checkpoint, machine="00" * 16)
    assert len(list(JournalReader(DATA, storage=storage, checkpoint=stranger).read())) == count


def test_one_pass_at_a_time() -> None:
    storage = build(2)
    fd = storage.open(JOURNAL / "retention.lock", create=True)
    assert storage.lock(fd)
    assert run_pass(storage, JOURNAL, COMPRESSING) is None


@pytest.mark.parametrize("name", ["../up", "", "a b"])
def test_a_readers_name_is_checked(name: str) -> None:
    with pytest.raises(JournalError, match="allowed"):
        JournalReader(DATA, storage=build(1), name=name)


def test_the_process_makes_one_pass(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    options = msgspec.json.encode(JournalSettings()).decode()
    command = [sys.executable, "-m", "fanion.journal", str(tmp_path / "journal"), options]
    assert subprocess.run(command, check=False).returncode == 0
    assert (tmp_path / "journal" / "retention.lock").exists()
