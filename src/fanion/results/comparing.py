"""From moments to comparisons and their words.

A finding rests on the corrected p of the always-valid test alone; below `UNITS_MIN` units or `ACTIVE_MIN` active
ones of a variant nothing is found, whatever it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from fanion.model.experiment import MetricPlan, Plan
from fanion.results import statistics
from fanion.results.cells import Cell
from fanion.results.report import Bounds, Comparison, Finding, MetricResult, VariantMetric
from fanion.results.statistics import ACTIVE_MIN, ALPHA, UNITS_MIN, Difference, Interval, Moments

ByRun = Mapping[str, Mapping[str, Moments]]
"""variant -> run -> moments."""


class Pending(NamedTuple):
    """A comparison before it is known how many there are."""

    metric: MetricPlan
    variant: str
    found: Difference
    always: Interval
    enough: bool


def by_variant(cells: Mapping[Cell, Moments], segment: str | None) -> dict[str, dict[str, Moments]]:
    made: dict[str, dict[str, Moments]] = {}
    for cell, moments in cells.items():
        if cell.segment == segment:
            made.setdefault(cell.variant, {})[cell.run] = moments
    return made


def differing(control: Mapping[str, Moments], treatment: Mapping[str, Moments]) -> Difference | None:
    """Over the runs that both are in."""
    pairs = [
        statistics.paired_arms(control[run], treatment[run])
        for run in sorted(control.keys() & treatment.keys())
    ]
    return statistics.difference(pair for pair in pairs if pair is not None)


def metric_results(
    plan: Plan, metrics: Sequence[ByRun], open_units: Sequence[Mapping[str, int]]
) -> list[MetricResult]:
    """`open_units`: by variant, of each metric."""
    pending = [
        one
        for metric, by_run in zip(plan.metrics, metrics, strict=True)
        for variant in plan.variants[1:]
        if (one := _pending(plan, metric, variant, by_run)) is not None
    ]
    compared: dict[str, list[Comparison]] = {}
    for role in ("goal", "guardrail"):
        family = [one for one in pending if one.metric.role == role]
        corrected = statistics.holm([one.always.p for one in family])
        for one, p in zip(family, corrected, strict=True):
            compared.setdefault(one.metric.key, []).append(_comparison(one, p))
    return [
        MetricResult(
            metric=metric.key,
            event=metric.event,
            type=metric.type,
            role=metric.role,
            direction=metric.direction,
            variants=[_variant(variant, by_run.get(variant, {}), opened) for variant in plan.variants],
            comparisons=compared.get(metric.key, []),
        )
        for metric, by_run, opened in zip(plan.metrics, metrics, open_units, strict=True)
    ]


def _variant(variant: str, runs: Mapping[str, Moments], opened: Mapping[str, int]) -> VariantMetric:
    units = sum(one.units for one in runs.values())
    base = sum(one.base_mean * one.units for one in runs.values())
    total = sum(one.mean * one.units for one in runs.values())
    return VariantMetric(
        variant=variant,
        units=units,
        active=sum(one.active for one in runs.values()),
        mean=total / base if base else None,
        open=opened.get(variant, 0),
    )


def _pending(plan: Plan, metric: MetricPlan, variant: str, by_run: ByRun) -> Pending | None:
    control, treatment = by_run.get(plan.control, {}), by_run.get(variant, {})
    found = differing(control, treatment)
    if found is None:
        return None
    enough = all(
        sum(one.units for one in side) >= UNITS_MIN and sum(one.active for one in side) >= ACTIVE_MIN
        for side in (list(control.values()), list(treatment.values()))
    )
    return Pending(
        metric, variant, found, statistics.always_valid(found.effect, found.variance, found.units), enough
    )


def _comparison(one: Pending, p: float) -> Comparison:
    found = one.found
    fixed = statistics.fixed(found.effect, found.variance, found.degrees)
    lift = statistics.relative(found)
    around = None if lift is None else statistics.always_valid(*lift, found.units)
    finding: Finding = "none"
    if not one.enough:
        finding = "not enough yet"
    elif p < ALPHA:
        finding = "better" if (found.effect > 0) == (one.metric.direction == "increase") else "worse"
    detectable = statistics.detectable(found.variance, found.units)
    needed = None if finding in ("better", "worse") else statistics.units_to_detect(found, found.effect)
    return Comparison(
        variant=one.variant,
        finding=finding,
        control_mean=found.means[0],
        variant_mean=found.means[1],
        difference=found.effect,
        always_valid=Bounds(one.always.lower, one.always.upper),
        p=one.always.p,
        p_corrected=p,
        fixed=Bounds(fixed.lower, fixed.upper),
        fixed_p=fixed.p,
        lift=None if lift is None else lift[0],
        lift_always_valid=None if around is None else Bounds(around.lower, around.upper),
        detectable=detectable,
        units_needed=needed,
        words=_words(one, finding, detectable, needed),
    )


def _words(one: Pending, finding: Finding, detectable: float, needed: int | None) -> str:
    shown = partial(amount, one.metric)
    if finding == "not enough yet":
        return (
            f"not enough yet: it takes {UNITS_MIN} units of each variant, {ACTIVE_MIN} of them with a number"
        )
    if finding != "none":
        sides = f"{shown(one.always.lower)} to {shown(one.always.upper)}"
        return f"{finding}: {shown(one.found.effect)} ({sides})"
    more = "" if needed is None else f"; one as large as now takes about {_rounded(needed):,} units"
    return f"no difference found; {shown(detectable, signed=False)} would most likely show by now{more}"


def _rounded(units: int) -> int:
    """To two digits, upwards."""
    scale: int = 10 ** max(len(str(units)) - 2, 0)
    return -(-units // scale) * scale


def amount(metric: MetricPlan, value: float, *, signed: bool = True) -> str:
    """A difference as it is shown: of conversions in points, of others with four digits."""
    sign = "+" if signed else ""
    return f"{value * 100:{sign}.2f} points" if metric.type == "conversion" else f"{value:{sign}.4g}"


def findings(metrics: Iterable[MetricResult]) -> str:
    """All of it in one sentence."""
    found = [
        f"{one.metric} {comparison.finding} with {comparison.variant}"
        for one in metrics
        for comparison in one.comparisons
        if comparison.finding in ("better", "worse")
    ]
    if found:
        return "found: " + ", ".join(found)
    every = [comparison for one in metrics for comparison in one.comparisons]
    if not every or all(comparison.finding == "not enough yet" for comparison in every):
        return "not enough yet"
    return "no difference found so far"
