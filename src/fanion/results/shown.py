"""A result as people and spreadsheets read it: lines and tables for a terminal, rows for CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, Final

from fanion.model.printable import cell
from fanion.results.report import Bounds, Comparison, MetricResult, Result

COLUMNS: Final = (
    "environment",
    "experiment",
    "segment",
    "trustworthy",
    "metric",
    "role",
    "variant",
    "units",
    "active",
    "mean",
    "finding",
    "difference",
    "lower",
    "upper",
    "p",
    "p_corrected",
    "fixed_lower",
    "fixed_upper",
    "fixed_p",
    "lift",
    "lift_lower",
    "lift_upper",
    "detectable",
    "units_needed",
    "derived_from",
)
"""Of CSV; docs/results.md: CSV."""
METRICS: Final = ("metric", "variant", "units", "mean", "difference", "always-valid 95 %", "lift", "finding")
DAYS: Final = ("day", "metric", "variant", "units", "difference", "always-valid 95 %")


def csv_text(results: Sequence[Result]) -> str:
    """A row for each metric and variant; the control's has no comparison."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in results:
        head = [result.environment, result.experiment, result.segment, str(result.trustworthy).lower()]
        for metric in result.metrics:
            compared = {one.variant: one for one in metric.comparisons}
            for side in metric.variants:
                row: list[Any] = [
                    metric.metric,
                    metric.role,
                    side.variant,
                    side.units,
                    side.active,
                    side.mean,
                ]
                row += _compared(compared.get(side.variant))
                writer.writerow(map(cell, [*head, *row, result.derived_from or ""]))
    return text.getvalue()


def _compared(one: Comparison | None) -> list[Any]:
    if one is None:
        return [None] * (COLUMNS.index("derived_from") - COLUMNS.index("finding"))
    lift = one.lift_always_valid
    return [
        one.finding,
        one.difference,
        one.always_valid.lower,
        one.always_valid.upper,
        one.p,
        one.p_corrected,
        one.fixed.lower,
        one.fixed.upper,
        one.fixed_p,
        one.lift,
        None if lift is None else lift.lower,
        None if lift is None else lift.upper,
        one.detectable,
        one.units_needed,
    ]


def title(result: Result) -> str:
    divided = "" if result.attribute is None else f", {result.attribute} = {result.segment or '(none)'}"
    derived = "" if result.derived_from is None else f" (derived from {result.derived_from})"
    return f"{result.experiment} in {result.environment}{derived}{divided}: {result.summary}"


def metric_rows(result: Result) -> Iterator[list[str]]:
    """Below `METRICS`."""
    for metric in result.metrics:
        compared = {one.variant: one for one in metric.comparisons}
        for side in metric.variants:
            name = metric.metric if side.variant == result.control else ""
            if name and metric.role == "guardrail":
                name += " (guardrail)"
            row = [name, side.variant, f"{side.units:,}", _mean(metric, side.mean)]
            one = compared.get(side.variant)
            if one is None:
                yield [
                    *row,
                    "",
                    "",
                    "",
                    "control" if side.variant == result.control else "nothing to compare",
                ]
            else:
                lift = "" if one.lift is None else f"{one.lift:+.1%}"
                yield [
                    *row,
                    _amount(metric, one.difference),
                    _bounds(metric, one.always_valid),
                    lift,
                    one.words,
                ]


def day_rows(result: Result) -> Iterator[list[str]]:
    """Below `DAYS`."""
    metrics = {one.metric: one for one in result.metrics}
    for day in result.days:
        metric = metrics[day.metric]
        around = _bounds(metric, Bounds(day.lower, day.upper))
        difference = _amount(metric, day.difference)
        yield [day.day, day.metric, day.variant, f"{day.units:,}", difference, around]


def remarks(result: Result) -> Iterator[str]:
    """What is to be known beside the table, a line each."""
    for problem in result.problems:
        yield f"not trustworthy: {problem}"
    for run in result.runs:
        units = ", ".join(f"{variant} {count:,}" for variant, count in run.units.items())
        told = "" if run.sample_ratio_p is None else f"; sample ratio p = {run.sample_ratio_p:.3g}"
        yield f"run {run.run} since {run.first_exposure}: {units}{told}"
    for told_by in result.unexposed:
        yield f"{told_by.variant}: {told_by.events:,} events {told_by.event} of {told_by.units:,} units"
    for metric in result.metrics:
        opened = sum(side.open for side in metric.variants)
        if opened:
            left = "are left out" if result.complete else "may still change it"
            yield f"{metric.metric}: the windows of {opened:,} units are open, and {left}"
    yield from result.notes
    if result.attribute is not None and not result.segment and result.runs:
        yield (
            f"these units had no {result.attribute} when they were exposed: an environment's exposures name the "
            "attributes that travel along"
        )
    if result.counted is not None and result.runs:
        counted = result.counted
        share = (
            ""
            if counted.verified_share is None
            else f", {counted.verified_share:.0%} of traced events verified"
        )
        yield (
            f"counted: {counted.units_of_several_variants:,} units met several variants, "
            f"{counted.events_against_exposure:,} events name another variant, "
            f"{counted.repeats_dropped:,} repeats dropped, {counted.clocks_corrected:,} clocks corrected, "
            f"{counted.values_not_numbers:,} values were no numbers, "
            f"{counted.events_without_exposure:,} events without an exposure{share}"
        )
    fresh = "" if result.fresh is None else f"; every event before {result.fresh} is counted"
    if result.as_of:
        yield f"as of {result.as_of}{fresh}"
    else:
        how = "; `fanion pipeline --once` makes them, `fanion serve --pipeline` goes on making them"
        yield f"there are no rows yet{fresh or how}"


def _mean(metric: MetricResult, mean: float | None) -> str:
    if mean is None:
        return ""
    return f"{mean:.2%}" if metric.type == "conversion" else f"{mean:.4g}"


def _amount(metric: MetricResult, value: float) -> str:
    return f"{value * 100:+.2f}" if metric.type == "conversion" else f"{value:+.4g}"


def _bounds(metric: MetricResult, bounds: Bounds) -> str:
    return f"{_amount(metric, bounds.lower)} to {_amount(metric, bounds.upper)}"
