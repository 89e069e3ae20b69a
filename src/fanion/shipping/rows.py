"""The loop of a pipeline whose rows are made of a stream: one that is away is tried again, as by the shipper.

How late rows are counts from when the stream was last read to where it ended, or from when this process began: what
machines have that never reached the stream, nobody here knows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Self

from fanion.config.shipping import Shipping
from fanion.pipeline.loop import Loop
from fanion.pipeline.pace import BYTES_PER_S, Pace
from fanion.pipeline.pipeline import Pipeline
from fanion.pipeline.service import LATE_S, PAUSE_S
from fanion.shipping.service import AGAIN_S
from fanion.telemetry.heartbeats import Heartbeat
from fanion.telemetry.metrics import Metrics
from fanion.telemetry.pipeline import PipelineNumbers

log = logging.getLogger("fanion.pipeline")


class Making:
    """A `fanion.pipeline.loop.Work`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pipeline.close()

    def run_once(self, ended: Callable[[], bool]) -> int:
        return self.pipeline.run_once(ended)

    def failed(self, reason: str) -> None:
        """Nobody asks a file: the log has it."""

    def problems(self) -> list[str]:
        return self.pipeline.take_problems()


class Service(Loop[Making]):
    """`make`: a pipeline with this pace, over a stream. `row`, `metrics`: where somebody asks how it stands.
    `unix_s`: Unix seconds."""

    def __init__(
        self,
        settings: Shipping,
        make: Callable[[Pace], Pipeline],
        row: Heartbeat | None = None,
        metrics: Metrics | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
        unix_s: Callable[[], float] = time.time,
    ) -> None:
        self._numbers = PipelineNumbers(metrics) if metrics is not None else None
        self._unix_s = unix_s
        self._whole_s = unix_s()

        def begin(turn: Callable[[], None]) -> Making:
            made = Making(make(Pace(BYTES_PER_S, turn)))
            if self._numbers is not None:
                self._numbers.begin()
            return made

        super().__init__(
            begin,
            row,
            interval_s=PAUSE_S,
            again_s=(AGAIN_S, settings.again_s_max),
            spread=True,
            now=now,
        )

    def tell_failed(self, reason: str, *, again: bool) -> None:
        if self._numbers is not None:
            self._numbers.failed()
            self._numbers.late(self._unix_s() - self._whole_s)
        if not again:
            log.error("rows can't be made now; it is tried again", extra={"reason": reason})

    def tell_well(self) -> None:
        log.warning("rows are made again")

    def tell_problem(self, problem: str) -> None:
        log.error("events can't be read and have no rows", extra={"reason": problem})

    def look(self, work: Making, *, failing: bool) -> list[str]:
        heard, state = work.pipeline.source.heard(), work.pipeline.state()
        assert heard is not None
        self._whole_s = max(self._whole_s, heard.whole_unix_s)
        lag_s = max(0.0, self._unix_s() - self._whole_s)
        if self._numbers is not None:
            self._numbers.update(state._replace(lag_s=lag_s), failing=failing)
        notes = []
        if lag_s >= LATE_S:
            notes.append(
                f"rows are {lag_s:.0f} s behind: {heard.messages:,} messages of the stream are to be read"
            )
        if heard.missing:
            notes.append(f"{heard.missing:,} requests between those that came have not come")
        return notes
