"""The pipeline's numbers in the catalogue; what it last said of itself stays until its process ends."""

from __future__ import annotations

from typing import NamedTuple

from fanion.telemetry.metrics import Metric, Metrics

STARTS = Metric("fanion_pipeline_starts_total", "counter", "Starts of the pipeline's process.")
ROWS = Metric("fanion_pipeline_rows_total", "counter", "Rows made of events.")
RECORDS = Metric("fanion_pipeline_records_total", "counter", "Requests that were read for it.")
STEPS = Metric(
    "fanion_pipeline_steps_total", "counter", "Steps committed: of rows, of merging, of letting go."
)
UNREADABLE = Metric(
    "fanion_pipeline_unreadable_records_total", "counter", "Records of which no rows could be made."
)
FAULTS = Metric("fanion_pipeline_faults_total", "counter", "Runs that failed and were begun again.")
FAILING = Metric("fanion_pipeline_failing", "gauge", "Whether the last run failed.")
FRESH = Metric(
    "fanion_pipeline_fresh_timestamp_seconds",
    "gauge",
    "Every event that was durable before is a row, Unix time.",
    scale=1e-3,
    gather="max",
)
LAG_SECONDS = Metric(
    "fanion_pipeline_lag_seconds",
    "gauge",
    "How old what was not yet a row could be, at the end of the last run or since.",
    scale=1e-3,
)
LAG_RECORDS = Metric(
    "fanion_pipeline_lag_records", "gauge", "Durable requests of which no rows were made yet."
)
LAG_EVENTS = Metric(
    "fanion_pipeline_lag_events", "gauge", "Rows that these come to, by the mean of those before."
)
HELD_BYTES = Metric(
    "fanion_pipeline_held_bytes", "gauge", "Of full log segments that were not read to their end."
)
HELD_RATIO = Metric(
    "fanion_pipeline_held_ratio",
    "gauge",
    "These, of what the disk has for them: at 0.5 an alarm, at 1 segments leave unread.",
    scale=1e-4,
)
FILES = Metric("fanion_pipeline_files", "gauge", "Files of rows that count.")
GAP_RECORDS = Metric(
    "fanion_pipeline_gap_records",
    "gauge",
    "Durable requests that left the journal before rows were made of them.",
)
CONTACT = Metric(
    "fanion_pipeline_contact_timestamp_seconds",
    "gauge",
    "When the stream that rows are made of was last heard, Unix time.",
    scale=1e-3,
    gather="max",
)
LAG_MESSAGES = Metric(
    "fanion_pipeline_lag_messages", "gauge", "Of the stream that rows are made of, what was not read yet."
)
MISSING = Metric(
    "fanion_pipeline_missing_records",
    "gauge",
    "Requests between others of their writer that the stream didn't bring.",
)

CATALOGUE: tuple[Metric, ...] = (
    STARTS,
    ROWS,
    RECORDS,
    STEPS,
    UNREADABLE,
    FAULTS,
    FAILING,
    FRESH,
    LAG_SECONDS,
    LAG_RECORDS,
    LAG_EVENTS,
    HELD_BYTES,
    HELD_RATIO,
    FILES,
    GAP_RECORDS,
    CONTACT,
    LAG_MESSAGES,
    MISSING,
)


class PipelineState(NamedTuple):
    """How a pipeline stands. Counts are of this process so far. The last three are of a stream."""

    rows: int
    steps: int
    unreadable: int
    fresh_unix_s: float
    lag_s: float
    lag_records: int
    lag_events: int
    held_bytes: int
    held_ratio: float
    files: int
    gap_records: int
    records: int = 0
    contact_unix_s: float = 0.0
    lag_messages: int = 0
    missing_records: int = 0


class PipelineNumbers:
    """Follows the pipeline of this process, through one `Pipeline` after another."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._counted = dict.fromkeys((ROWS, RECORDS, STEPS, UNREADABLE), 0)
        metrics.know(CATALOGUE)
        metrics.add(STARTS)

    def failed(self) -> None:
        self._metrics.add(FAULTS)
        self._metrics.set(FAILING, 1)

    def late(self, lag_s: float) -> None:
        """Where nobody can say more."""
        self._metrics.set(LAG_SECONDS, lag_s)

    def begin(self) -> None:
        """The next state counts from 0."""
        self._counted = dict.fromkeys(self._counted, 0)

    def update(self, state: PipelineState, *, failing: bool = False) -> None:
        for metric, count in (
            (ROWS, state.rows),
            (RECORDS, state.records),
            (STEPS, state.steps),
            (UNREADABLE, state.unreadable),
        ):
            self._metrics.add(metric, count - self._counted[metric])
            self._counted[metric] = count
        for gauge, value in (
            (FAILING, float(failing)),
            (FRESH, state.fresh_unix_s),
            (LAG_SECONDS, state.lag_s),
            (LAG_RECORDS, state.lag_records),
            (LAG_EVENTS, state.lag_events),
            (HELD_BYTES, state.held_bytes),
            (HELD_RATIO, state.held_ratio),
            (FILES, state.files),
            (GAP_RECORDS, state.gap_records),
            (CONTACT, state.contact_unix_s),
            (LAG_MESSAGES, state.lag_messages),
            (MISSING, state.missing_records),
        ):
            self._metrics.set(gauge, value)
