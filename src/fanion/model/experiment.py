"""Experiments as whoever computes their results reads them: checked, with times in microseconds.

A publication stores those of an environment as one document of its bundle, `DOCUMENT`, which is there only where
there are some; and those that its sources have without anybody writing them out as another, `DERIVED`. Neither is
part of what an evaluation reads. What a plan's members mean stands in docs/results.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

DOCUMENT: Final = "experiments"
"""The name of the bundle's document: plans by their keys."""

DERIVED: Final = "experiments.derived"
"""The document of what sources say themselves, see `Derived`."""

Exposure = Literal["served", "sent", "assigned", "decided"]
"""`decided`: what was decided for a unit, seen or not; for policies alone, never of an experiment."""
MetricType = Literal["conversion", "count", "sum", "mean", "ratio"]
Aggregate = Literal["count", "sum"]


class MetricPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """`window_us`: None: to the experiment's end. Both aggregates are a ratio's."""

    key: str
    event: str
    type: MetricType = "conversion"
    role: Literal["goal", "guardrail"] = "goal"
    direction: Literal["increase", "decrease"] = "increase"
    window_us: int | None = None
    cap: float | None = None
    numerator: Aggregate = "sum"
    denominator: Aggregate = "count"
    denominator_event: str | None = None


class RunPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """From `start_us` on these shares are planned, by variant; without any, none are known. `run`: the rows' run
    that they are of; None: every one of that time."""

    start_us: int
    shares: dict[str, float] = {}
    run: str | None = None

    def shares_of(self, run: str) -> dict[str, float]:
        return self.shares if self.run in (None, run) else {}


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """`variants`: those that take part, the control first. `runs`: in the order of their start, the first at the
    experiment's, at 0 where it has no beginning. `units`: kinds of unit; none: every kind. `source`: the definition
    format that has it without its being written out. `metrics_from`: where such a one's metrics are from: its
    definitions, or the rows, as the events that name the flag or all of its source's API. `note`: what is always to
    be known beside it."""

    key: str
    flag: str
    exposure: Exposure
    variants: tuple[str, ...]
    metrics: tuple[MetricPlan, ...]
    runs: tuple[RunPlan, ...]
    end_us: int | None = None
    units: tuple[str, ...] = ()
    pre_period_us: int = 0
    name: str = ""
    source: str = ""
    metrics_from: Literal["plan", "flag", "source"] = "plan"
    note: str = ""

    @property
    def control(self) -> str:
        return self.variants[0]

    @property
    def start_us(self) -> int:
        return self.runs[0].start_us


class Derived(msgspec.Struct, frozen=True):
    """The document `DERIVED`. Plans of one source have its metrics, which stand here once."""

    metrics: dict[str, tuple[MetricPlan, ...]]
    plans: dict[str, Plan]


def encode_plans(plans: Mapping[str, Plan]) -> bytes:
    """The document."""
    return msgspec.json.encode(dict(plans))


def decode_plans(document: bytes | None) -> dict[str, Plan]:
    """What the document of an environment says; None: it has none."""
    return {} if document is None else msgspec.json.decode(document, type=dict[str, Plan])


def derived_document(
    derived: Sequence[Plan], metrics: Mapping[str, tuple[MetricPlan, ...]], written: bytes | None
) -> bytes | None:
    """The document of what sources say, None without any. `written`: the other document: its experiment of a flag
    counts and the source's doesn't, and where both, or two sources, have a key, the source's is `SOURCE:KEY`."""
    explicit = decode_plans(written)
    flags = {plan.flag for plan in explicit.values()}
    plans: dict[str, Plan] = {}
    for plan in derived:
        if plan.flag not in flags:
            taken = plan.key in explicit or plan.key in plans
            key = f"{plan.source}:{plan.key}" if taken else plan.key
            plans[key] = msgspec.structs.replace(plan, key=key)
    return msgspec.json.encode(Derived(dict(metrics), plans)) if plans else None


def plans_of(documents: Mapping[str, bytes]) -> dict[str, Plan]:
    """All of an environment by their keys, those that are written out first."""
    found = decode_plans(documents.get(DOCUMENT))
    if (document := documents.get(DERIVED)) is not None:
        derived = msgspec.json.decode(document, type=Derived)
        for key, plan in derived.plans.items():
            metrics = derived.metrics.get(plan.source, ())
            found[key] = msgspec.structs.replace(plan, metrics=metrics)
    return found


class _Keyed(msgspec.Struct):
    plans: dict[str, msgspec.Raw]


def plan_keys(written: bytes | None, derived: bytes | None) -> frozenset[str]:
    """The keys of `plans_of`, of both documents; nothing else of them is read."""
    keys = set() if written is None else set(msgspec.json.decode(written, type=dict[str, msgspec.Raw]))
    return frozenset(keys if derived is None else keys.union(msgspec.json.decode(derived, type=_Keyed).plans))


def flags_tried(document: bytes | None) -> frozenset[str]:
    """The flags, features and policies that a written experiment is about."""
    return frozenset(plan.flag for plan in decode_plans(document).values())
