"""The numbers of a server that follows a place, in the catalogue."""

from __future__ import annotations

from fanion.telemetry.metrics import Metric, Metrics

STARTS = Metric("fanion_follow_starts_total", "counter", "Starts of the process that follows a place.")
NUMBER = Metric("fanion_follow_number", "gauge", "Number of the manifest that was taken last.", gather="max")
CONTACT = Metric(
    "fanion_follow_contact_timestamp_seconds",
    "gauge",
    "When the place last said what is new, Unix time.",
    scale=1e-3,
    gather="max",
)
TAKEN = Metric(
    "fanion_follow_taken_timestamp_seconds",
    "gauge",
    "When something was last taken from the place, Unix time.",
    scale=1e-3,
    gather="max",
)
FAILING = Metric("fanion_follow_failing", "gauge", "Whether the last look at the place failed.")
FAULTS = Metric("fanion_follow_faults_total", "counter", "Looks at the place that failed.")
TAKES = Metric("fanion_follow_taken_total", "counter", "Manifests that were taken.")
FETCHED = Metric("fanion_follow_fetched_bytes_total", "counter", "Bytes of objects that were fetched.")

CATALOGUE: tuple[Metric, ...] = (STARTS, NUMBER, CONTACT, TAKEN, FAILING, FAULTS, TAKES, FETCHED)


class FollowNumbers:
    """Of this process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        metrics.know(CATALOGUE)
        metrics.add(STARTS)

    def looked(self, number: int, now: float) -> None:
        """The place was asked, and the store has its number."""
        for gauge, value in ((NUMBER, number), (CONTACT, now), (FAILING, 0)):
            self._metrics.set(gauge, value)

    def took(self, fetched_bytes: int, now: float) -> None:
        self._metrics.add(TAKES)
        self._metrics.add(FETCHED, fetched_bytes)
        self._metrics.set(TAKEN, now)

    def failed(self) -> None:
        self._metrics.add(FAULTS)
        self._metrics.set(FAILING, 1)
