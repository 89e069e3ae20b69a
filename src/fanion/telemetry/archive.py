"""The archive's numbers in the catalogue."""

from __future__ import annotations

from typing import NamedTuple

from fanion.telemetry.metrics import Metric, Metrics

STARTS = Metric("fanion_archive_starts_total", "counter", "Starts of the process that archives the journal.")
SEGMENTS = Metric(
    "fanion_archive_segments_total", "counter", "Log segments that were archived and read back."
)
RECORDS = Metric("fanion_archive_records_total", "counter", "Requests' records that were archived.")
BYTES = Metric("fanion_archive_bytes_total", "counter", "Bytes of objects of the archive.")
FAULTS = Metric("fanion_archive_faults_total", "counter", "Looks that failed and were begun again.")
FAILING = Metric("fanion_archive_failing", "gauge", "Whether the last look failed.")
ARCHIVED = Metric(
    "fanion_archive_archived_timestamp_seconds",
    "gauge",
    "When a log segment was last archived, Unix time.",
    scale=1e-3,
    gather="max",
)
WAITING = Metric(
    "fanion_archive_waiting_segments", "gauge", "Finished log segments that aren't archived yet."
)
HELD_BYTES = Metric("fanion_archive_held_bytes", "gauge", "Of full log segments that aren't archived yet.")
CONFLICTS = Metric(
    "fanion_archive_conflicts",
    "gauge",
    "Objects of the archive that are damaged or hold something else than the journal.",
)
LOST = Metric(
    "fanion_archive_lost_records",
    "gauge",
    "Requests of archived log segments that the journal could not read.",
)
GAP_RECORDS = Metric(
    "fanion_archive_gap_records", "gauge", "Durable requests that left the journal before they were archived."
)

CATALOGUE: tuple[Metric, ...] = (
    STARTS,
    SEGMENTS,
    RECORDS,
    BYTES,
    FAULTS,
    FAILING,
    ARCHIVED,
    WAITING,
    HELD_BYTES,
    CONFLICTS,
    LOST,
    GAP_RECORDS,
)


class ArchiveNumbersNow(NamedTuple):
    """How it stands. The first three are over all time."""

    segments: int
    records: int
    bytes: int
    waiting_segments: int
    held_bytes: int
    archived_unix_s: float
    conflicts: int
    lost_records: int
    gap_records: int


class ArchiveNumbers:
    """Of this process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._counted: ArchiveNumbersNow | None = None
        metrics.know(CATALOGUE)
        metrics.add(STARTS)

    def failed(self) -> None:
        self._metrics.add(FAULTS)
        self._metrics.set(FAILING, 1)

    def update(self, now: ArchiveNumbersNow, *, failing: bool) -> None:
        """What was archived before this process began was counted by another."""
        before = self._counted or now
        for metric, name in ((SEGMENTS, "segments"), (RECORDS, "records"), (BYTES, "bytes")):
            self._metrics.add(metric, max(0, getattr(now, name) - getattr(before, name)))
        self._counted = now
        for gauge, value in (
            (FAILING, float(failing)),
            (ARCHIVED, now.archived_unix_s),
            (WAITING, now.waiting_segments),
            (HELD_BYTES, now.held_bytes),
            (CONFLICTS, now.conflicts),
            (LOST, now.lost_records),
            (GAP_RECORDS, now.gap_records),
        ):
            self._metrics.set(gauge, value)
