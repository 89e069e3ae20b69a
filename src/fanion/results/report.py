"""What there is to say of an experiment: one object, the same in the terminal, over HTTP and as JSON.

docs/results.md explains its members. Times are ISO 8601 in UTC; a number that there is none of is null.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Finding = Literal["better", "worse", "none", "not enough yet"]


class Bounds(msgspec.Struct, frozen=True):
    lower: float
    upper: float


class Comparison(msgspec.Struct, frozen=True):
    """A variant beside the control. `control_mean`, `variant_mean`: as they are compared, within runs and by what
    was before; `difference` is theirs. `p`: of the always-valid test; `p_corrected`: among all of its family.
    `detectable`: the difference that these units would show in 80 of 100 cases; `units_needed`: of both variants,
    until one as large as `difference` would be."""

    variant: str
    finding: Finding
    control_mean: float
    variant_mean: float
    difference: float
    always_valid: Bounds
    p: float
    p_corrected: float
    fixed: Bounds
    fixed_p: float
    lift: float | None
    lift_always_valid: Bounds | None
    detectable: float
    units_needed: int | None
    words: str


class VariantMetric(msgspec.Struct, frozen=True):
    """`active`: units whose number isn't 0; `open`: those whose window isn't over."""

    variant: str
    units: int
    active: int
    mean: float | None
    open: int


class MetricResult(msgspec.Struct, frozen=True):
    metric: str
    event: str
    type: str
    role: Literal["goal", "guardrail"]
    direction: Literal["increase", "decrease"]
    variants: list[VariantMetric]
    comparisons: list[Comparison]


class RunResult(msgspec.Struct, frozen=True):
    """`sample_ratio_p`: null where no shares are planned."""

    run: str
    first_exposure: str
    shares: dict[str, float]
    units: dict[str, int]
    sample_ratio_p: float | None


class Counted(msgspec.Struct, frozen=True):
    """Counted and shown, not filtered."""

    units_of_several_variants: int
    events_against_exposure: int
    clocks_corrected: int
    repeats_dropped: int
    events_without_id: int
    values_not_numbers: int
    events_without_exposure: int
    verified_share: float | None


class DayResult(msgspec.Struct, frozen=True):
    """A comparison as it was at the end of a day, cumulative."""

    day: str
    metric: str
    variant: str
    units: int
    difference: float
    lower: float
    upper: float


class Told(msgspec.Struct, frozen=True):
    """Where nothing was exposed: what the events themselves say of a variant."""

    variant: str
    event: str
    events: int
    units: int


class Result(msgspec.Struct, frozen=True):
    """`segment`: the attribute's value, where units are divided. `as_of`: when the newest row was received.
    `fresh`: every event that was safe before then is a row; null where that isn't known. `start`: null where there
    is none. `derived_from`: the definition format that has it without its being written out."""

    experiment: str
    name: str
    environment: str
    flag: str
    control: str
    exposure: str
    start: str | None
    end: str | None
    as_of: str | None
    fresh: str | None
    complete: bool
    attribute: str | None
    segment: str | None
    units: dict[str, int]
    trustworthy: bool
    problems: list[str]
    notes: list[str]
    summary: str
    runs: list[RunResult]
    metrics: list[MetricResult]
    counted: Counted | None
    unexposed: list[Told]
    days: list[DayResult]
    derived_from: str | None


def written(micros: int) -> str:
    """A time as it is shown."""
    return (EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")
