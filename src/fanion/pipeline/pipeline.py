"""Reads the journal on and commits steps of rows; merges small files, and lets go of old ones.

One at a time for a data directory. A kill at any moment leaves what the last manifest says; see the package.
"""

from __future__ import annotations

import contextlib
import functools
import math
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from fanion.errors import RowsError
from fanion.journal.columns import Expander
from fanion.journal.gaps import Gaps
from fanion.journal.reader import JournalReader
from fanion.journal.retention import room_bytes
from fanion.journal.settings import JournalSettings
from fanion.journal.stamps import read_stamps
from fanion.journal.storage import Storage
from fanion.model.canonical import Canonical
from fanion.pipeline.manifest import NAME, File, Leaving, Manifest, commit_manifest, load_manifest
from fanion.pipeline.pace import Pace
from fanion.pipeline.parquet import EVENTS, Writer
from fanion.pipeline.published import Published
from fanion.pipeline.source import JournalSource, Source
from fanion.telemetry.pipeline import PipelineState

DIRECTORY: Final = "rows"
LOCK: Final = "lock"
TURN: Final = "turn"
"""Its flock is held by who wants the rows for a while: the pipeline stands aside."""
ASIDE_S: Final = 0.1
SPILLED: Final = "query-"
"""What the name of a directory begins with to which a query spills."""
SPILLED_S: Final = 86_400.0
"""No query takes so long: what has stood longer was left by one that was killed."""
STEP_ROWS: Final = 200_000
"""Rows of a step, but for those of one more batch: what a step holds in memory."""
STEP_TEXT_BYTES: Final = 64 << 20
FRESH_US: Final = 60_000_000
"""How much later the manifest says that every event is there, where none came."""
TELL_READER_S: Final = 10.0
"""Between two commits of the journal's reader: each is two syncs, which the journal's own may have to wait for."""
LEAVING_S: Final = 600.0
"""A query that began before a file was replaced reads it for so long."""
DAY_NS: Final = 86_400_000_000_000
SMALL_BYTES: Final = 16 << 20
MERGED_MIN: Final = 8
"""So many small files of one environment and day become one."""
MERGED_MAX: Final = 64


class Pipeline:
    """Of the data directory `directory`. `keep_days`: rows that were received before leave, by the
    directory's last good time, as segments of the journal do, where their environment says nothing else; 0: never.
    `step_rows`: 0: `STEP_ROWS`. `opens`: what is read, at a manifest's place; without it, the directory's journal,
    for which `drain` is as `journal.proven` has it. Raises RowsError, and JournalError where there is none."""

    def __init__(
        self,
        directory: Path,
        canonical: Mapping[str, Canonical],
        *,
        map_bytes: int,
        settings: JournalSettings,
        keep_days: int = 0,
        pace: Pace | None = None,
        storage: Storage | None = None,
        step_rows: int = 0,
        now: Callable[[], float] = time.time,
        opens: Callable[[Manifest], Source] | None = None,
        drain: Callable[[], None] | None = None,
    ) -> None:
        self._storage = storage or Storage()
        self._data = directory
        self._settings = settings
        self._directory = directory / DIRECTORY
        self._keep_days = keep_days
        self._step_rows = step_rows or STEP_ROWS
        self._now = now
        self._pace = pace or Pace()
        self._writer = Writer(self._storage, self._directory, self._pace)
        self._pending, self._told_reader_s = False, -math.inf
        self._rows = self._steps = self._unreadable = self._records = 0
        self._told: set[str] = set()
        if opens is None:
            JournalReader(directory, storage=self._storage)  # without a journal nothing is made
        self._opens = opens or functools.partial(JournalSource, self._storage, directory, drain=drain)
        self._source: Source | None = None
        self._storage.make_directory(self._directory)
        self._published = Published(directory, map_bytes, canonical)
        self._canonical = canonical
        self._turn = self._lock = -1
        self._begin()

    def _begin(self, ended: Callable[[], bool] = lambda: False) -> bool:
        """Where the manifest says, alone. Whoever wants the rows for a while goes first. False: it was `ended`
        before its turn came."""
        self._turn = self._storage.open(self._directory / TURN, create=True)
        try:
            self._lock = self._storage.open(self._directory / LOCK, create=True)
            while self._wanted():
                if ended():
                    return False
                self._pace.turn()
                self._storage.sleep(ASIDE_S)
            if not self._storage.lock(self._lock):
                raise RowsError(f"{self._directory}: another pipeline has it; only one runs at a time")
            self.manifest = load_manifest(self._storage, self._directory)
            remove_unnamed(self._storage, self._directory, self.manifest, self._now)
            self._source = self._opens(self.manifest)
        except BaseException:
            self.close()
            raise
        self._waited_s = 0.0
        self._fresh_us = self._begun_us = self.manifest.fresh_us
        published = self._published
        self._expander = Expander(self._canonical, published.flag_of, published.key_of, own=EVENTS)
        return True

    def _wanted(self) -> bool:
        """Whether somebody wants the rows for a while."""
        return self._storage.locked(self._turn)

    def close(self) -> None:
        try:
            self._tell_reader(at_once=True)
        finally:
            if self._source is not None:
                self._source.close()
            for fd in (self._lock, self._turn):
                if fd >= 0:
                    self._storage.close(fd)
            self._lock = self._turn = -1

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def source(self) -> Source:
        """Closed while another has its turn."""
        assert self._source is not None
        return self._source

    def take_problems(self) -> list[str]:
        """What could not be read since this was last asked, some of it."""
        found = [*self._expander.problems, *self.source.problems()]
        fresh = [problem for problem in found if problem not in self._told]
        self._told.update(fresh)
        return fresh

    def state(self) -> PipelineState:
        """Between two runs, or in one that is at its end of a step."""
        storage, journal = self._storage, self._data / "journal"
        lag, heard = self.source.lag(), self.source.heard()
        room = room_bytes(storage, journal, self._settings) if lag.held_bytes else 0
        since_s = (self._fresh_us or self._begun_us) / 1e6
        return PipelineState(
            rows=self._rows,
            steps=self._steps,
            unreadable=self._unreadable,
            fresh_unix_s=self._fresh_us / 1e6,
            lag_s=max(self._waited_s, self._now() - since_s) if since_s else 0.0,
            lag_records=lag.records,
            lag_events=round(lag.records * self._rows / self._records) if self._rows else lag.records,
            held_bytes=lag.held_bytes,
            held_ratio=lag.held_bytes / (lag.held_bytes + room) if lag.held_bytes else 0.0,
            files=len(self.manifest.files),
            gap_records=self.gaps().records,
            records=self._records,
            contact_unix_s=heard.unix_s if heard else 0.0,
            lag_messages=heard.messages if heard else 0,
            missing_records=heard.missing if heard else 0,
        )

    def gaps(self) -> Gaps:
        """What left the journal before it was read."""
        return self.source.gaps()

    def run_once(self, ended: Callable[[], bool] = lambda: False) -> int:
        """All that can be read now, in as many steps as it takes; then merges and lets go. How many rows. `ended`:
        whether to stop with what was read so far."""
        if self._wanted():
            self.close()
            if not self._begin(ended):
                return 0
        before = self.manifest.step
        began_us = int(self._now() * 1e6)
        self._published.refresh()
        rows = 0
        for batch in self.source.read_batches():
            self._pace.turn()
            # Here all batches before this one are counted as handed out, and this one is not.
            if self._expander.rows >= self._step_rows or self._expander.text_bytes >= STEP_TEXT_BYTES:
                rows += self._commit_rows()
            if ended() or self._wanted():
                break
            self._begun_us = self._begun_us or batch.table.received_ns[0] // 1000
            self._records += len(batch.table)
            self._expander.add(batch)
        else:
            since_us = self._fresh_us or self._begun_us
            self._waited_s = max(0.0, self._now() - since_us / 1e6) if since_us else 0.0
            if self.source.whole:  # it begins with what is durable when it is asked
                self._fresh_us = began_us
        rows += self._commit_rows()
        quiet = self.manifest.step > 0 and self._fresh_us - self.manifest.fresh_us >= FRESH_US
        moved = self.source.placed(self.manifest) is not self.manifest
        if self.manifest.step == before and (quiet or moved):  # or results would read as if rows were behind
            self._commit(self.manifest.files, [])
        self._merge()
        self._let_go()
        self._tell_reader()
        self.source.check()
        return rows

    def _commit_rows(self) -> int:
        count = self._expander.rows
        if not count:
            return 0
        files = self._writer.write(self._expander.take_parts(), f"{self.manifest.step + 1:010}")
        self._commit([*self.manifest.files, *files], [])
        self._rows += count
        return count

    def _commit(self, files: list[File], left: list[str]) -> None:
        """A step: these files count, and the place is where the reader stands."""
        now = self._now()
        manifest = msgspec.structs.replace(
            self.source.placed(self.manifest),
            step=self.manifest.step + 1,
            files=files,
            leaving=[*self.manifest.leaving, *(Leaving(name, now) for name in left)],
            unreadable=self.manifest.unreadable + self._expander.unreadable,
            fresh_us=self._fresh_us,
        )
        commit_manifest(self._storage, self._directory, manifest)
        self.manifest = manifest
        self._steps += 1
        self._unreadable += self._expander.unreadable
        self._expander.unreadable = 0
        self._pending = True
        self._tell_reader()

    def _tell_reader(self, *, at_once: bool = False) -> None:
        """That retention may take what the manifest covers."""
        now = self._now()
        if self._pending and (at_once or not 0 <= now - self._told_reader_s < TELL_READER_S):
            self.source.tell()
            self._told_reader_s, self._pending = now, False

    def _merge(self) -> None:
        """One commit, which moves no place: nothing is read in between."""
        groups: dict[tuple[str, int], list[File]] = defaultdict(list)
        for file in self.manifest.files:
            if file.bytes < SMALL_BYTES:
                groups[file.environment, file.day].append(file)
        merged: list[File] = []
        replaced: set[str] = set()
        for small in groups.values():
            chosen = _alike(small[:MERGED_MAX])
            if len(chosen) >= MERGED_MIN:
                merged.append(
                    self._writer.merge(chosen, f"{self.manifest.step + 1:010}-{len(merged)}.parquet")
                )
                replaced.update(file.name for file in chosen)
        if merged:
            kept = [file for file in self.manifest.files if file.name not in replaced]
            self._commit([*kept, *merged], sorted(replaced))

    def _let_go(self) -> None:
        """Of days that are too old, and of files whose time is over."""
        now = self._now()
        old = self._too_old()
        if old:
            kept = [file for file in self.manifest.files if file not in old]
            self._commit(kept, [file.name for file in old])
        gone = [one for one in self.manifest.leaving if not 0 <= now - one.since_s < LEAVING_S]
        if not gone:
            return
        self.manifest = msgspec.structs.replace(
            self.manifest, leaving=[one for one in self.manifest.leaving if one not in gone]
        )
        for one in gone:
            with contextlib.suppress(FileNotFoundError):
                self._storage.unlink(self._directory / one.name)
        commit_manifest(self._storage, self._directory, self.manifest)

    def _too_old(self) -> list[File]:
        """Files whose last row was received before as many days as their environment keeps."""
        days = dict.fromkeys((file.environment for file in self.manifest.files), self._keep_days)
        for environment in days:
            own = self._published.terms_of(environment).keep_days
            if own is not None:
                days[environment] = own
        if not any(days.values()):
            return []
        stamps = read_stamps(self._storage, self._data, self._settings)
        before = {kept: stamps.deletable_before(24.0 * kept) for kept in set(days.values()) if kept}
        return [
            file
            for file in self.manifest.files
            if days[file.environment]
            and stamps.made_at((file.day + 1) * DAY_NS) <= before[days[file.environment]]
        ]


def remove_unnamed(
    storage: Storage, directory: Path, manifest: Manifest, now: Callable[[], float] = time.time
) -> None:
    """What kills have left of the rows' directory. By who holds it."""
    named = {NAME, LOCK, TURN, *(file.name for file in manifest.files)}
    named |= {one.name for one in manifest.leaving}
    for name in storage.list_directory(directory):
        path = directory / name
        if name.startswith(SPILLED):
            with contextlib.suppress(FileNotFoundError):
                if now() - path.stat().st_mtime > SPILLED_S:
                    shutil.rmtree(path, ignore_errors=True)
        elif name not in named and name.endswith((".parquet", ".tmp")):
            storage.unlink(path)


def _alike(files: list[File]) -> list[File]:
    """Without any that is larger than all the others together: what was merged before is written again only once
    as much has come, so that a row is written a few times and not with each merge."""
    left = list(files)
    while left and 2 * (largest := max(left, key=lambda file: file.bytes)).bytes > sum(
        file.bytes for file in left
    ):
        left.remove(largest)
    return left
