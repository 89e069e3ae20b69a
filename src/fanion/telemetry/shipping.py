"""Shipping's numbers in the catalogue."""

from __future__ import annotations

from typing import NamedTuple

from fanion.telemetry.metrics import Metric, Metrics

STARTS = Metric("fanion_shipping_starts_total", "counter", "Starts of the process that ships records.")
BLOCKS = Metric("fanion_shipping_blocks_total", "counter", "Blocks of records that the stream took.")
RECORDS = Metric("fanion_shipping_records_total", "counter", "Requests' records that the stream took.")
BYTES = Metric("fanion_shipping_bytes_total", "counter", "Bytes of records that the stream took.")
RESENT = Metric(
    "fanion_shipping_resent_blocks_total", "counter", "Blocks that the stream had lost and was sent again."
)
UNRECOVERED = Metric(
    "fanion_shipping_unrecovered_records",
    "gauge",
    "Requests that the stream lost and the journal can't read any more.",
)
UNVERIFIED = Metric(
    "fanion_shipping_unverified_segments",
    "gauge",
    "Finished log segments that were not yet read back out of the stream.",
)
FAULTS = Metric("fanion_shipping_faults_total", "counter", "Looks that failed and were begun again.")
FAILING = Metric("fanion_shipping_failing", "gauge", "Whether the last look failed.")
SENT = Metric(
    "fanion_shipping_sent_timestamp_seconds",
    "gauge",
    "When the stream last took records, Unix time.",
    scale=1e-3,
    gather="max",
)
LAG_RECORDS = Metric(
    "fanion_shipping_lag_records", "gauge", "Durable requests that the stream doesn't have yet."
)
HELD_BYTES = Metric(
    "fanion_shipping_held_bytes", "gauge", "Of full log segments that were not read back to their end."
)
GAP_RECORDS = Metric(
    "fanion_shipping_gap_records", "gauge", "Durable requests that left the journal before they were shipped."
)

CATALOGUE: tuple[Metric, ...] = (
    STARTS,
    BLOCKS,
    RECORDS,
    BYTES,
    RESENT,
    UNRECOVERED,
    UNVERIFIED,
    FAULTS,
    FAILING,
    SENT,
    LAG_RECORDS,
    HELD_BYTES,
    GAP_RECORDS,
)


class ShippingNumbersNow(NamedTuple):
    """How it stands. The first four are over all time."""

    blocks: int
    records: int
    bytes: int
    resent_blocks: int
    unrecovered_records: int
    unverified_segments: int
    sent_unix_s: float
    lag_records: int
    held_bytes: int
    gap_records: int


class ShippingNumbers:
    """Of this process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._counted: ShippingNumbersNow | None = None
        metrics.know(CATALOGUE)
        metrics.add(STARTS)

    def failed(self) -> None:
        self._metrics.add(FAULTS)
        self._metrics.set(FAILING, 1)

    def update(self, now: ShippingNumbersNow, *, failing: bool) -> None:
        """What was sent before this process began was counted by another."""
        before = self._counted or now
        for metric, name in (
            (BLOCKS, "blocks"),
            (RECORDS, "records"),
            (BYTES, "bytes"),
            (RESENT, "resent_blocks"),
        ):
            self._metrics.add(metric, max(0, getattr(now, name) - getattr(before, name)))
        self._counted = now
        for gauge, value in (
            (FAILING, float(failing)),
            (SENT, now.sent_unix_s),
            (LAG_RECORDS, now.lag_records),
            (HELD_BYTES, now.held_bytes),
            (GAP_RECORDS, now.gap_records),
            (UNRECOVERED, now.unrecovered_records),
            (UNVERIFIED, now.unverified_segments),
        ):
            self._metrics.set(gauge, value)
