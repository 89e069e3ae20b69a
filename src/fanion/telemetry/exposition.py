"""The metrics of all workers, summed into Prometheus' text format. Reads DIR/shared/metrics, claims no row.

A counter and a histogram are the sum of all rows, those of workers that died too; a gauge is gathered, as its
catalogue entry says, from the rows whose worker lives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fanion._core.counters import MetricFile
from fanion.telemetry import (
    archive,
    exposures,
    journal,
    metrics,
    pipeline,
    places,
    prepared,
    replicated,
    shipping,
    sinks,
    windows,
)
from fanion.telemetry.metrics import Metric, label_text

CATALOGUE: tuple[Metric, ...] = (
    *metrics.CATALOGUE,
    *journal.CATALOGUE,
    *replicated.CATALOGUE,
    *windows.GAUGES.values(),
    windows.REACH,
    *exposures.CATALOGUE,
    *pipeline.CATALOGUE,
    *prepared.CATALOGUE,
    *sinks.CATALOGUE,
    *places.CATALOGUE,
    *shipping.CATALOGUE,
    *archive.CATALOGUE,
)
"""What /metrics knows, in its order; a series of another name is left out."""


class Sample(NamedTuple):
    """A metric, its label values, and a number (a histogram's sum, with its counts per bucket)."""

    metric: Metric
    labels: tuple[str, ...]
    value: float
    counts: Sequence[int] = ()


class Exposition:
    """The metrics file of one data directory, as a reader sees it."""

    def __init__(self, directory: Path, catalogue: Iterable[Metric] = CATALOGUE) -> None:
        """Raises OSError and ValueError when the file can't be opened."""
        self._file = MetricFile(str(directory / "shared" / "metrics"), metrics.SLOTS, metrics.CELLS)
        self._by_name = {metric.name: metric for metric in catalogue}

    def text(self) -> bytes:
        """Prometheus' text format, version 0.0.4, over all workers."""
        samples: dict[Metric, list[Sample]] = {metric: [] for metric in self._by_name.values()}
        for sample in self.samples():
            samples[sample.metric].append(sample)
        return "".join(line for metric, found in samples.items() for line in _lines(metric, found)).encode()

    def close(self) -> None:
        self._file.close()

    def samples(self) -> Iterator[Sample]:
        """Every series, over all workers."""
        alive = [self._file.is_locked_elsewhere(number) for number in range(self._file.slots)]
        gathers: dict[str, Callable[[Iterable[int]], int]] = {"sum": sum, "min": min, "max": max}
        for name, cell, width in self._file.directory():
            metric = self._by_name.get(name.partition("{")[0])
            if metric is None:
                continue
            labels = _label_values(name)
            if metric.kind == "histogram":
                columns = [sum(self._file.column(cell + offset)) for offset in range(width)]
                yield Sample(metric, labels, columns[-1] * metric.scale, columns[:-1])
            elif metric.kind == "counter":
                yield Sample(metric, labels, sum(self._file.column(cell)) * metric.scale)
            else:
                column = zip(self._file.column(cell), alive, strict=True)
                values = [value for value, lives in column if lives and value]
                if values or metric.gather == "sum":
                    yield Sample(metric, labels, gathers[metric.gather](values) * metric.scale)


def _lines(metric: Metric, samples: list[Sample]) -> Iterator[str]:
    if not samples:
        return
    yield f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.kind}\n"
    for sample in sorted(samples, key=lambda sample: sample.labels):
        if metric.kind != "histogram":
            yield f"{metric.name}{label_text(metric.labels, sample.labels)} {_number(sample.value)}\n"
            continue
        total = 0
        bounds = [_number(bound * metric.scale) for bound in metric.bounds] + ["+Inf"]
        for bound, count in zip(bounds, sample.counts, strict=True):
            total += count
            text = label_text((*metric.labels, "le"), (*sample.labels, bound))
            yield f"{metric.name}_bucket{text} {total}\n"
        text = label_text(metric.labels, sample.labels)
        yield f"{metric.name}_sum{text} {_number(sample.value)}\n{metric.name}_count{text} {total}\n"


def _label_values(series: str) -> tuple[str, ...]:
    """The values out of what `label_text` wrote."""
    inside = series.partition("{")[2].removesuffix("}")
    return tuple(pair.partition("=")[2].strip('"') for pair in inside.split(",")) if inside else ()


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else format(value, ".15g")
