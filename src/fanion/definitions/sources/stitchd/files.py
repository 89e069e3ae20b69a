"""What stitchd's definition files say, as msgspec structs (docs/apis/stitchd.md: Types, Order of decisions,
Percentages to Exclusion gate).

The grammar is that of the conformance files, with what they leave out added under the engine's own names:
default distributions, prerequisites, exclusion gates, events, members of lists. A rule is written flat
(`rule_id`, `rule_name`, `variant_assignment`) or in storage form (`id`, `name`, `output`). Conditions and
values are plain objects here; `stitchd_conditions` reads the former.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from fanion.model.definition import Text

NAME: Final = "stitchd"
BASIS_POINTS = 10_000

Id = Annotated[str, Meta(min_length=1, max_length=255)]
BasisPoints = Annotated[int, Meta(ge=0, le=BASIS_POINTS)]
ValueType = Literal["bool", "int", "double", "string", "str", "json"]
EventType = Literal["bool", "int", "double", "count"]


class Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Base of all: an unknown field is refused."""


class Variant(Strict, frozen=True):
    """`key` is what an evaluation answers; the storage form refers to it by `id`."""

    key: Annotated[str, Meta(max_length=255)]
    value: Any
    id: Id | None = None


class Target(Strict, frozen=True):
    """Part of a percentage's hash input: a context's key, or one of its parameters by name (`param`, or the
    storage form `{"Parameter": name}` as field)."""

    context_type: str
    field: Literal["Key", "Parameter"] | dict[Literal["Parameter"], str]
    param: str | None = None


class Gate(Strict, frozen=True):
    """Admits the buckets `bucket_lo` up to, not including, `bucket_hi` of an experiment's own hash."""

    group_salt: str
    bucket_lo: BasisPoints
    bucket_hi: BasisPoints
    context_type: str | None = None


class Weight(Strict, frozen=True):
    variant_key: str
    weight: BasisPoints


class Rollout(Strict, frozen=True):
    """The flat form of a percentage."""

    targets: list[Target]
    weights: list[Weight]
    exclusion_gate: Gate | None = None


class Assignment(Strict, frozen=True):
    """Exactly one of the two."""

    specific_variant: str | None = None
    percentage_rollout: Rollout | None = None


class Percentage(Strict, frozen=True):
    """The storage form of a percentage: weights as `[variant id, basis points]`."""

    targets: list[Target]
    weights: list[tuple[str, BasisPoints]]
    exclusion_gate: Gate | None = None


class Output(Strict, frozen=True, rename="pascal"):
    """The storage form of what a rule serves: exactly one of the two."""

    variant: str | None = None
    percentage: Percentage | None = None


class Rule(Strict, frozen=True):
    """Tried in order; the first whose condition is true wins."""

    condition: Any
    rule_id: Id | None = None
    rule_name: Text | None = None
    variant_assignment: Assignment | None = None
    id: Id | None = None
    name: Text | None = None
    output: Output | None = None


class DefaultRule(Strict, frozen=True):
    variant_assignment: Assignment


class Allocation(Strict, frozen=True):
    variant_key: str
    percentage_bp: BasisPoints


class Distribution(Strict, frozen=True):
    """Splits those whom no rule matched, by the keys of all contexts of the request."""

    allocations: list[Allocation]


class Prerequisite(Strict, frozen=True):
    prerequisite_flag: str
    required_variant: str


class Flag(Strict, frozen=True):
    """`default_variant` is what a disabled flag and an uncovered bucket get where `default_rule` names no
    single variant; `fallback_variant` what unmet prerequisites lead to."""

    key: str
    value_type: ValueType
    variants: list[Variant]
    enabled: bool = True
    archived: bool = False
    id: Id | None = None
    environment_id: str | None = None
    project_id: str | None = None
    name: Text | None = None
    description: Text | None = None
    default_rule: DefaultRule | None = None
    default_variant: str | None = None
    default_rule_distribution: Distribution | None = None
    prerequisites: list[Prerequisite] = []
    fallback_variant: str | None = None
    rules: list[Rule] = []


class SegmentRule(Strict, frozen=True):
    """Outputs of a segment's rules are ignored."""

    condition: Any
    id: Id | None = None
    name: Text | None = None
    rule_id: Id | None = None
    rule_name: Text | None = None
    output: Any = None


class RuleSegment(Strict, frozen=True):
    """Members are those for whom any rule's condition is true: one `condition`, or several `rules`."""

    id: Id
    key: Id
    context_type: str | None = None
    condition: Any = None
    rules: list[SegmentRule] | None = None
    name: Text | None = None
    description: Text | None = None


class Members(Strict, frozen=True):
    """One context type's two sets: written out, and from files of one key per line, plain or gzip. A set that
    has neither is kept as the store has it, so that commands alone can manage it."""

    include: list[str] = []
    exclude: list[str] = []
    include_file: str | None = None
    exclude_file: str | None = None


class ListSegment(Members, frozen=True, kw_only=True):
    """The sets of `context_type` stand in the segment itself, those of further types in `lists`."""

    id: Id
    key: Id
    context_type: str | None = None
    lists: dict[str, Members] = {}
    name: Text | None = None
    description: Text | None = None


class Event(Strict, frozen=True):
    """What events of this key must hold; a `count` may come without a value, or with a whole number."""

    key: Id
    value_type: EventType
    name: Text | None = None
    description: Text | None = None


class FlagFile(Strict, frozen=True):
    """`flag_definitions.json`, and everything in one file."""

    flags: list[Flag] = []
    rule_segments: list[RuleSegment] = []
    list_segments: list[ListSegment] = []
    events: list[Event] = []
    environment_id: str | None = None


class SegmentFile(Strict, frozen=True):
    """`segment_definitions.json`."""

    rule_segments: list[RuleSegment] = []
    list_segments: list[ListSegment] = []


class EventFile(Strict, frozen=True):
    """`event_definitions.json`."""

    events: list[Event] = []


def is_uuid(id: str) -> bool:
    """Whether a text is a UUID, in any case, with its hyphens or without."""
    try:
        UUID(id)
    except ValueError:
        return False
    return len(id) in (32, 36)


def environment_text(id: str) -> str:
    """An environment id as the hash takes it: a UUID in lower case with hyphens, anything else as it is."""
    return str(UUID(id)) if is_uuid(id) else id


class World(msgspec.Struct, frozen=True):
    """One source, whole: what its files say, checked for structure. Paths are those in the file named."""

    flags: list[tuple[str, str, Flag]]
    rule_segments: list[tuple[str, str, RuleSegment]]
    list_segments: list[tuple[str, str, ListSegment]]
    events: list[tuple[str, str, Event]]
    environment: str | None
