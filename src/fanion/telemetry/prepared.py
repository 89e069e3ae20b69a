"""The prepared lists' numbers in the catalogue: taken over, once a second, from what this process counted."""

from __future__ import annotations

from typing import Final

from fanion._core import prepared
from fanion.telemetry.metrics import Metric, Metrics

LISTS: Final = Metric(
    "fanion_prepared_lists_total",
    "counter",
    "Long lists of keys by what became of them: answered (from one that was prepared), read (as any other body), "
    "prepared (kept for the next time), dropped (for others).",
    ("what",),
)
BYTES: Final = Metric("fanion_prepared_bytes", "gauge", "Memory of all prepared lists, about.")
CATALOGUE: Final = (LISTS, BYTES)
COUNTED: Final = ("answered", "read", "prepared", "dropped")


class PreparedNumbers:
    """Follows this process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._before = (0, 0, 0, 0)
        metrics.know(CATALOGUE)

    def update(self) -> None:
        *found, held = prepared.counts()
        for what, count, before in zip(COUNTED, found, self._before, strict=True):
            if count > before:
                self._metrics.add(LISTS, count - before, (what,))
        self._before = (found[0], found[1], found[2], found[3])
        self._metrics.set(BYTES, held)
