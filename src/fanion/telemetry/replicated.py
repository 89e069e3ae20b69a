"""What a worker counts where answers to events wait for the stream (`ack = "replicated"`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fanion.telemetry.metrics import Metric, Metrics

BOUNDS_US: Final = (
    1_000,
    2_000,
    3_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
)
"""Upper bounds of the histogram; nobody waits for more than 0.8 s."""
REPLICATED = Metric(
    "fanion_journal_receipt_to_replicated_seconds",
    "histogram",
    "From a record's receipt to the stream's acknowledgement, of answers that waited for it.",
    scale=1e-6,
    bounds=BOUNDS_US,
)
REFUSED = Metric(
    "fanion_journal_replicated_refused_total",
    "counter",
    "Requests that were refused since the stream is away, or too many waited for it.",
)
WAITING = Metric("fanion_journal_replicated_waiting", "gauge", "Requests that wait for the stream.")

CATALOGUE: tuple[Metric, ...] = (REPLICATED, REFUSED, WAITING)


class ReplicatedNumbers:
    """Follows one worker's waits; what they count only grows."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._times_us: Sequence[int] = [0] * (len(BOUNDS_US) + 1)
        self._sum_us = self._refused = 0
        metrics.know(CATALOGUE)

    def update(self, times_us: Sequence[int], sum_us: int, refused: int, waiting: int) -> None:
        """`times_us`: by `BOUNDS_US`, and above."""
        new = [now - before for now, before in zip(times_us, self._times_us, strict=True)]
        self._metrics.add_counts(REPLICATED, new, sum_us - self._sum_us)
        self._metrics.add(REFUSED, refused - self._refused)
        self._metrics.set(WAITING, waiting)
        self._times_us, self._sum_us, self._refused = list(times_us), sum_us, refused
