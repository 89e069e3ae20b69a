"""Retention and compression of finished segments, by a process of their own.

One pass seals what a crash left unsealed, removes what is too old or too much, and compresses the rest. Segments
leave from the oldest end of each writer's chain, and never before every registered reader has passed them, unless
forced: by the settings, by a disk that is nearly full, of readers that yield, or by a reader's own bounds of age
and bytes. What leaves unread is written down first (`gaps`). A writer's last started segment always stays: recovery
begins there. A plain file goes to the pool when its compressed twin is complete, and is recycled from there. Files
that nobody needs lose their name first and their blocks here, in small steps.

`Upkeep` is the steward's side: it starts the process when there is something to do. One process of a journal does
a pass at a time, by a lock; it runs at the lowest priority, writes in small steps and ends with its parent.
"""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from fanion.errors import JournalError
from fanion.journal.compression import compress_segment, is_draft_name, open_source
from fanion.journal.files import SegmentMaker, is_recycled_name, is_removed_name, remove_segment, shrink
from fanion.journal.gaps import Gap, Gaps, keep_gaps, load_gaps
from fanion.journal.log_segment import SEQUENCE_END, Segment, list_segments
from fanion.journal.reader import Checkpoint, list_checkpoints, segment_limits
from fanion.journal.seal import Seal, read_seal, seal_segment
from fanion.journal.settings import MIB, JournalSettings
from fanion.journal.slot import is_owned, read_slot
from fanion.journal.stamps import Stamps, read_stamps
from fanion.journal.storage import Storage

LOCK_NAME = "retention.lock"
PASS_EVERY_NS = 600_000_000_000
"""A pass is made at least this often, for age; and as soon as a writer has finished segments."""
LET_GO_EVERY_NS = 4_000_000_000
"""While the disk is nearly full and a reader that yields may hold segments."""
REST_NS = 30_000_000_000
"""Between a pass that failed and the next one."""
FINISHED_WANTED = 2
LET_GO_SEGMENTS, LET_GO_BYTES = 8, 64 * MIB
"""Free space above the reserve, the larger of both, below which readers that yield are waited for no more: well
before the journal would take no events (2 segments), with time for a pass to begin and to free blocks in steps."""
COMPRESS_BYTES_PER_S = 128 * 1024 * 1024
"""Pace of compression, of plain bytes: above what a worker takes in for long, so that the pool is refilled."""


def let_go_below(settings: JournalSettings) -> int:
    """Free bytes of the disk below which segments leave that a reader which yields has not passed."""
    return settings.reserve_bytes + _let_go_bytes(settings)


def room_bytes(storage: Storage, directory: Path, settings: JournalSettings) -> int:
    """How much more the disk of the journal in `directory` has until then."""
    return max(0, storage.free_bytes(directory) - let_go_below(settings))


def _let_go_bytes(settings: JournalSettings) -> int:
    return max(LET_GO_SEGMENTS * settings.segment_bytes, LET_GO_BYTES)


class Finished(NamedTuple):
    """A segment that will not be written any more, and its seal (None: it can't be sealed)."""

    segment: Segment
    seal: Seal | None
    end_sequence: int
    disk_bytes: int
    latest: float
    """When its newest record or any before it was received (`Stamps.made_at`): a chain stays in order whatever the
    clock did."""


class Passed(NamedTuple):
    """What a pass did."""

    sealed: int
    removed: int
    compressed: int
    bytes_before: int
    bytes_after: int


def run_pass(
    storage: Storage, directory: Path, settings: JournalSettings, step: Callable[[int], None] = lambda _: None
) -> Passed | None:
    """One pass over the journal in `directory`. None: another process is at it."""
    fd = storage.open(directory / LOCK_NAME, create=True)
    try:
        if not storage.lock(fd):
            return None
        return _run_locked(storage, directory, settings, step)
    finally:
        storage.close(fd)


def _run_locked(
    storage: Storage, directory: Path, settings: JournalSettings, step: Callable[[int], None]
) -> Passed:
    maker = SegmentMaker(storage, directory, settings)
    stamps = read_stamps(storage, directory.parent, settings)
    finished, sealed, total = _finished(storage, directory, settings, stamps)
    removed = _remove(storage, directory, settings, maker, finished, total, stamps)
    _drop_twins(storage, directory, maker, settings)
    free_removed(storage, directory, step)
    kept = [each for each in finished if each not in removed]
    compressed = before = after = 0
    for each in kept if settings.compress else []:
        if each.segment.header.compressed or each.seal is None:
            continue
        if compressed and storage.free_bytes(directory) < let_go_below(settings):
            break  # the next pass looks first at what can leave
        target = compress_segment(storage, each.segment, each.seal, step)
        maker.recycle(each.segment.path, keep=settings.pool_segments)
        compressed += 1
        before += each.seal.index_offset
        after += _size(storage, target)
        free_removed(storage, directory, step)
    return Passed(sealed, len(removed), compressed, before, after)


def _finished(
    storage: Storage, directory: Path, settings: JournalSettings, stamps: Stamps
) -> tuple[list[Finished], int, int]:
    """Every segment but each writer's last (unless that one is sealed), oldest first; how many were sealed here;
    bytes of all segments on disk."""
    found: list[Finished] = []
    sealed = total = 0
    chains: dict[int, list[Segment]] = {}
    for segment in list_segments(storage, directory)[0]:
        if segment.header.started:
            chains.setdefault(segment.header.writer, []).append(segment)
    for writer, chain in chains.items():
        state = read_slot(storage, directory, writer)
        clean = state is not None and state.clean and not is_owned(storage, directory, writer)
        end = state.next_sequence if state is not None and clean else SEQUENCE_END
        latest = -math.inf
        for number, (segment, limit) in enumerate(zip(chain, segment_limits(chain, end), strict=True)):
            size = _size(storage, segment.path)
            total += size
            last = number == len(chain) - 1
            seal = _seal(storage, segment)
            if last and seal is None and not clean:
                continue
            if seal is None and limit > segment.header.first_sequence:
                keep_size = settings.segment_bytes
                if seal_segment(storage, segment.path, segment.header, limit, keep_size=keep_size):
                    sealed += 1
                    seal = _seal(storage, segment)
            latest = max(latest, stamps.made_at(seal.last_ns if seal else segment.header.created_ns))
            if not last:
                end_sequence = min(limit, seal.end_sequence) if seal else limit
                found.append(Finished(segment, seal, end_sequence, size, latest))
    found.sort(key=lambda each: (each.latest, each.segment.header.writer, each.segment.header.ordinal))
    return found, sealed, total


def _seal(storage: Storage, segment: Segment) -> Seal | None:
    with open_source(storage, segment.path, segment.header) as source:
        return read_seal(source, segment.header)


def _size(storage: Storage, path: Path) -> int:
    fd = storage.open(path, write=False)
    try:
        return storage.size(fd)
    finally:
        storage.close(fd)


def _remove(
    storage: Storage,
    directory: Path,
    settings: JournalSettings,
    maker: SegmentMaker,
    finished: list[Finished],
    total: int,
    stamps: Stamps,
) -> list[Finished]:
    """Removes by age, then by size, from the oldest on; a writer's chain only from its beginning."""
    readers = list_checkpoints(storage, directory)
    oldest = stamps.deletable_before(settings.retention_hours or math.inf)
    free = storage.free_bytes(directory)
    floor = let_go_below(settings)
    if free < floor:
        floor += _let_go_bytes(settings)  # once it has to be, room for a while
    holds = _Holds(readers, finished, stamps, storage.disk_bytes(directory))
    kept_writers: set[int] = set()
    removed: list[Finished] = []
    for each in finished:
        writer = each.segment.header.writer
        empty = each.end_sequence <= each.segment.header.first_sequence
        too_much = settings.retention_bytes and total > settings.retention_bytes
        behind = {} if empty else _behind(readers, each)
        full = free < floor
        passed = settings.retention_forced or all(
            (full and reader.yields) or holds.over(name, reader, each) for name, reader in behind.items()
        )
        if not (empty or (passed and (each.latest < oldest or too_much))) or writer in kept_writers:
            kept_writers.add(writer)
            continue
        _note(storage, directory, behind, each)
        holds.left(behind, each)
        if each.segment.header.compressed or full:
            remove_segment(storage, each.segment.path)
        else:
            maker.recycle(each.segment.path, keep=settings.pool_segments)
        total -= each.disk_bytes
        free += each.disk_bytes
        removed.append(each)
    return removed


class _Holds:
    """What each reader that has bounds of its own holds, in bytes of segments, as they leave one by one."""

    def __init__(
        self, readers: dict[str, Checkpoint], finished: list[Finished], stamps: Stamps, disk_bytes: int
    ) -> None:
        self._stamps = stamps
        self._disk_bytes = disk_bytes
        self._held = dict.fromkeys(readers, 0)
        for each in finished:
            for name in _behind(readers, each):
                self._held[name] += each.disk_bytes

    def over(self, name: str, reader: Checkpoint, each: Finished) -> bool:
        """Whether the reader's bounds are passed by this segment, the oldest that it holds."""
        hours, share = reader.hold_hours, reader.hold_share
        return bool(
            (hours and each.latest < self._stamps.deletable_before(hours))
            or (share and self._held[name] > share * self._disk_bytes)
        )

    def left(self, behind: dict[str, Checkpoint], each: Finished) -> None:
        for name in behind:
            self._held[name] -= each.disk_bytes


def _behind(readers: dict[str, Checkpoint], finished: Finished) -> dict[str, Checkpoint]:
    """Those that have not passed a segment."""
    writer = finished.segment.header.writer
    return {
        name: reader
        for name, reader in readers.items()
        if reader.next_sequence.get(writer, 0) < finished.end_sequence
    }


def _note(storage: Storage, directory: Path, behind: dict[str, Checkpoint], finished: Finished) -> None:
    """Before a segment leaves that these have not passed."""
    header, name = finished.segment.header, finished.segment.path.name
    for reader, checkpoint in behind.items():
        try:
            gaps = load_gaps(storage, directory, reader)
        except JournalError:
            gaps = Gaps()
        sequence = max(header.first_sequence, checkpoint.next_sequence.get(header.writer, 0))
        gap = Gap(name, header.writer, sequence, finished.end_sequence, storage.wall() / 1e9)
        gaps.add(gap)
        keep_gaps(storage, directory, reader, gaps)
        print(
            f"fanion: journal retention: {name} leaves before the reader {reader!r} has read it: "
            f"{gap.end_sequence - gap.sequence} requests of writer {gap.writer}, from {gap.sequence} on",
            file=sys.stderr,
        )


def _drop_twins(storage: Storage, directory: Path, maker: SegmentMaker, settings: JournalSettings) -> None:
    """Plain files whose compressed twin is complete, left by a pass that ended in between; drafts likewise."""
    names = set(storage.list_directory(directory))
    for name in sorted(names):
        path = directory / name
        if is_draft_name(name) or is_recycled_name(name):
            remove_segment(storage, path)
        elif name.endswith(".log") and f"{path.stem}.zst" in names:
            maker.recycle(path, keep=settings.pool_segments)


def free_removed(storage: Storage, directory: Path, step: Callable[[int], None] = lambda _: None) -> None:
    """The blocks of files whose names were taken away (`files.remove_segment`)."""
    for name in storage.list_directory(directory):
        if is_removed_name(name):
            shrink(storage, directory / name, step)


class Upkeep:
    """Starts passes in a process of their own, when there is something to do."""

    def __init__(self, storage: Storage, directory: Path, settings: JournalSettings) -> None:
        self._storage = storage
        self._directory = directory
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._last_ns = storage.now()
        self._rest_until = 0

    def run(self) -> None:
        """Reaps the last process; starts another when a writer has finished segments, or now and then for age."""
        if self._process is not None and self._process.poll() is None:
            return
        now = self._storage.now()
        if self._process is not None and self._process.returncode:
            self._rest_until = now + REST_NS
        self._process = None
        rested = now - self._last_ns
        due = rested > PASS_EVERY_NS or (rested > LET_GO_EVERY_NS and self._has_to_let_go())
        if self._storage.table is not None or now < self._rest_until or not (due or self._has_work()):
            return
        self._last_ns = now
        options = msgspec.json.encode(self._settings).decode()
        command = [sys.executable, "-m", "fanion.journal", str(self._directory), options]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _has_to_let_go(self) -> bool:
        """Whether the disk is nearly full while a reader that yields may hold segments."""
        if self._storage.free_bytes(self._directory) >= let_go_below(self._settings):
            return False
        try:
            readers = list_checkpoints(self._storage, self._directory)
        except (OSError, JournalError):
            return False
        return any(reader.yields for reader in readers.values())

    def _has_work(self) -> bool:
        """Whether files wait for being removed, or finished segments for being compressed."""
        plain: dict[str, int] = {}
        for name in self._storage.list_directory(self._directory):
            if is_removed_name(name):
                return True
            if name.endswith(".log"):
                plain[name[:3]] = plain.get(name[:3], 0) + 1
        unfinished = 1 + self._settings.ready_segments
        return self._settings.compress and any(
            count - unfinished >= FINISHED_WANTED for count in plain.values()
        )


def main(arguments: list[str]) -> int:
    """The process: one pass at the lowest priority, paced, ended when its parent ends."""
    directory, settings = Path(arguments[0]), msgspec.json.decode(arguments[1], type=JournalSettings)
    parent = os.getppid()
    os.nice(19)

    def step(size: int) -> None:
        if os.getppid() != parent:
            raise SystemExit(0)
        time.sleep(size / COMPRESS_BYTES_PER_S)

    with contextlib.suppress(FileNotFoundError):
        try:
            run_pass(Storage(), directory, settings, step)
        except (OSError, JournalError) as error:
            print(f"fanion: journal retention: {error}", file=sys.stderr)
            return 1
    return 0
