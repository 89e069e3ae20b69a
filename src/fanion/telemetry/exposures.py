"""The exposures' numbers in the catalogue: taken over, once a second, from what a worker's recorder counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fanion.telemetry.metrics import Metric, Metrics

EXPOSURES: Final = Metric(
    "fanion_exposures_total",
    "counter",
    "Exposures by what became of them: served and assigned (recorded), repeated (recorded today already), "
    "lacking (no unit of a known kind), anonymous (only an anonymous unit).",
    ("what",),
)
DROPPED: Final = Metric(
    "fanion_exposures_dropped_total",
    "counter",
    "Exposures not recorded, since the ring was full or not open; they are tried again at the unit's next.",
)
CATALOGUE: Final = (EXPOSURES, DROPPED)


class ExposureNumbers:
    """Follows one worker's recorder."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._before: dict[str, int] = {}
        metrics.know(CATALOGUE)

    def update(self, found: Mapping[str, int]) -> None:
        dropped = found["dropped"] - self._before.get("dropped", 0)
        if dropped:
            self._metrics.add(DROPPED, dropped)
        for what, count in found.items():
            more = count - self._before.get(what, 0)
            if more and what != "dropped":
                self._metrics.add(EXPOSURES, more, (what,))
        self._before = dict(found)
