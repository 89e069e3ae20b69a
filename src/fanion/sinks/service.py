"""A sink's loop: run after run, and under a server how it stands, and beginning again after what failed.

A step that failed closes the sink, which is opened again at its place: after `AGAIN_S`, doubled up to
`sinks.again_s_max` while it fails. It gives way to the workers as the pipeline does.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Final

from fanion.config.sinks import Sinks
from fanion.errors import FanionError, SinkError
from fanion.pipeline.pace import give_way
from fanion.pipeline.service import Ending
from fanion.sinks import kind_of
from fanion.sinks.receiver import Turn
from fanion.sinks.sink import Sink
from fanion.telemetry.heartbeats import Heartbeat, Standing
from fanion.telemetry.metrics import Metrics
from fanion.telemetry.sinks import SinkNumbers

log = logging.getLogger("fanion.sinks")

LOOK_S: Final = 1.0
"""Between two looks at how it stands."""
AGAIN_S: Final = 0.25
GAP_TOLD_S: Final = 7 * 86_400.0
"""How long a gap is named in the words; the metric and the file keep it."""

FAULTS: Final = (FanionError, OSError, ValueError)
"""What is tried again; pyarrow's are ValueErrors and OSErrors."""


class Service:
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
        self._name = name
        self._make = make
        self._row = row
        self._numbers = SinkNumbers(metrics, name) if metrics is not None else None
        self._interval_s = kind_of(name).interval_s(settings)
        self._again_s_max = settings.again_s_max
        self._now = now
        self._sink: Sink | None = None
        self._failing = ""
        self._notes: tuple[str, ...] = ()
        self._look_at = 0.0
        self._said: Standing | None = None
        self._told: set[str] = set()

    def run(self, ending: Ending) -> None:
        """Until it is ended."""
        give_way()
        again_s = min(AGAIN_S, self._again_s_max)
        wait_s = again_s
        while not ending():
            try:
                with self._make(self._turn) as sink:
                    self._sink = sink
                    while True:
                        began = self._now()
                        self._step(sink, ending)
                        wait_s = again_s
                        if ending.wait(max(self._interval_s - (self._now() - began), 0)):
                            return
            except FAULTS as error:
                self._fail(error)
            finally:
                self._sink = None
            ending.wait(wait_s)
            wait_s = min(wait_s * 2, self._again_s_max)

    def _step(self, sink: Sink, ending: Ending) -> None:
        try:
            sink.run_once(ending)
        except FAULTS as error:
            try:
                sink.failed(str(error) or type(error).__name__)
            except (OSError, SinkError) as also:  # a full disk, say
                raise SinkError(f"{error}; its place can't be kept either: {also}") from None
            raise
        if self._failing:
            log.warning("the sink goes on", extra={"sink": self._name})
        self._failing = ""
        for problem in sink.problems():
            if problem not in self._told:
                self._told.add(problem)
                log.error("events can't be read and have no rows", extra={"reason": problem})
        self._look_at = 0.0
        self._turn()

    def _fail(self, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        if self._numbers is not None:
            self._numbers.failed()
        if reason != self._failing:
            log.error(
                "the sink can't go on now; it is tried again", extra={"sink": self._name, "reason": reason}
            )
        self._failing = reason
        try:
            self._look(self._sink)
        except FAULTS:  # the journal's own files; that it fails is said already
            self._look(None)

    def _turn(self) -> None:
        """At every step of the work: it goes on; once a second, how it stands."""
        if self._row is not None:
            self._row.beat()
        now = self._now()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._look(self._sink)

    def _look(self, sink: Sink | None) -> None:
        if sink is not None:
            state = sink.stands()
            notes = []
            gaps = sink.gaps()
            if gaps.last and time.time() - gaps.last[-1].left_unix_s < GAP_TOLD_S:
                notes.append(
                    f"{gaps.records:,} requests in {gaps.segments:,} segments left the journal before they were "
                    f"taken, {gaps.last[-1].segment} the last"
                )
            if state.left_out:
                notes.append(f"{state.left_out:,} rows are larger than what it takes and were left out")
            if self._failing:
                notes.append(f"it is {state.lag_records:,} requests behind")
            self._notes = tuple(notes)
            if self._numbers is not None:
                self._numbers.update(state, failing=bool(self._failing))
        if self._row is None:
            return
        self._row.beat()
        standing = Standing(os.getpid(), (self._failing,) if self._failing else (), self._notes)
        if standing != self._said:
            self._row.say(standing)
            self._said = standing
