"""Putting an event-id window together from the journal: all of it, one writer's tail, or a dead writer's end.

Ids are read from the records' own bytes in verified runs; no body is parsed. A rebuild reads the newest segments
that hold twice as many ids as the window remembers of one tenant, counts them from the newest back, and inserts
them oldest first, so that what is forgotten first is what was kept first. So after a reboot a tenant is remembered
as far back as all tenants together sent that many: to find more, all of the journal would have to be read. Each may
be repeated: an id that is there stays as it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from fanion._core.window import WRITERS, IdWindow
from fanion._core.window_rebuild import insert_run
from fanion.errors import JournalError
from fanion.journal.compression import open_source
from fanion.journal.log_segment import MOVED_MAX, Damage, Run, Scanner, Segment
from fanion.journal.reader import JournalReader, segment_limits
from fanion.journal.session import adopt
from fanion.journal.settings import JournalSettings
from fanion.journal.slot import Slot, list_slots, read_slot
from fanion.journal.stamps import Stamps, read_stamps
from fanion.journal.storage import Storage

POLL_S = 0.005
READ_CAPACITIES = 2
"""Ids to be read, in capacities of the window: more than one, since a flood may hold the newest."""
CLOSED = "the event-id window is closed"


class Part(NamedTuple):
    """One segment, and the sequences that exist in it."""

    segment: Segment
    limit: int
    proven: int


def rebuild(
    window: IdWindow,
    storage: Storage,
    directory: Path,
    settings: JournalSettings,
    is_stopped: Callable[[], bool],
    *,
    extra: bool,
) -> None:
    """Inserts the newest ids of the journal and settles their records.

    `extra`: the ids beyond the events' own. Rings of dead writers are drained first. OSError or JournalError when
    the journal can't be read now, or `is_stopped`; nothing is marked as ready here.
    """
    for writer in list_slots(storage, directory / "journal"):
        _await_whole_log(window, storage, directory / "journal", settings, writer, is_stopped)
    for attempt in range(MOVED_MAX):
        try:
            _rebuild(window, storage, directory, settings, is_stopped, extra=extra)
            return
        except FileNotFoundError:
            if attempt == MOVED_MAX - 1:
                raise


def _await_whole_log(
    window: IdWindow,
    storage: Storage,
    journal: Path,
    settings: JournalSettings,
    writer: int,
    is_stopped: Callable[[], bool],
) -> None:
    """Returns once the writer's log holds all that its ring held: until then another worker, still in its recovery,
    may put records into the log that this rebuild would not see, and whose ids a third one would keep again."""
    while True:
        state = read_slot(storage, journal, writer)
        if state is None or state.clean or window.announced(writer) == state.epoch:
            return
        if adopt(storage, journal, writer, settings) is not None:
            return
        if is_stopped():
            raise JournalError(CLOSED)
        time.sleep(POLL_S)


def _rebuild(
    window: IdWindow,
    storage: Storage,
    directory: Path,
    settings: JournalSettings,
    is_stopped: Callable[[], bool],
    *,
    extra: bool,
) -> None:
    chosen: list[Part] = []
    total = 0
    for part in newest_first(_parts(storage, directory), read_stamps(storage, directory, settings)):
        chosen.append(part)
        for run in _runs(storage, part, is_stopped):
            total += insert_run(
                window, run.buffer, run.start, run.end, _writer(part), extra=extra, count_only=True
            )
        if total >= READ_CAPACITIES * window.capacity:
            break
    for part in reversed(chosen):
        last = 0
        for run in _runs(storage, part, is_stopped):
            insert_run(window, run.buffer, run.start, run.end, _writer(part), extra=extra)
            last = run.next_sequence - 1
        window.settle(_writer(part), last)


def complete_writer(
    window: IdWindow, storage: Storage, directory: Path, writer: int, end: int, *, extra: bool
) -> None:
    """Inserts the ids of the writer's records between what the window knows to be safe and `end`, the end that
    recovery found. After a crash they are there already; not so when the window was rebuilt before the recovery."""
    known = window.settled(writer)
    if not window.ready or known >= end:
        return
    for part in _parts(storage, directory):
        if _writer(part) == writer and part.limit > known + 1:
            for run in _runs(storage, part):
                if run.next_sequence > known + 1:
                    insert_run(window, run.buffer, run.start, run.end, writer, extra=extra, above=known)


def heal_writer(window: IdWindow, storage: Storage, directory: Path, writer: int, *, extra: bool) -> bool:
    """Voids what a dead writer left above its end, if its ring was drained and it has no new owner. True: done."""
    slot = Slot.take(storage, directory / "journal", writer, create=False)
    if slot is None:
        return False
    try:
        if slot.state is None or not slot.state.clean:
            return False
        end = slot.state.next_sequence - 1
        complete_writer(window, storage, directory, writer, end, extra=extra)
        window.attach(writer, end)
        window.detach(writer, end)
        return True
    finally:
        slot.release()


def _parts(storage: Storage, directory: Path) -> Iterator[Part]:
    """Every started segment, in the order of each writer's chain."""
    reader = JournalReader(directory, storage=storage)
    for segments, end, proven in reader.chains():
        if segments[0].header.writer >= WRITERS:
            raise JournalError(f"journal writer {segments[0].header.writer}; the window takes {WRITERS}")
        for segment, limit in zip(segments, segment_limits(segments, end), strict=True):
            if limit > segment.header.first_sequence:
                yield Part(segment, limit, proven if limit == end else limit)


def _runs(storage: Storage, part: Part, is_stopped: Callable[[], bool] = lambda: False) -> Iterator[Run]:
    """The verified records of one segment; what is damaged is the reader's to report, not ours.

    Raises FileNotFoundError when retention took the file meanwhile: what was read of it may not be all.
    """
    header = part.segment.header
    with open_source(storage, part.segment.path, header) as source:
        scanner = Scanner(
            source, header.salt, header.first_sequence, limit=part.limit, proven=min(part.proven, part.limit)
        )
        for found in scanner:
            if is_stopped():
                raise JournalError(CLOSED)
            if not isinstance(found, Damage):
                yield found
            elif not source.in_place:
                raise FileNotFoundError(str(part.segment.path))


def _writer(part: Part) -> int:
    return part.segment.header.writer


def newest_first(parts: Iterable[Part], stamps: Stamps) -> list[Part]:
    """The segments of all writers. A chain keeps its order whatever the clock did; where stamps of several writers
    say nothing, those nearer to the end of their chain are newer."""
    chains: dict[int, list[Part]] = {}
    for part in parts:
        chains.setdefault(_writer(part), []).append(part)
    placed: list[tuple[float, int, Part]] = []
    for chain in chains.values():
        latest = -math.inf
        for number, part in enumerate(chain):
            latest = max(latest, stamps.made_at(part.segment.header.created_ns))
            placed.append((latest, number - len(chain), part))
    placed.sort(key=lambda each: each[:2], reverse=True)
    return [part for _, _, part in placed]
