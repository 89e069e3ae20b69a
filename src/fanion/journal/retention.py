"""Retention and compression of finished segments, by a process of their own.

One pass seals what a crash left unsealed, removes what is too old or too much, and compresses the rest. Segments
leave from the oldest end of each writer's chain, and never before every registered reader has passed them (unless
forced). A writer's last started segment always stays: recovery begins there. A plain file goes to the pool when its
compressed twin is complete, and is recycled from there. Files that nobody needs lose their name first and their
blocks here, in small steps.

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
from fanion.journal.log_segment import SEQUENCE_END, Segment, list_segments
from fanion.journal.reader import list_checkpoints, segment_limits
from fanion.journal.seal import Seal, read_seal, seal_segment
from fanion.journal.settings import JournalSettings
from fanion.journal.slot import is_owned, read_slot
from fanion.journal.stamps import Stamps, read_stamps
from fanion.journal.storage import Storage

LOCK_NAME = "retention.lock"
PASS_EVERY_NS = 600_000_000_000
"""A pass is made at least this often, for age; and as soon as a writer has finished segments."""
REST_NS = 30_000_000_000
"""Between a pass that failed and the next one."""
FINISHED_WANTED = 2
COMPRESS_BYTES_PER_S = 128 * 1024 * 1024
"""Pace of compression, of plain bytes: above what a worker takes in for long, so that the pool is refilled."""


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
    _free_removed(storage, directory, step)
    kept = [each for each in finished if each not in removed]
    compressed = before = after = 0
    for each in kept if settings.compress else []:
        if each.segment.header.compressed or each.seal is None:
            continue
        target = compress_segment(storage, each.segment, each.seal, step)
        maker.recycle(each.segment.path, keep=settings.pool_segments)
        compressed += 1
        before += each.seal.index_offset
        after += _size(storage, target)
        _free_removed(storage, directory, step)
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
    checkpoints = {} if settings.retention_forced else list_checkpoints(storage, directory)
    oldest = stamps.deletable_before(settings.retention_hours or math.inf)
    kept_writers: set[int] = set()
    removed: list[Finished] = []
    for each in finished:
        writer = each.segment.header.writer
        empty = each.end_sequence <= each.segment.header.first_sequence
        too_much = settings.retention_bytes and total > settings.retention_bytes
        passed = all(c.next_sequence.get(writer, 0) >= each.end_sequence for c in checkpoints.values())
        if not (empty or (passed and (each.latest < oldest or too_much))) or writer in kept_writers:
            kept_writers.add(writer)
            continue
        if each.segment.header.compressed:
            remove_segment(storage, each.segment.path)
        else:
            maker.recycle(each.segment.path, keep=settings.pool_segments)
        total -= each.disk_bytes
        removed.append(each)
    return removed


def _drop_twins(storage: Storage, directory: Path, maker: SegmentMaker, settings: JournalSettings) -> None:
    """Plain files whose compressed twin is complete, left by a pass that ended in between; drafts likewise."""
    names = set(storage.list_directory(directory))
    for name in sorted(names):
        path = directory / name
        if is_draft_name(name) or is_recycled_name(name):
            remove_segment(storage, path)
        elif name.endswith(".log") and f"{path.stem}.zst" in names:
            maker.recycle(path, keep=settings.pool_segments)


def _free_removed(storage: Storage, directory: Path, step: Callable[[int], None]) -> None:
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
        due = now - self._last_ns > PASS_EVERY_NS
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
