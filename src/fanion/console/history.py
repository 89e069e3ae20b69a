"""The server's numbers over the last minutes, as the console shows them: what the metrics file had, every
`INTERVAL_S`, `SAMPLES` times.

Rates are differences of counters, which only grow while the file lives; where one is less than before, the file was
made anew, and there is no rate.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from fanion.telemetry.exposition import Exposition, Sample
from fanion.telemetry.journal import COUNTERS, GAUGES, HISTOGRAMS
from fanion.telemetry.metrics import RESPONSES, STORE_GENERATION, STREAMS, WORKER_STARTS

INTERVAL_S: Final = 2.0
SAMPLES: Final = 150
RATE_SAMPLES: Final = 5
"""How far back a rate of now looks: ten seconds."""

Answers = dict[tuple[str, str, str], float]
"""(API, endpoint, status) -> answers since the file was made."""


class Moment(NamedTuple):
    """`at`: Unix seconds; `durable`, `synced`: the histograms' counts by bucket."""

    at: float
    monotonic_s: float
    answers: Answers
    records: float
    bytes: float
    refused: float
    syncs: float
    failures: float
    ring_used: float
    ring_capacity: float
    generation: float
    streams: float
    starts: float
    durable: tuple[int, ...]
    synced: tuple[int, ...]


class History:
    """Of one metrics file."""

    def __init__(self, exposition: Exposition, clock: Callable[[], float] = time.time) -> None:
        self._exposition = exposition
        self._clock = clock
        self.moments: deque[Moment] = deque(maxlen=SAMPLES)

    def take(self) -> Moment:
        """One more moment. Raises OSError and ValueError when the file can't be read."""
        made = _moment(self._clock(), list(self._exposition.samples()))
        if self.moments and any(
            made.answers.get(name, 0) < count for name, count in self.moments[-1].answers.items()
        ):
            self.moments.clear()
        self.moments.append(made)
        return made

    def since(self, samples: int) -> tuple[Moment, Moment] | None:
        """The moment so many before the last one, or the first, and the last; None while there are no two."""
        if len(self.moments) < 2:
            return None
        return self.moments[max(0, len(self.moments) - 1 - samples)], self.moments[-1]

    def steps(self) -> Iterator[tuple[Moment, Moment]]:
        """Each moment with the one before it, the oldest first."""
        return itertools.pairwise(list(self.moments))


def rate(before: Moment, after: Moment, count: Callable[[Moment], float]) -> float:
    """A second."""
    return max(0.0, count(after) - count(before)) / max(after.monotonic_s - before.monotonic_s, 1e-9)


def quantile(counts: tuple[int, ...], bounds: tuple[int, ...], share: float) -> float | None:
    """The upper bound, in the bounds' unit, of the bucket that has this share of all below its end; infinite in the
    last; None of nothing."""
    total, seen = sum(counts), 0
    if not total:
        return None
    for number, count in enumerate(counts):
        seen += count
        if seen >= share * total:
            return float(bounds[number]) if number < len(bounds) else float("inf")
    return float("inf")


def _moment(at: float, samples: list[Sample]) -> Moment:
    answers: Answers = {}
    values: dict[str, float] = {}
    counts: dict[str, tuple[int, ...]] = {}
    for sample in samples:
        if sample.metric.name == RESPONSES.name:
            dialect, endpoint, status = sample.labels
            answers[dialect, endpoint, status] = sample.value
        elif sample.counts:
            counts[sample.metric.name] = tuple(sample.counts)
        elif not sample.labels:
            values[sample.metric.name] = sample.value

    def of(name: str) -> float:
        return values.get(name, 0.0)

    return Moment(
        at,
        time.monotonic(),
        answers,
        of(COUNTERS["records"].name),
        of(COUNTERS["bytes"].name),
        of(COUNTERS["refused"].name),
        of(COUNTERS["syncs"].name),
        of(COUNTERS["failures"].name),
        of(GAUGES["ring_used_bytes"].name),
        of(GAUGES["ring_capacity_bytes"].name),
        of(STORE_GENERATION.name),
        of(STREAMS.name),
        of(WORKER_STARTS.name),
        counts.get(HISTOGRAMS["receipt_to_durable"][0].name, ()),
        counts.get(HISTOGRAMS["sync_time"][0].name, ()),
    )
