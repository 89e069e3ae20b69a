"""Experiments of a project: what is wrong with them, and the plans that a publication stores.

What needs no environment is checked with everything else of the project; whether the flag, its variants and the
metrics are there is asked of each environment once all its sources are lowered, as any of them may have them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import msgspec

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading import limits
from fanion.definitions.reading.keys import parse_time
from fanion.definitions.reading.report import Report, join, shown
from fanion.definitions.reading.structure import BROKEN
from fanion.definitions.sources.native.worlds import Placed, ProjectWorld
from fanion.model.definition import Experiment, Metric
from fanion.model.experiment import DOCUMENT, MetricPlan, Plan, RunPlan, encode_plans

HOUR_US = 3_600_000_000


def check_experiments(project: ProjectWorld, report: Report) -> None:
    """Times, metrics and shares of all of a project's."""
    for number, (key, placed) in enumerate(project.experiments.items()):
        if number == limits.EXPERIMENTS_MAX:
            found = f"{len(project.experiments)} experiments"
            report.problem(placed.file, placed.path, found, f"at most {limits.EXPERIMENTS_MAX}")
            break
        _Checks(project, key, placed, report).run()


class _Checks:
    def __init__(self, project: ProjectWorld, key: str, placed: Placed[Experiment], report: Report) -> None:
        self.project = project
        self.key = key
        self.file, self.path, self.item = placed
        self.report = report

    def run(self) -> None:
        item = self.item
        self.times()
        for number, name in enumerate(item.environments):
            if name is not BROKEN and name not in self.project.environments:
                self.problem(
                    f"environments[{number}]",
                    f"the environment {shown(name)}",
                    _one_of(self.project.environments),
                )
        if item.metrics is not BROKEN:
            if not 1 <= len(item.metrics) <= limits.METRICS_MAX:
                self.problem("metrics", f"{len(item.metrics)} metrics", f"1 to {limits.METRICS_MAX}")
            for name, metric in item.metrics.items():
                self.metric(metric, join("metrics", name))
        if item.runs and not item.shares:
            self.problem("runs", "runs without shares", "shares: those that the experiment began with")
        if item.shares:
            self.shares(item.shares, "shares")

    def problem(self, path: str, found: str, allowed: str) -> None:
        self.report.problem(self.file, f"{self.path}.{path}", found, allowed)

    def times(self) -> None:
        """Start, the runs' starts, end: each a time, each after the one before."""
        item = self.item
        given: list[tuple[str, Any]] = [("start", item.start)]
        if len(item.runs) > limits.RUNS_MAX:
            self.problem("runs", f"{len(item.runs)} runs", f"at most {limits.RUNS_MAX}")
        for number, run in enumerate(item.runs):
            if run is not BROKEN:
                given.append((f"runs[{number}].start", run.start))
                if run.shares is not BROKEN:
                    self.shares(run.shares, f"runs[{number}].shares")
        if item.end is not None:
            given.append(("end", item.end))
        known = []
        for path, text in given:
            if text is BROKEN:
                continue
            time = parse_time(text)
            if time is None:
                self.problem(path, shown(text), "a time in ISO 8601")
            else:
                known.append((path, text, time))
        for (before, text, earlier), (path, found, later) in pairwise(known):
            if later <= earlier:
                self.problem(path, shown(found), f"a time after {before}, {text}")

    def shares(self, shares: dict[str, float], path: str) -> None:
        if not 2 <= len(shares) <= limits.VARIANTS_MAX:
            self.problem(path, f"{len(shares)} variants", f"2 to {limits.VARIANTS_MAX}")
        if self.item.control is not BROKEN and self.item.control not in shares:
            self.problem(path, "shares without the control's", f"a share of {shown(self.item.control)}")

    def metric(self, metric: Metric, path: str) -> None:
        ratio = metric.type == "ratio"
        if ratio and metric.denominator_event is None:
            self.problem(path, "a ratio without denominator_event", "the event that it is a ratio to")
        if not ratio and metric.denominator_event is not None:
            self.problem(f"{path}.denominator_event", f"beside {metric.type}", "a ratio's only")
        if metric.cap is not None and metric.type not in ("count", "sum"):
            self.problem(f"{path}.cap", f"a cap beside {metric.type}", "one beside count or sum")


def lower_experiments(project: ProjectWorld, environment: str, builder: Builder, report: Report) -> None:
    """Adds the plans of those that run in the environment to its documents, behind all its sources."""
    plans: dict[str, Plan] = {}
    for key, placed in project.experiments.items():
        if placed.item.environments and environment not in placed.item.environments:
            continue
        plan = _plan(key, placed, builder, report)
        if plan is not None:
            plans[key] = plan
    if plans:
        builder.documents[DOCUMENT] = encode_plans(plans)


def _plan(key: str, placed: Placed[Experiment], builder: Builder, report: Report) -> Plan | None:
    """None where it names what the environment doesn't have; reported once, however many environments lack it."""
    file, path, item = placed
    problems: list[tuple[str, str, str]] = []
    variants = variants_of(builder, item.flag)
    named = [(f"{path}.control", item.control)]
    for place, shares in [("shares", item.shares), *_shares(item)]:
        named += [(join(f"{path}.{place}", variant), variant) for variant in shares]
    if variants is None:
        problems.append((f"{path}.flag", f"the flag {shown(item.flag)}", _one_of(builder.tried())))
    elif not variants:
        found = f"the flag {shown(item.flag)}, whose values have no names"
        problems.append((f"{path}.flag", found, "a flag with variants"))
    else:
        problems += [
            (place, f"the variant {shown(variant)}", _one_of(variants))
            for place, variant in named
            if variant not in variants
        ]
    events = {*msgspec.json.decode(builder.documents.get("events", b"{}")), *builder.metrics}
    for name, metric in item.metrics.items():
        for member in ("event", "denominator_event"):
            event = getattr(metric, member)
            if event is not None and event not in events:
                place = f"{join(f'{path}.metrics', name)}.{member}"
                allowed = _one_of(events) if events else "there are none: name it among the project's events"
                problems.append((place, f"the metric {shown(event)}", allowed))
    known = {(one.file, one.path, one.found) for one in report.problems}
    for place, found, allowed in problems:
        if (file, place, found) not in known:
            report.problem(file, place, found, allowed)
    if problems:
        return None
    assert variants is not None
    taking = dict.fromkeys([item.control, *(variant for _, variant in named)] if item.shares else variants)
    return Plan(
        key=key,
        flag=item.flag,
        exposure=item.exposure,
        variants=(item.control, *(variant for variant in taking if variant != item.control)),
        metrics=tuple(_metric(name, metric) for name, metric in item.metrics.items()),
        runs=(
            RunPlan(_micros(item.start), item.shares),
            *(RunPlan(_micros(run.start), run.shares) for run in item.runs),
        ),
        end_us=None if item.end is None else _micros(item.end),
        units=tuple(item.units),
        pre_period_us=round(item.pre_period_hours * HOUR_US),
        name=item.name,
    )


def variants_of(builder: Builder, flag: str) -> tuple[str, ...] | None:
    """The names of a flag's variants; None where the environment has no such flag. Of several sources' flags of one
    key all variants count."""
    if flag not in builder.tried():
        return None
    found: dict[str, None] = dict.fromkeys(builder.policies.get(flag, ()))
    for parameter in builder.parameters:
        if parameter.group == flag:
            found |= dict.fromkeys(parameter.variants)
    return tuple(found)


def _shares(item: Experiment) -> Iterator[tuple[str, dict[str, float]]]:
    for number, run in enumerate(item.runs):
        yield f"runs[{number}].shares", run.shares


def _metric(key: str, metric: Metric) -> MetricPlan:
    return MetricPlan(
        key=key,
        event=metric.event,
        type=metric.type,
        role=metric.role,
        direction=metric.direction,
        window_us=None if metric.window_hours is None else round(metric.window_hours * HOUR_US),
        cap=metric.cap,
        numerator=metric.numerator,
        denominator=metric.denominator,
        denominator_event=metric.denominator_event,
    )


def _micros(text: str) -> int:
    time = parse_time(text)
    assert time is not None, "times were checked"
    return round(time.timestamp() * 1_000_000)


def _one_of(known: Iterable[str]) -> str:
    names = sorted(known)
    more = f", and {len(names) - 20} more" if len(names) > 20 else ""
    return f"one of {', '.join(names[:20])}{more}" if names else "there are none"
