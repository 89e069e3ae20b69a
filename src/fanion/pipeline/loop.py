"""The loop of a process that reads the journal on for somebody else, a sink or shipping: look after look, under a
server how it stands, and beginning again after what failed.

What failed closes the work, which is opened again: after a while that is doubled as long as it fails. It gives way
to the workers as the pipeline does, whose own loop is `service`.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Final, Generic, Protocol, Self, TypeVar

from fanion.errors import FanionError
from fanion.journal.gaps import Gaps
from fanion.pipeline.pace import give_way
from fanion.pipeline.service import GAP_TOLD_S, LOOK_S, Ending
from fanion.telemetry.heartbeats import BEAT_S, Heartbeat, Standing

FAULTS: Final = (FanionError, OSError, ValueError)
"""What is tried again; pyarrow's are ValueErrors and OSErrors."""


class Work(Protocol):
    """What is opened, and asked for all that can be done now, until something fails."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def run_once(self, ended: Callable[[], bool]) -> int: ...

    def failed(self, reason: str) -> None:
        """Writes it down."""

    def problems(self) -> list[str]:
        """What could not be read."""
        ...


W = TypeVar("W", bound=Work)


class Loop(Generic[W]):
    """`make`: the work, with what it calls at every step. `row`: of a server. `spread`: the waits after what failed
    are drawn from their upper halves, so that many machines don't come at one moment. `gives_way`: to the workers.
    Who is one says the rest."""

    def __init__(
        self,
        make: Callable[[Callable[[], None]], W],
        row: Heartbeat | None,
        *,
        interval_s: float,
        again_s: tuple[float, float],
        spread: bool = False,
        gives_way: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._row = row
        self._interval_s = interval_s
        self._again_s = min(again_s), again_s[1]
        self._spread = spread
        self._gives_way = gives_way
        self._now = now
        self._work: W | None = None
        self._failing = ""
        self._notes: tuple[str, ...] = ()
        self._look_at = 0.0
        self._said: Standing | None = None
        self._told: set[str] = set()

    def tell_failed(self, reason: str, *, again: bool) -> None:
        """A step failed. `again`: for the same reason as the one before."""
        raise NotImplementedError

    def tell_well(self) -> None:
        """The first step that went well after one that failed."""
        raise NotImplementedError

    def tell_problem(self, problem: str) -> None:
        """What could not be read, once."""
        raise NotImplementedError

    def look(self, work: W, *, failing: bool) -> list[str]:
        """Counts how it stands, and has it in words for an operator."""
        raise NotImplementedError

    def run(self, ending: Ending) -> None:
        """Until it is ended."""
        if self._gives_way:
            give_way()
        wait_s = self._again_s[0]
        while not ending():
            try:
                with self._make(self._turn) as work:
                    self._work = work
                    while True:
                        began = self._now()
                        self._step(work, ending)
                        wait_s = self._again_s[0]
                        if self.rest(work, max(self._interval_s - (self._now() - began), 0), ending):
                            return
            except FAULTS as error:
                self._fail(error)
            finally:
                self._work = None
            self._wait(random.uniform(wait_s / 2, wait_s) if self._spread else wait_s, ending)
            wait_s = min(wait_s * 2, self._again_s[1])

    def rest(self, work: W, wait_s: float, ending: Ending) -> bool:
        """From a step that went well to the next. Whether it is ended until then."""
        return self._wait(wait_s, ending)

    def _wait(self, wait_s: float, ending: Ending) -> bool:
        """Whether it is ended until then. Longer waits are cut: a process whose heart doesn't beat is killed."""
        while wait_s > BEAT_S:
            if ending.wait(BEAT_S):
                return True
            wait_s -= BEAT_S
            self._beat()
        return ending.wait(wait_s)

    def attempt(self, work: W, part: Callable[[Ending], object], ending: Ending) -> None:
        """A part of the work; what fails is written down."""
        try:
            part(ending)
        except FAULTS as error:
            try:
                work.failed(reason_of(error))
            except FAULTS as also:  # a full disk, say
                raise FanionError(f"{reason_of(error)}; it can't be written down either: {also}") from None
            raise

    def _step(self, work: W, ending: Ending) -> None:
        self.attempt(work, work.run_once, ending)
        if self._failing:
            self.tell_well()
        self._failing = ""
        for problem in work.problems():
            if problem not in self._told:
                self._told.add(problem)
                self.tell_problem(problem)
        self._look_at = 0.0
        self._turn()

    def _fail(self, error: Exception) -> None:
        reason = reason_of(error)
        self.tell_failed(reason, again=reason == self._failing)
        self._failing = reason
        try:
            self._look(self._work)
        except FAULTS:  # the journal's own files; that it fails is said already
            self._look(None)

    def _turn(self) -> None:
        """At every step of the work: it goes on; once a second, how it stands."""
        self._beat()
        now = self._now()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._look(self._work)

    def _look(self, work: W | None) -> None:
        if work is not None:
            self._notes = tuple(self.look(work, failing=bool(self._failing)))
        if self._row is None:
            return
        self._beat()
        standing = Standing(os.getpid(), (self._failing,) if self._failing else (), self._notes)
        if standing != self._said:
            self._row.say(standing)
            self._said = standing

    def _beat(self) -> None:
        if self._row is not None:
            self._row.beat()


def reason_of(error: Exception) -> str:
    """In words."""
    return str(error) or type(error).__name__


def notes_of(gaps: Gaps, done: str) -> list[str]:
    """What left the journal before it was `done`, where it did lately."""
    if not gaps.last or time.time() - gaps.last[-1].left_unix_s >= GAP_TOLD_S:
        return []
    last = gaps.last[-1].segment
    left = f"{gaps.records:,} requests in {gaps.segments:,} segments left the journal"
    return [f"{left} before they were {done}, {last} the last"]
