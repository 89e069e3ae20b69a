"""The loop of a pipeline whose rows are made of a stream: one that is away is tried again, as by the shipper."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Self

from fanion.config.shipping import Shipping
from fanion.pipeline.loop import Loop
from fanion.pipeline.pace import BYTES_PER_S, Pace
from fanion.pipeline.pipeline import Pipeline
from fanion.pipeline.service import PAUSE_S
from fanion.shipping.service import AGAIN_S

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
    """`make`: a pipeline with this pace, over a stream."""

    def __init__(
        self,
        settings: Shipping,
        make: Callable[[Pace], Pipeline],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            lambda turn: Making(make(Pace(BYTES_PER_S, turn))),
            None,
            interval_s=PAUSE_S,
            again_s=(AGAIN_S, settings.again_s_max),
            spread=True,
            now=now,
        )

    def tell_failed(self, reason: str, *, again: bool) -> None:
        if not again:
            log.error("rows can't be made now; it is tried again", extra={"reason": reason})

    def tell_well(self) -> None:
        log.warning("rows are made again")

    def tell_problem(self, problem: str) -> None:
        log.error("events can't be read and have no rows", extra={"reason": problem})

    def look(self, work: Making, *, failing: bool) -> list[str]:
        return []
