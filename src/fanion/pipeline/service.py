"""The pipeline's loop: run after run, and under a server how it stands, and beginning again after what failed.

`follow` is the loop of one `Pipeline`. `Service` is the process that a server keeps beside its workers: it gives
way to them (`pace`), says in its heartbeat's row what an operator should know, counts in its row of the metrics,
and waits and tries again where the rows can't be made now: the journal isn't there yet, the disk is full, another
pipeline has the rows. It never asks a worker anything, and no worker waits for it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any, Final

from fanion.errors import FanionError
from fanion.pipeline.pace import BYTES_PER_S, Pace, give_way
from fanion.pipeline.pipeline import STEP_ROWS, Pipeline
from fanion.telemetry.heartbeats import Heartbeat, Standing
from fanion.telemetry.metrics import Metrics
from fanion.telemetry.pipeline import PipelineNumbers, PipelineState

log = logging.getLogger("fanion.pipeline")

PAUSE_S: Final = 2.5
"""From a run to the next, where they have less than a step to read: each is synced, and makes a file for each
environment. Where one takes longer, because there are many environments, there is half of its time between."""
LOOK_S: Final = 1.0
"""Between two looks at how it stands."""
AGAIN_S: Final = (0.25, 15.0)
"""After a run that failed, doubled up to the second while it fails."""
ALARM_RATIO: Final = 0.5
LATE_S: Final = 30.0
"""Rows that are so old are named; some seconds are usual (`PAUSE_S`)."""
GAP_TOLD_S: Final = 7 * 86_400.0
"""How long a gap is named in the words; the metric and the file keep it."""


class Ending:
    """SIGTERM and SIGINT from now on. No lock is taken in the handlers, so a second signal may come at any time."""

    def __init__(self) -> None:
        self._asked = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, *_: Any) -> None:
        self._asked = True
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"!")

    def __call__(self) -> bool:
        return self._asked

    def wait(self, timeout_s: float, *bells: int) -> bool:
        """Whether it was asked for until then. `bells`: descriptors that end the wait, too."""
        if not self._asked:
            select.select([self._reader, *bells], [], [], timeout_s)
        return self._asked


def follow(pipeline: Pipeline, ending: Ending, told: Callable[[list[str]], None]) -> None:
    """Run after run until it is ended. `told`: after each, what could not be read."""
    while True:
        began = time.monotonic()
        rows = pipeline.run_once(ending)
        told(pipeline.take_problems())
        took = time.monotonic() - began
        if ending.wait(0 if rows >= STEP_ROWS else max(PAUSE_S - took, took / 2)):
            return


class Service:
    """`make`: a pipeline with this pace."""

    def __init__(self, make: Callable[[Pace], Pipeline], row: Heartbeat, metrics: Metrics) -> None:
        self._make = make
        self._row = row
        self._numbers = PipelineNumbers(metrics)
        self._pace = Pace(BYTES_PER_S, self._turn)
        self._pipeline: Pipeline | None = None
        self._failing = ""
        self._alarmed = False
        self._look_at = 0.0
        self._said: Standing | None = None

    def run(self, ending: Ending) -> None:
        """Until it is ended."""
        give_way()
        again_s = AGAIN_S[0]
        while not ending():
            began = time.monotonic()
            try:
                self._serve(ending)
            except (FanionError, OSError, ValueError) as error:  # pyarrow's are ValueErrors and OSErrors
                if time.monotonic() - began > AGAIN_S[1]:
                    again_s = AGAIN_S[0]
                self._fail(error)
                ending.wait(again_s)
                again_s = min(again_s * 2, AGAIN_S[1])

    def _serve(self, ending: Ending) -> None:
        self._turn()
        with self._make(self._pace) as pipeline:
            self._numbers.begin()
            self._pipeline = pipeline
            try:
                follow(pipeline, ending, self._tell)
            finally:
                self._pipeline = None

    def _tell(self, problems: list[str]) -> None:
        """A run is over, and went well."""
        self._failing = ""
        for problem in problems:
            log.error("events can't be read and have no rows", extra={"reason": problem})
        self._look_at = 0.0
        self._turn()

    def _fail(self, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        self._numbers.failed()
        if reason != self._failing:
            log.error("rows can't be made now; it is tried again", extra={"reason": reason})
        self._failing = reason
        self._say([])

    def _turn(self) -> None:
        """At every step of the work: it goes on; once a second, how it stands."""
        self._row.beat()
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        if self._pipeline is None:
            self._say([])
            return
        state = self._pipeline.state()
        self._numbers.update(state, failing=bool(self._failing))
        self._say(self._notes(self._pipeline, state))

    def _notes(self, pipeline: Pipeline, state: PipelineState) -> list[str]:
        notes = []
        alarmed = state.held_ratio >= ALARM_RATIO
        if alarmed:
            notes.append(
                f"it is {state.lag_records:,} requests behind ({state.lag_s:.0f} s) and holds "
                f"{state.held_bytes >> 20:,} MiB of the journal, {state.held_ratio:.0%} of what the disk has for "
                "them; at 100 % segments leave unread"
            )
            if not self._alarmed:
                log.error("the pipeline is far behind", extra={"reason": notes[0]})
        elif state.lag_s >= LATE_S and state.lag_records:
            notes.append(
                f"rows are {state.lag_s:.0f} s behind: {state.lag_records:,} requests are to be read"
            )
        self._alarmed = alarmed
        gaps = pipeline.gaps()
        if gaps.last and time.time() - gaps.last[-1].left_unix_s < GAP_TOLD_S:
            notes.append(
                f"rows are missing: {gaps.records:,} requests in {gaps.segments:,} segments left the journal "
                f"before they were read, {gaps.last[-1].segment} the last"
            )
        return notes

    def _say(self, notes: list[str]) -> None:
        self._row.beat()
        standing = Standing(os.getpid(), (self._failing,) if self._failing else (), tuple(notes))
        if standing != self._said:
            self._row.say(standing)
            self._said = standing
