"""The journal's numbers in the catalogue: folded, once a second, from a worker's ring into its metric row.

A ring counts from its claim on, in fine buckets; the row counts until the machine boots, in the few buckets
that an operator alarms on. What a worker that is killed counted in its last second is not in the metrics (its
events are in the journal).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from fanion.telemetry.metrics import Metric, Metrics

LATENCY_BOUNDS_US = (
    500,
    1_000,
    2_000,
    3_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    1_000_000,
    5_000_000,
)
"""The promise is p99 at 50 ms. A ring's bucket that lies across a bound counts above it, so that no figure is
better than the truth; it may be worse by an eighth."""

COUNTERS: dict[str, Metric] = {
    "records": Metric("fanion_journal_records_total", "counter", "Records made durable."),
    "bytes": Metric("fanion_journal_bytes_total", "counter", "Bytes of records made durable, as written."),
    "appended": Metric("fanion_journal_appended_total", "counter", "Records taken into the ring."),
    "refused": Metric(
        "fanion_journal_refused_total", "counter", "Records refused: the ring was full, or not open."
    ),
    "syncs": Metric("fanion_journal_syncs_total", "counter", "Successful fdatasync calls."),
    "failures": Metric(
        "fanion_journal_failures_total", "counter", "Failed writes and syncs; each gives up a segment."
    ),
    "rewritten": Metric(
        "fanion_journal_rewritten_total", "counter", "Records written again after a failure."
    ),
    "rotations": Metric("fanion_journal_rotations_total", "counter", "Log segments begun after a full one."),
    "growing": Metric(
        "fanion_journal_growing_total", "counter", "Log segments that grew, since none was ready."
    ),
}

GAUGES: dict[str, Metric] = {
    "ring_used_bytes": Metric(
        "fanion_journal_ring_used_bytes", "gauge", "Bytes in the rings that aren't freed yet."
    ),
    "ring_capacity_bytes": Metric(
        "fanion_journal_ring_capacity_bytes", "gauge", "Bytes that the rings hold."
    ),
    "priority": Metric(
        "fanion_journal_writer_priority",
        "gauge",
        "What the writer threads got: 3 SCHED_FIFO, 2 nice -10, 1 a short slice; of the worker with the least.",
        gather="min",
    ),
}

ROOM = Metric(
    "fanion_journal_room_bytes",
    "gauge",
    "What the disk has for the journal until readers that yield are waited for no more, and then events refused.",
    gather="max",
)

HISTOGRAMS: dict[str, tuple[Metric, str]] = {
    "receipt_to_durable": (
        Metric(
            "fanion_journal_receipt_to_durable_seconds",
            "histogram",
            "From a request's receipt to the return of the fdatasync that made its events durable.",
            scale=1e-6,
            bounds=LATENCY_BOUNDS_US,
        ),
        "latency_us",
    ),
    "sync_time": (
        Metric(
            "fanion_journal_sync_seconds",
            "histogram",
            "Time in fdatasync.",
            scale=1e-6,
            bounds=LATENCY_BOUNDS_US,
        ),
        "sync_us",
    ),
}
"""The ring's histogram -> its metric, and the ring's counter that holds its sum."""

CATALOGUE: tuple[Metric, ...] = (
    *COUNTERS.values(),
    *GAUGES.values(),
    ROOM,
    *(metric for metric, _ in HISTOGRAMS.values()),
)


class JournalNumbers:
    """Follows one worker's journal."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._before: dict[str, Any] = {}
        metrics.know(CATALOGUE)

    def update(self, found: Mapping[str, Any], room_bytes: int | None = None) -> None:
        """Takes over what `JournalWriter.metrics` says; empty while the journal is not open. `room_bytes`: of the
        disk."""
        if not found:
            return
        if room_bytes is not None:
            self._metrics.set(ROOM, max(1, room_bytes))  # 0 is what a worker that says nothing has
        before = self._before
        if any(found[name] < before.get(name, 0) for name in COUNTERS):
            before = {}  # another claim: the ring began again at 0
        for name, metric in COUNTERS.items():
            self._metrics.add(metric, found[name] - before.get(name, 0))
        for name, metric in GAUGES.items():
            self._metrics.set(metric, found[name])
        for name, (metric, total) in HISTOGRAMS.items():
            new = [
                now - then
                for now, then in zip(found[name], before.get(name) or [0] * len(found[name]), strict=True)
            ]
            counts = fold(new, found["bounds_us"], metric.bounds)
            self._metrics.add_counts(metric, counts, found[total] - before.get(total, 0))
        self._before = dict(found)


def fold(counts: Sequence[int], fine: Sequence[int], coarse: Sequence[int]) -> list[int]:
    """Counts by `fine` upper bounds into `len(coarse) + 1` buckets; the last fine bucket is above all of them."""
    folded = [0] * (len(coarse) + 1)
    for number, count in enumerate(counts):
        if count:
            folded[len(coarse) if number == len(fine) - 1 else bisect_left(coarse, fine[number])] += count
    return folded
