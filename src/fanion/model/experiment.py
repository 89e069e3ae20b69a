"""Experiments as whoever computes their results reads them: checked, with times in microseconds.

A publication stores those of an environment as one document of its bundle, `DOCUMENT`, which is there only where
there are some. It is no part of what an evaluation reads. What a plan's members mean stands in docs/results.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

DOCUMENT: Final = "experiments"
"""The name of the bundle's document: plans by their keys."""

Exposure = Literal["served", "sent", "assigned"]
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


class RunPlan(msgspec.Struct, frozen=True):
    """From `start_us` on these shares are planned, by variant; without any, none are known."""

    start_us: int
    shares: dict[str, float] = {}


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """`variants`: those that take part, the control first. `runs`: in the order of their start, the first at the
    experiment's. `units`: kinds of unit; none: every kind."""

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

    @property
    def control(self) -> str:
        return self.variants[0]

    @property
    def start_us(self) -> int:
        return self.runs[0].start_us


def encode_plans(plans: Mapping[str, Plan]) -> bytes:
    """The document."""
    return msgspec.json.encode(dict(plans))


def decode_plans(document: bytes | None) -> dict[str, Plan]:
    """What the document of an environment says; None: it has none."""
    return {} if document is None else msgspec.json.decode(document, type=dict[str, Plan])


def flags_tried(document: bytes | None) -> frozenset[str]:
    """The flags, features and policies that an experiment is about."""
    return frozenset(plan.flag for plan in decode_plans(document).values())
