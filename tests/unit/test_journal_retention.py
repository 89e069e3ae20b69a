"""Retention, compression and recycling of finished segments, on the simulated disk and by the real process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from fanion.errors import JournalError
from fanion.journal import window_rebuild
from fanion.journal.gaps import Gaps, load_gaps
from fanion.journal.inspection import summarise, verify_segments
from fanion.journal.lag import lag_of
from fanion.journal.log_segment import START, list_segments
from fanion.journal.reader import JournalReader
from fanion.journal.retention import let_go_below, run_pass
from fanion.journal.settings import JournalSettings
from fanion.journal.stamps import read_stamps
from tests.model.journal_world import BOTH_WAYS, DATA, JOURNAL, SETTINGS, Way, World, new_disk, read_all
from tests.model.simulated_disk import DISK_BYTES, SimulatedStorage
from tests.unit.journal_segments import COMPRESSING, HOUR_NS, build, follow_time, names, sequences


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


def yielding(storage: SimulatedStorage, records: int, name: str = "rows", yields: bool = True) -> None:
    """A registered reader that has read so many."""
    reader = JournalReader(DATA, storage=storage, name=name, yields=yields)
    for _ in zip(range(records + 1), reader.read(), strict=False):
        pass
    reader.commit()


def test_a_reader_that_yields_keeps_segments_only_while_the_disk_has_room(
    capsys: pytest.CaptureFixture[str],
) -> None:
    storage = build(8)
    follow_time(storage)
    yielding(storage, 15)
    storage.clock += 2 * HOUR_NS
    settings = msgspec.structs.replace(SETTINGS, retention_hours=1.0)
    storage.disk.free = let_go_below(settings)
    assert run_pass(storage, JOURNAL, settings).removed == 0  # type: ignore[union-attr]
    assert load_gaps(storage, JOURNAL, "rows") == Gaps()
    before = {s.path.name: s.header for s in list_segments(storage, JOURNAL)[0]}
    storage.disk.free = let_go_below(settings) - 1
    passed = run_pass(storage, JOURNAL, settings)
    assert passed is not None
    assert passed.removed > 1
    left = {s.path.name: s.header for s in list_segments(storage, JOURNAL)[0]}
    gaps = load_gaps(storage, JOURNAL, "rows")
    assert [gap.segment for gap in gaps.last] == [name for name in before if name not in left]
    assert gaps.segments == passed.removed
    reader = JournalReader(DATA, storage=storage, name="rows", yields=True)
    following = next(iter(reader.read())).sequence
    assert gaps.last[0].sequence == 16
    assert gaps.last[-1].end_sequence == following
    assert gaps.records == following - 16
    assert gaps.last[0].segment in capsys.readouterr().err
    (defect,) = reader.defects
    assert (defect.sequence, defect.next_sequence) == (16, following)


def holding(storage: SimulatedStorage, **bounds: float) -> None:
    """A sink's reader that has read 15 records."""
    reader = JournalReader(DATA, storage=storage, name="sink-a", yields=True, **bounds)
    for record in reader.read():
        if record.sequence > 15:
            break
    reader.commit()


@pytest.mark.parametrize("hours", [0.5, 1.5])
def test_a_reader_keeps_segments_no_longer_than_its_hours(hours: float) -> None:
    storage = build(8)
    follow_time(storage)
    holding(storage, hold_hours=hours)
    storage.clock += int(1.25 * HOUR_NS)
    passed = run_pass(storage, JOURNAL, HOURLY)
    assert passed is not None
    gaps = load_gaps(storage, JOURNAL, "sink-a")
    if hours > 1.25:
        assert gaps == Gaps()
        return
    assert passed.removed == 7
    assert (gaps.last[0].sequence, gaps.records) == (16, gaps.last[-1].end_sequence - 16)
    reader = JournalReader(DATA, storage=storage, name="sink-a", yields=True)
    assert next(iter(reader.read())).sequence == gaps.last[-1].end_sequence


def test_a_reader_keeps_no_more_than_its_share_of_the_disk_and_another_keeps_its_own() -> None:
    for other in (False, True):
        storage = build(8)
        follow_time(storage)
        held = 4.5 * SETTINGS.segment_bytes
        holding(storage, hold_share=held / DISK_BYTES)
        if other:
            JournalReader(DATA, storage=storage, name="sink-b", hold_hours=100.0)
        storage.clock += 2 * HOUR_NS
        run_pass(storage, JOURNAL, HOURLY)
        left = [s for s in list_segments(storage, JOURNAL)[0] if s.header.started]
        gaps = load_gaps(storage, JOURNAL, "sink-a")
        if other:
            assert len(left) == 8
            assert gaps == Gaps()
        else:
            assert len(left) == 4 + 1, "those that fit, and the last"
            assert gaps.last[0].sequence == 16


def test_how_far_a_reader_is_behind_and_what_is_kept_for_it() -> None:
    storage = build()
    segments = [s for s in list_segments(storage, JOURNAL)[0] if s.header.started]
    end = sequences(storage)[-1] + 1
    reader = JournalReader(DATA, storage=storage, name="rows")
    for record in reader.read():
        behind = lag_of(reader, storage)
        assert behind.records == end - record.sequence, "it counts as handed out when the next is asked for"
        unread = sum(s.header.first_sequence > record.sequence for s in segments)
        whole = [s for s in segments if s.header.first_sequence <= record.sequence][-1] is not segments[-1]
        assert behind.held_bytes == (max(0, unread - 1) + whole) * SETTINGS.segment_bytes
    assert lag_of(reader, storage) == (0, 0)


def test_what_is_neither_old_nor_too_much_stays_on_a_full_disk() -> None:
    storage = build()
    follow_time(storage)
    yielding(storage, 0)
    storage.disk.free = 0
    assert run_pass(storage, JOURNAL, SETTINGS).removed == 0  # type: ignore[union-attr]


def test_a_full_disk_waits_for_a_reader_that_does_not_yield() -> None:
    storage = build()
    follow_time(storage)
    yielding(storage, 0)
    yielding(storage, 0, "own", yields=False)
    storage.clock += 2 * HOUR_NS
    settings = msgspec.structs.replace(SETTINGS, retention_hours=1.0)
    storage.disk.free = 0
    assert run_pass(storage, JOURNAL, settings).removed == 0  # type: ignore[union-attr]
    forced = msgspec.structs.replace(settings, retention_forced=True)
    assert run_pass(storage, JOURNAL, forced).removed == 5  # type: ignore[union-attr]
    assert load_gaps(storage, JOURNAL, "own").segments == load_gaps(storage, JOURNAL, "rows").segments == 5


def test_what_leaves_unread_is_written_down_before_and_once_wherever_the_pass_ends() -> None:
    number = 0
    settings = msgspec.structs.replace(SETTINGS, retention_hours=1.0)
    while True:
        number += 1
        storage = build(4)
        follow_time(storage)
        yielding(storage, 5)
        storage.clock += 2 * HOUR_NS
        storage.disk.free = 0
        last = sequences(storage)[-1]
        storage.fail_at = storage.calls + number
        try:
            run_pass(storage, JOURNAL, settings)
            ended = True
        except OSError:
            ended = False
        storage.fail_at = -1
        for after in (storage.power_off(number), storage.kill()):
            after.disk.free = 0
            missing = last - 5 - len([s for s in sequences(after) if s > 5])
            assert load_gaps(after, JOURNAL, "rows").records >= missing, number
        run_pass(after, JOURNAL, settings)
        missing = last - 5 - len([s for s in sequences(after) if s > 5])
        assert load_gaps(after, JOURNAL, "rows").records == missing > 0, number
        storage.disk.close()
        if ended:
            break
    assert number > 10


@BOTH_WAYS
def test_since_reads_only_what_can_hold_the_time(read: Way) -> None:
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
    assert list(read(reader)) == all_records[-3:]
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


@BOTH_WAYS
def test_a_checkpoint_of_another_journal_is_not_taken_up(read: Way) -> None:
    storage = build(2)
    reader = JournalReader(DATA, storage=storage)
    count = len(list(read(reader)))
    assert list(read(JournalReader(DATA, storage=storage, checkpoint=reader.checkpoint))) == []
    stranger = msgspec.structs.replace(reader.checkpoint, machine="00" * 16)
    assert len(list(read(JournalReader(DATA, storage=storage, checkpoint=stranger)))) == count


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
