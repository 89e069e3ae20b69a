"""A unit's numbers out of its events, and their moments: SQL over `tables`.

Experiments whose metrics are alike have one query: their events lie among each other, and a query for each would
read those of all. What differs among them (names, windows, caps) are columns of the table `limits`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from fanion.model.experiment import MetricPlan, Plan
from fanion.results.statistics import Moments

FAR_US: Final = 1 << 60
NO, TRACED, VERIFIED, CORRECTED, CONTRARY = 1, 2, 4, 8, 16
"""Bits of what is known of an event: its value was `false`; it has a trace, a good one; its time was not believed;
it names another variant than its unit's."""
NAME: Final = 5
"""The bit at which the number of its name begins."""


class Alike(NamedTuple):
    """Of a metric, what its SQL depends on."""

    type: str
    numerator: str
    denominator: str
    windowed: bool


class Form(NamedTuple):
    """Of a plan, what its SQL depends on."""

    before: bool
    metrics: tuple[Alike, ...]


def form_of(plan: Plan) -> Form:
    metrics = (
        Alike(metric.type, metric.numerator, metric.denominator, metric.window_us is not None)
        for metric in plan.metrics
    )
    return Form(plan.pre_period_us > 0, tuple(metrics))


def read(metric: MetricPlan) -> list[tuple[str, str]]:
    """(event, what of it)."""
    if metric.type == "ratio":
        return [(metric.event, metric.numerator), (str(metric.denominator_event), metric.denominator)]
    return [(metric.event, "sum" if metric.type in ("sum", "mean") else "count")]


def limits(form: Form, plans: Mapping[int, Plan], names: Sequence[str]) -> tuple[str, list[tuple[Any, ...]]]:
    """The columns and rows of `limits`, of plans by their numbers."""
    columns = ["plan INTEGER", "ended BIGINT", "pre_us BIGINT"]
    for n in range(len(form.metrics)):
        columns += [f"name{n} INTEGER", f"other{n} INTEGER", f"window{n} BIGINT", f"cap{n} DOUBLE"]
    rows = []
    for number, plan in plans.items():
        row: list[Any] = [number, FAR_US if plan.end_us is None else plan.end_us, plan.pre_period_us]
        for metric in plan.metrics:
            events = [names.index(name) for name, _ in read(metric)]
            row += [events[0], events[-1], metric.window_us, metric.cap]
        rows.append(tuple(row))
    return ", ".join(columns), rows


def moments_query(form: Form, lead_us: int, cut_us: int, closed_by_us: int | None, segment: str) -> str:
    """(plan, segment, variant's place, run, then the fields of `Moments` of each metric). `cut_us`: until when;
    `closed_by_us`: without the units whose window isn't over by then."""
    own, asked, grouped = [], [], []
    for n, metric in enumerate(form.metrics):
        for side, sql in _numbers(n, metric, before=form.before, lead_us=lead_us):
            own.append(f"{sql} AS {side}{n}")
            capped = metric.type in ("conversion", "count", "sum")
            number = f"coalesce({side}{n}, 0)"
            asked.append(
                f"{f'least({number}, cap{n})' if capped else number} AS {side}{n}"
            )  # passes over null
        closed = ""
        if closed_by_us is not None and metric.windowed:
            asked.append(f"t0 + window{n} <= {closed_by_us} AS closed{n}")
            closed = f"closed{n}"
        grouped += _aggregates(n, metric, before=form.before, closed=closed)
    return f"""
        WITH numbers AS (
            SELECT e, {", ".join(own)} FROM own JOIN limits USING (plan)
            WHERE NOT again AND t <= {cut_us} AND after >= {-lead_us} - pre_us GROUP BY e
        ),
        everyone AS (
            SELECT plan, {segment} AS segment, place, label, {", ".join(asked)}
            FROM exposed JOIN limits USING (plan) LEFT JOIN numbers ON e = exposed.rowid
            WHERE t0 <= {cut_us}
        )
        SELECT plan, segment, place, label, {", ".join(grouped)} FROM everyone GROUP BY 1, 2, 3, 4
        """


def moments_of(values: Sequence[Any]) -> Iterator[Moments]:
    """Of each metric."""
    width = len(Moments.__struct_fields__)
    for start in range(0, len(values), width):
        units, mean, variance, active, *others = values[start : start + width]
        yield Moments(
            int(units),
            float(mean or 0),
            float(variance or 0),
            int(active),
            *(float(one or 0) for one in others),
        )


def _numbers(n: int, metric: Alike, *, before: bool, lead_us: int) -> Iterator[tuple[str, str]]:
    """A unit's numbers as SQL over its events: y, d (what a ratio is to), x (y before the exposure)."""
    last = f"after <= window{n}" if metric.windowed else "t <= ended"
    within = f"what >> {NAME} = name{n} AND after >= {-lead_us} AND {last}"
    if metric.type == "mean":
        yield "y", _sum("sum", within)
        yield "d", _sum("number", within)
    elif metric.type == "ratio":
        yield "y", _sum(metric.numerator, within)
        yield "d", _sum(metric.denominator, within.replace(f"name{n}", f"other{n}"))
    else:
        yield "y", _sum(metric.type, within)
        if before:
            yield (
                "x",
                _sum(
                    metric.type,
                    f"what >> {NAME} = name{n} AND after >= {-lead_us} - pre_us AND after < {-lead_us}",
                ),
            )


def _sum(kind: str, within: str) -> str:
    """A unit's number: `conversion`, `count`, `sum`, or how many of its events have a `number`."""
    if kind == "sum":
        return f"sum(number) FILTER ({within})"
    if kind == "number":
        return f"count(number) FILTER ({within})::DOUBLE"
    counted = f"count(*) FILTER ({within} AND what & {NO} = 0)"
    return f"({counted} > 0)::INTEGER::DOUBLE" if kind == "conversion" else f"{counted}::DOUBLE"


def _aggregates(n: int, metric: Alike, *, before: bool, closed: str) -> list[str]:
    """In the order of the fields of `Moments`."""
    y, d, x = f"y{n}", f"d{n}", f"x{n}"
    where = f"FILTER ({closed})" if closed else ""
    active = f"{closed} AND {y} <> 0" if closed else f"{y} <> 0"
    made = [f"count(*) {where}", f"avg({y}) {where}", f"var_samp({y}) {where}", f"count(*) FILTER ({active})"]
    if metric.type in ("mean", "ratio"):
        made += [f"avg({d}) {where}", f"var_samp({d}) {where}", f"covar_samp({y}, {d}) {where}"]
    else:
        made += ["1.0", "0.0", "0.0"]
    if before and metric.type in ("conversion", "count", "sum"):
        made += [f"avg({x}) {where}", f"var_samp({x}) {where}", f"covar_samp({y}, {x}) {where}"]
    else:
        made += ["0.0", "0.0", "0.0"]
    return made
