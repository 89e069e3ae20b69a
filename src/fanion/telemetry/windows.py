"""The event-id windows' numbers in the catalogue. All workers share a window, so all of them set the same numbers.

They begin anew when the machine boots and when a window is made anew, as the window itself does.

A tenant's ids are pushed out by its own alone, while no more tenants send ids than a window has lanes. How far back
it reaches for the tenant that fills its lane quickest is a number of its own, `fanion_window_reach_seconds`, to be
held against what clients need (minutes for retries, a day for stores that send later); the size is a setting.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

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


REACH = Metric(
    "fanion_window_reach_seconds",
    "gauge",
    "Seconds back to which every tenant's ids are still remembered, as far as the longest running worker knows.",
    ("window",),
    gather="max",
)
SAMPLES_PER_CAPACITY = 64


class Reach:
    """How far back a lane reaches: to where no more ids were taken since than it holds. `empty_at`: when it was
    nobody's yet."""

    def __init__(self, now: Callable[[], float] = time.monotonic, empty_at: float | None = None) -> None:
        self._now = now
        self._samples: deque[tuple[int, float]] = deque([] if empty_at is None else [(0, empty_at)])
        """(ids taken until then, when), one for each `capacity / SAMPLES_PER_CAPACITY` ids at most."""

    def seconds(self, claims: int, capacity: int) -> float:
        now, samples = self._now(), self._samples
        if samples and claims < samples[-1][0]:
            samples.clear()  # the window was made anew
        if not samples or claims - samples[-1][0] >= capacity // SAMPLES_PER_CAPACITY:
            samples.append((claims, now))
        while claims - samples[0][0] > capacity:
            samples.popleft()
        return now - samples[0][1]


class LeastReach:
    """How far back a window reaches for the tenant of which it forgets soonest."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lanes: list[Reach] = []
        self._first_at: float | None = None
        self._last_at: float | None = None

    def seconds(self, lane_claims: Sequence[int], capacity: int) -> float:
        now = self._now()
        if len(lane_claims) < len(self._lanes):  # the window was made anew
            self._lanes, self._first_at, self._last_at = [], None, None
        if self._first_at is None:
            self._first_at = now
        while len(self._lanes) < len(lane_claims):
            self._lanes.append(Reach(self._now, self._last_at))
        self._last_at = now
        found = [
            lane.seconds(claims, capacity) for lane, claims in zip(self._lanes, lane_claims, strict=True)
        ]
        return min(found, default=now - self._first_at)


class WindowNumbers:
    """Follows one window of one worker; `name` is its label."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._metrics = metrics
        self._reach = LeastReach()
        self._labels = (name,)
        metrics.know([*GAUGES.values(), REACH])

    def update(self, found: Mapping[str, int], lane_claims: Sequence[int]) -> None:
        """Takes over what `EventWindow` says."""
        for key, metric in GAUGES.items():
            self._metrics.set(metric, found[key], self._labels)
        self._metrics.set(REACH, self._reach.seconds(lane_claims, found["capacity"]), self._labels)
