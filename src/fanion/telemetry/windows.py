"""The event-id windows' numbers in the catalogue. All workers share a window, so all of them set the same numbers.

They begin anew when the machine boots and when a window is made anew, as the window itself does.
"""

from __future__ import annotations

from collections.abc import Mapping

from fanion.telemetry.metrics import Metric, Metrics

GAUGES: dict[str, Metric] = {
    "claims": Metric(
        "fanion_window_ids",
        "gauge",
        "Ids that a window has taken since it was made.",
        ("window",),
        gather="max",
    ),
    "evicted": Metric(
        "fanion_window_evicted_ids",
        "gauge",
        "Ids that a window took and no longer remembers; a repeat of one is kept again.",
        ("window",),
        gather="max",
    ),
    "early_turns": Metric(
        "fanion_window_early_turns",
        "gauge",
        "Times that a window forgot before it was full.",
        ("window",),
        gather="max",
    ),
    "leaked": Metric(
        "fanion_window_leaked_reservations",
        "gauge",
        "Reservations that nobody finished, of the worker with the most; above 0 is a defect.",
        ("window",),
        gather="max",
    ),
}


class WindowNumbers:
    """Follows one window of one worker; `name` is its label."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._metrics = metrics
        self._labels = (name,)
        metrics.know(GAUGES.values())

    def update(self, found: Mapping[str, int]) -> None:
        """Takes over what `EventWindow.metrics` says."""
        for key, metric in GAUGES.items():
            self._metrics.set(metric, found[key], self._labels)
