"""The archiver's process: what it says and counts of itself; the loop is `pipeline.loop`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from fanion.archive.archiver import Archiver
from fanion.config.archive import Archive
from fanion.pipeline.loop import Loop, notes_of
from fanion.telemetry.archive import ArchiveNumbers
from fanion.telemetry.heartbeats import Heartbeat
from fanion.telemetry.metrics import Metrics

log = logging.getLogger("fanion.archive")

AGAIN_S: Final = 0.5
"""After a look that failed, doubled up to `archive.again_s_max` while it fails."""


class Service(Loop[Archiver]):
    """`make`: the archiver, with what it calls at every step. `row`, `metrics`: of a server."""

    def __init__(
        self,
        settings: Archive,
        make: Callable[[Callable[[], None]], Archiver],
        row: Heartbeat | None = None,
        metrics: Metrics | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        again_s = AGAIN_S, settings.again_s_max
        super().__init__(make, row, interval_s=settings.interval_s, again_s=again_s, spread=True, now=now)
        self._numbers = ArchiveNumbers(metrics) if metrics is not None else None

    def tell_failed(self, reason: str, *, again: bool) -> None:
        if self._numbers is not None:
            self._numbers.failed()
        if not again:
            log.error("log segments can't be archived now; it is tried again", extra={"reason": reason})

    def tell_well(self) -> None:
        log.warning("log segments are archived again")

    def tell_problem(self, problem: str) -> None:
        log.error("records can't be read and aren't archived", extra={"reason": problem})

    def look(self, work: Archiver, *, failing: bool) -> list[str]:
        state = work.stands()
        if self._numbers is not None:
            self._numbers.update(state, failing=failing)
        notes = notes_of(work.gaps(), "archived")
        if failing:
            notes.append(f"{state.waiting_segments:,} finished log segments wait for it")
        return notes
