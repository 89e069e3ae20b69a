"""A sink's process: what it says and counts of itself; the loop is `pipeline.loop`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from fanion.config.sinks import Sinks
from fanion.pipeline.loop import Loop, notes_of
from fanion.sinks import kind_of
from fanion.sinks.receiver import Turn
from fanion.sinks.sink import Sink
from fanion.telemetry.heartbeats import Heartbeat
from fanion.telemetry.metrics import Metrics
from fanion.telemetry.sinks import SinkNumbers

log = logging.getLogger("fanion.sinks")

AGAIN_S: Final = 0.25
"""After a step that failed, doubled up to `sinks.again_s_max` while it fails."""


class Service(Loop[Sink]):
    """`make`: the sink, with what it calls at every step of its work. `row`, `metrics`: of a server."""

    def __init__(
        self,
        name: str,
        settings: Sinks,
        make: Callable[[Turn], Sink],
        row: Heartbeat | None = None,
        metrics: Metrics | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        interval_s, again_s = kind_of(name).interval_s(settings), (AGAIN_S, settings.again_s_max)
        super().__init__(make, row, interval_s=interval_s, again_s=again_s, now=now)
        self._name = name
        self._numbers = SinkNumbers(metrics, name) if metrics is not None else None

    def tell_failed(self, reason: str, *, again: bool) -> None:
        if self._numbers is not None:
            self._numbers.failed()
        if not again:
            log.error(
                "the sink can't go on now; it is tried again", extra={"sink": self._name, "reason": reason}
            )

    def tell_well(self) -> None:
        log.warning("the sink goes on", extra={"sink": self._name})

    def tell_problem(self, problem: str) -> None:
        log.error("events can't be read and have no rows", extra={"reason": problem})

    def look(self, work: Sink, *, failing: bool) -> list[str]:
        state = work.stands()
        if self._numbers is not None:
            self._numbers.update(state, failing=failing)
        notes = notes_of(work.gaps(), "taken")
        if state.left_out:
            notes.append(f"{state.left_out:,} rows are larger than what it takes and were left out")
        if failing:
            notes.append(f"it is {state.lag_records:,} requests behind")
        return notes
