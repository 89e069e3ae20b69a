"""Metrics: one catalogue, counted by each worker in its own row of a shared file; `exposition` sums the rows.

Counting is a dictionary look-up and one atomic add. The numbers live in DIR/shared/metrics until the machine
boots, so a worker that dies or a server that starts again loses none and Prometheus sees no reset. A gauge
counts only while its worker lives. What another part counts itself (the journal's rings do) is taken over by
a collector, once a second.

Label values come from our own tables (dialects, endpoints, statuses), never from a request: the file has
room for `CELLS` cells, and what doesn't fit is counted in `fanion_metrics_dropped_total`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from fanion._core.counters import AnswerCounter, MetricFile, MetricSlot
from fanion.errors import ServeError

SLOTS = 264
"""Rows: the most workers that a server may have, and some for those that are just being replaced."""

CELLS = 2_048

Kind = Literal["counter", "gauge", "histogram"]


class Metric(NamedTuple):
    """One entry of the catalogue. Cells are whole numbers; `scale` makes them the unit of the name.

    `gather`: how a gauge is put together from the workers' rows. `bounds`: a histogram's inclusive upper bounds,
    in cell units.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    scale: float = 1.0
    gather: Literal["sum", "min", "max"] = "sum"
    bounds: tuple[int, ...] = ()


RESPONSES = Metric(
    "fanion_http_responses_total",
    "counter",
    "Answers, by API, endpoint and status.",
    ("dialect", "endpoint", "status"),
)
WORKER_STARTS = Metric(
    "fanion_worker_starts_total", "counter", "Workers started; more than the workers: some died."
)
WORKERS = Metric("fanion_workers", "gauge", "Workers alive.")
STREAMS = Metric("fanion_http_streams", "gauge", "Event streams open.")
STORE_GENERATION = Metric(
    "fanion_store_generation",
    "gauge",
    "Generation served; of the worker that is furthest behind.",
    gather="min",
)
STORE_CONFIRMED = Metric(
    "fanion_store_confirmed_timestamp_seconds",
    "gauge",
    "When the store last confirmed the generation served, Unix time; of the worker that is furthest behind.",
    scale=1e-3,
    gather="min",
)
STORE_FAULTS = Metric(
    "fanion_store_faults_total",
    "counter",
    "Bundles refused and stores that could not be read; served the last good.",
)
DROPPED = Metric(
    "fanion_metrics_dropped_total", "counter", "Counts of series for which the file had no room."
)

CATALOGUE: tuple[Metric, ...] = (
    RESPONSES,
    WORKERS,
    WORKER_STARTS,
    STREAMS,
    STORE_GENERATION,
    STORE_CONFIRMED,
    STORE_FAULTS,
    DROPPED,
)
"""What every server counts, in the order of /metrics; a part adds its own with `know`."""


class Metrics:
    """This worker's row."""

    def __init__(self, file: MetricFile, row: MetricSlot, *, worker: bool = True) -> None:
        self._file = file
        self._row = row
        self._closed = False
        self._cells: dict[object, int] = {}
        self._answers = AnswerCounter(row, self._first_answer)
        self.answered = self._answers.count
        """Counts one answer. The request path's only call; an answer that outlives the file goes uncounted."""
        self._collectors: list[Callable[[], None]] = []
        self._by_name: dict[str, Metric] = {}
        self._dropped = file.series(DROPPED.name)
        self.know(CATALOGUE)
        self._clear_gauges()
        if worker:
            self.set(WORKERS, 1)
            self.add(WORKER_STARTS)

    @classmethod
    def open(cls, directory: Path, *, worker: bool = True) -> Metrics:
        """Opens or makes DIR/shared/metrics and claims a row; `worker`: and counts one. Raises ServeError."""
        folder = directory / "shared"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            file = MetricFile(str(folder / "metrics"), SLOTS, CELLS)
            row = file.claim()
        except (OSError, ValueError) as error:
            raise ServeError(f"the metrics can't be counted: {error}") from error
        if row is None:
            file.close()
            raise ServeError(
                f"{folder / 'metrics'}: all {SLOTS} rows are taken; are other servers running here?"
            )
        return cls(file, row, worker=worker)

    @classmethod
    def prepare(cls, directory: Path) -> None:
        """Makes a file that is damaged or of another shape (of an earlier version) anew. Only before any worker.
        Raises ServeError."""
        folder = directory / "shared"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            path = folder / "metrics"
            file = MetricFile(str(path), SLOTS, CELLS, replace=True)
            whole = file.is_whole()
            file.close()
            if not whole:  # what was counted is lost; a restart of the machine loses it too
                path.unlink()
                MetricFile(str(path), SLOTS, CELLS).close()
        except (OSError, ValueError) as error:
            raise ServeError(f"the metrics can't be counted: {error}") from error

    def know(self, catalogue: Iterable[Metric]) -> None:
        """Adds metrics; those without labels are there from now on, at 0."""
        for metric in catalogue:
            self._by_name[metric.name] = metric
            if not metric.labels:
                self._cell(metric, ())

    def _first_answer(self, dialect: str, endpoint: str, status: int) -> None:
        try:
            cell = self._cell(RESPONSES, (dialect, endpoint, str(status)))
            self._answers.know(dialect, endpoint, status, cell)
            self._row.add(cell)
        except ValueError:
            if not self._closed:
                raise

    def add(self, metric: Metric, count: int = 1, labels: tuple[str, ...] = ()) -> None:
        self._row.add(self._cell(metric, labels), count)

    def set(self, metric: Metric, value: float, labels: tuple[str, ...] = ()) -> None:
        """A gauge's value, in the unit of its name."""
        cell = self._cell(metric, labels)
        if cell != self._dropped:
            self._row.set(cell, round(value / metric.scale))

    def add_counts(
        self, metric: Metric, counts: Sequence[int], total: int, labels: tuple[str, ...] = ()
    ) -> None:
        """Adds to a histogram what was counted elsewhere: one count per bucket, and the sum, in cell units."""
        cell = self._cell(metric, labels)
        if cell != self._dropped:
            for offset, count in enumerate((*counts, total)):
                if count:
                    self._row.add(cell + offset, count)

    def add_collector(self, collector: Callable[[], None]) -> None:
        """Called by `collect`, to take over what another part of this worker counts."""
        self._collectors.append(collector)

    def collect(self) -> None:
        """Once a second, so that /metrics has this worker's numbers."""
        for collector in self._collectors:
            collector()

    def served(self, generation: int, confirmed_unix_s: float) -> None:
        """Once a second: what this worker serves from, and when the store last confirmed it."""
        self.set(STORE_GENERATION, generation)
        self.set(STORE_CONFIRMED, confirmed_unix_s)

    def close(self) -> None:
        """Gives the row up; its counts stay."""
        self._closed = True
        self._clear_gauges()
        self._file.close()

    def _cell(self, metric: Metric, labels: tuple[str, ...]) -> int:
        cell = self._cells.get((metric.name, labels))
        if cell is None:
            self._by_name[metric.name] = metric
            width = len(metric.bounds) + 2 if metric.kind == "histogram" else 1
            cell = self._file.series(metric.name + label_text(metric.labels, labels), width)
            if cell < 0:
                cell = self._dropped
            self._cells[metric.name, labels] = cell
        return cell

    def _clear_gauges(self) -> None:
        """A row that is taken over, or left, says nothing of how things are. Whoever had it may have counted what
        this process knows nothing of: by name and width a gauge is told from counters and histograms."""
        for name, cell, width in self._file.directory():
            if width == 1 and not name.partition("{")[0].endswith("_total"):
                self._row.set(cell, 0)


def label_text(names: Sequence[str], values: Sequence[str]) -> str:
    """`{name="value",...}`. Values come from our own tables and need no escaping; others are refused."""
    if len(names) != len(values):
        raise ValueError(f"labels {tuple(names)} and values {tuple(values)} don't pair up")
    if not names:
        return ""
    if any(character in value for value in values for character in '"\\\n,{}'):
        raise ValueError(f"a label value of {tuple(values)} has a character that isn't allowed")
    return "{" + ",".join(f'{name}="{value}"' for name, value in zip(names, values, strict=True)) + "}"
