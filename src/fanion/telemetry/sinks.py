"""The sinks' numbers in the catalogue, by sink; what one last said of itself stays until its process ends."""

from __future__ import annotations

from typing import NamedTuple

from fanion.telemetry.metrics import Metric, Metrics

LABELS = ("sink",)

STARTS = Metric("fanion_sink_starts_total", "counter", "Starts of a sink's process.", LABELS)
ROWS = Metric("fanion_sink_rows_total", "counter", "Rows that the receiver took.", LABELS)
STEPS = Metric("fanion_sink_steps_total", "counter", "Steps that the receiver took.", LABELS)
FAULTS = Metric("fanion_sink_faults_total", "counter", "Steps that failed and were begun again.", LABELS)
LEFT_OUT = Metric(
    "fanion_sink_left_out_rows_total", "counter", "Rows that the receiver can never take: too large.", LABELS
)
UNREADABLE = Metric(
    "fanion_sink_unreadable_records_total", "counter", "Records of which no rows could be made.", LABELS
)
FAILING = Metric("fanion_sink_failing", "gauge", "Whether the last step was not taken.", LABELS)
TAKEN = Metric(
    "fanion_sink_taken_timestamp_seconds",
    "gauge",
    "When the receiver last took a step, Unix time.",
    LABELS,
    scale=1e-3,
    gather="max",
)
LAG_SECONDS = Metric(
    "fanion_sink_lag_seconds", "gauge", "How old what was not yet taken could be.", LABELS, scale=1e-3
)
LAG_RECORDS = Metric("fanion_sink_lag_records", "gauge", "Durable requests that were not taken yet.", LABELS)
HELD_BYTES = Metric(
    "fanion_sink_held_bytes", "gauge", "Of full log segments that were not taken to their end.", LABELS
)
GAP_RECORDS = Metric(
    "fanion_sink_gap_records",
    "gauge",
    "Durable requests that left the journal before they were taken.",
    LABELS,
)

CATALOGUE: tuple[Metric, ...] = (
    STARTS,
    ROWS,
    STEPS,
    FAULTS,
    LEFT_OUT,
    UNREADABLE,
    FAILING,
    TAKEN,
    LAG_SECONDS,
    LAG_RECORDS,
    HELD_BYTES,
    GAP_RECORDS,
)


class SinkState(NamedTuple):
    """How a sink stands. Counts are over all time."""

    rows: int
    steps: int
    unreadable: int
    left_out: int
    taken_unix_s: float
    lag_s: float
    lag_records: int
    held_bytes: int
    gap_records: int


class SinkNumbers:
    """Follows the sink `name` of this process."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._metrics = metrics
        self._labels = (name,)
        self._counted: SinkState | None = None
        metrics.know(CATALOGUE)
        metrics.add(STARTS, labels=self._labels)

    def failed(self) -> None:
        self._metrics.add(FAULTS, labels=self._labels)
        self._metrics.set(FAILING, 1, self._labels)

    def update(self, state: SinkState, *, failing: bool) -> None:
        """What was taken before this process began was counted by another."""
        before = self._counted or state
        for metric, name in (
            (ROWS, "rows"),
            (STEPS, "steps"),
            (UNREADABLE, "unreadable"),
            (LEFT_OUT, "left_out"),
        ):
            self._metrics.add(metric, max(0, getattr(state, name) - getattr(before, name)), self._labels)
        self._counted = state
        for gauge, value in (
            (FAILING, float(failing)),
            (TAKEN, state.taken_unix_s),
            (LAG_SECONDS, state.lag_s),
            (LAG_RECORDS, state.lag_records),
            (HELD_BYTES, state.held_bytes),
            (GAP_RECORDS, state.gap_records),
        ):
            self._metrics.set(gauge, value, self._labels)
