"""Shipping's process: what it says and counts of itself; the loop is `pipeline.loop`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from fanion.config.shipping import Shipping
from fanion.pipeline.loop import Loop, notes_of
from fanion.shipping.shipper import Shipper
from fanion.telemetry.heartbeats import Heartbeat
from fanion.telemetry.metrics import Metrics
from fanion.telemetry.shipping import ShippingNumbers

log = logging.getLogger("fanion.shipping")

AGAIN_S: Final = 0.1
"""After a look that failed, doubled up to `shipping.again_s_max` while it fails."""


class Service(Loop[Shipper]):
    """`make`: the shipper, with what it calls at every step. `row`, `metrics`: of a server."""

    def __init__(
        self,
        settings: Shipping,
        make: Callable[[Callable[[], None]], Shipper],
        row: Heartbeat | None = None,
        metrics: Metrics | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        again_s = AGAIN_S, settings.again_s_max
        super().__init__(make, row, interval_s=settings.interval_s, again_s=again_s, spread=True, now=now)
        self._numbers = ShippingNumbers(metrics) if metrics is not None else None

    def tell_failed(self, reason: str, *, again: bool) -> None:
        if self._numbers is not None:
            self._numbers.failed()
        if not again:
            log.error("records can't be shipped now; it is tried again", extra={"reason": reason})

    def tell_well(self) -> None:
        log.warning("records are shipped again")

    def tell_problem(self, problem: str) -> None:
        log.error("records can't be read and aren't shipped", extra={"reason": problem})

    def look(self, work: Shipper, *, failing: bool) -> list[str]:
        state = work.stands()
        if self._numbers is not None:
            self._numbers.update(state, failing=failing)
        notes = notes_of(work.gaps(), "shipped")
        if failing:
            notes.append(f"it is {state.lag_records:,} requests behind")
        return notes
