"""The native definition format: what a publication says, as msgspec structs; the JSON Schema is made from
these.

Flags have Feather's shape (FlagConfig, docs/apis/feather.md: Definitions) in snake_case, with nested
conditions, segments and splits added. A field's documentation string is part of the published schema.
Structure only: references, value types and patterns are checked by `fanion.definitions`, so that every defect
is found in one go.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fanion.model.api_key import PREFIX_CHARACTERS_MAX

KeyKind = Literal["server", "client", "edge"]
ValueType = Literal["boolean", "string", "number", "json"]

Identifier = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$(?!\n)",
        max_length=128,
        description="An id, opaque to the server.",
        extra={"allowed": "letters, digits and _ . : -, at most 128, the first a letter or a digit"},
    ),
]
FlagKey = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9_-]+$(?!\n)",
        max_length=128,
        extra={"allowed": "lower-case letters, digits and _ -, at most 128"},
    ),
]
VariableKey = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9_.-]+$(?!\n)",
        max_length=128,
        extra={"allowed": "lower-case letters, digits and _ . -, at most 128"},
    ),
]
RuleId = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=1024)]
DialectName = Annotated[str, Meta(extra_json_schema={"words": "dialects"})]
ScopeName = Annotated[str, Meta(extra_json_schema={"words": "scopes"})]
"""Words that the vocabulary knows, which whoever loads hands in; the schema lists them."""
Secret = Annotated[str, Meta(min_length=8, max_length=512, extra={"secret": True})]
"""Text that no message shows."""
Percentage = Annotated[float, Meta(ge=0, le=100)]
Scalar = bool | int | float | str
Value = bool | int | float | str | dict[str, Any] | list[Any]
Operator = Literal[
    "equals",
    "not_equals",
    "contains",
    "not_contains",
    "starts_with",
    "ends_with",
    "in",
    "not_in",
    "is_set",
    "is_not_set",
    "gt",
    "gte",
    "lt",
    "lte",
    "regex",
    "geo_country",
]


class Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """Base of all: an unknown field is a typing error of the author, never ignored."""


class Condition(Strict, frozen=True, gc=False):
    """One of: a test on an attribute; all, any or not over conditions; membership of a segment; a flag's
    value."""

    attribute: Annotated[str, Meta(min_length=1, max_length=1024)] | UnsetType = UNSET
    operator: Operator | UnsetType = UNSET
    value: Scalar | list[Scalar] | UnsetType = UNSET
    all: list[Condition] | UnsetType = UNSET
    any: list[Condition] | UnsetType = UNSET
    not_: Condition | UnsetType = msgspec.field(name="not", default=UNSET)
    segment: str | UnsetType = UNSET
    flag: str | UnsetType = UNSET
    is_: Value | UnsetType = msgspec.field(name="is", default=UNSET)


class SplitPart(Strict, frozen=True, gc=False):
    """A share of a split, in per cent with two decimals: a value (flags) or a variation (features)."""

    weight: Percentage
    value: Value | UnsetType = UNSET
    variation: str | UnsetType = UNSET


class Rule(Strict, frozen=True, gc=False):
    """Rules are tried in order. `rollout_percentage` limits the rule to that share of the subjects it
    matches; the others go on to the next rule. A rule serves a value (flags) or a variation (features), or
    a split."""

    id: RuleId
    name: Text = ""
    enabled: bool = True
    conditions: list[Condition] = []
    condition_operator: Literal["AND", "OR"] = "AND"
    value: Value | UnsetType = UNSET
    variation: str | UnsetType = UNSET
    split: list[SplitPart] | UnsetType = UNSET
    rollout_percentage: Percentage | None = None


class Variant(Strict, frozen=True, gc=False):
    """A name for a value; informational."""

    key: Annotated[str, Meta(min_length=1, max_length=128)]
    value: Value


class FlagOverride(Strict, frozen=True, gc=False):
    """What differs in one environment; what is left out is the flag's own."""

    enabled: bool | UnsetType = UNSET
    default_value: Value | UnsetType = UNSET
    rules: list[Rule] | UnsetType = UNSET
    version: int | UnsetType = UNSET


class Flag(Strict, frozen=True, gc=False):
    """One value per evaluation. `id` is what events name it by; `client_safe` shows it to client keys."""

    type: ValueType
    default_value: Value
    enabled: bool = True
    client_safe: bool = False
    flag_id: Identifier | None = msgspec.field(name="id", default=None)
    version: int = 1
    name: Text = ""
    description: Text = ""
    rules: list[Rule] = []
    variants: list[Variant] = []
    environments: dict[str, FlagOverride] = {}


class Variable(Strict, frozen=True, gc=False):
    """A named, typed value that every variation of the feature gives."""

    type: ValueType
    description: Text = ""


class FeatureOverride(Strict, frozen=True, gc=False):
    """What differs in one environment; what is left out is the feature's own."""

    enabled: bool | UnsetType = UNSET
    default_variation: str | UnsetType = UNSET
    rules: list[Rule] | UnsetType = UNSET


class Feature(Strict, frozen=True, gc=False):
    """Several variables that change together: one decision picks a variation, which gives all their
    values."""

    variables: dict[VariableKey, Variable]
    variations: dict[FlagKey, dict[str, Value]]
    default_variation: str
    enabled: bool = True
    client_safe: bool = False
    feature_id: Identifier | None = msgspec.field(name="id", default=None)
    name: Text = ""
    description: Text = ""
    rules: list[Rule] = []
    environments: dict[str, FeatureOverride] = {}


class ListSegment(Strict, frozen=True, gc=False):
    """An exact set: in `include` and not in `exclude`. Files hold one member per line, plain or gzip."""

    attribute: Annotated[str, Meta(min_length=1, max_length=1024)] = "userId"
    include: list[str] = []
    exclude: list[str] = []
    include_file: str | None = None
    exclude_file: str | None = None


class Segment(Strict, frozen=True, gc=False):
    """An audience, by conditions or by list (exactly one of the two)."""

    name: Text = ""
    description: Text = ""
    conditions: list[Condition] | UnsetType = UNSET
    condition_operator: Literal["AND", "OR"] = "AND"
    members: ListSegment | UnsetType = msgspec.field(name="list", default=UNSET)


class Event(Strict, frozen=True, gc=False):
    """An event that clients may send; `count` has no value."""

    type: Literal["bool", "int", "double", "count", "any"] = "any"
    unit: Text = ""
    description: Text = ""


Share = Annotated[float, Meta(gt=0, le=1e9)]


class Metric(Strict, frozen=True, gc=False):
    """What is measured of a unit: events of one name after its first exposure (docs/results.md: Metrics).
    `window_hours`: how long after it they count; left out, to the experiment's end. `mean`: of the events' values;
    `ratio`: of a sum or count (`numerator`) to that of `denominator_event`. `cap`: the most that a unit's count or
    sum comes to. `direction`: which way is better. Guardrails are to do no harm, and are corrected apart."""

    event: Annotated[str, Meta(min_length=1, max_length=128)]
    type: Literal["conversion", "count", "sum", "mean", "ratio"] = "conversion"
    role: Literal["goal", "guardrail"] = "goal"
    direction: Literal["increase", "decrease"] = "increase"
    window_hours: Annotated[float, Meta(gt=0, le=8784)] | None = None
    cap: Annotated[float, Meta(gt=0, le=1e15)] | None = None
    numerator: Literal["count", "sum"] = "sum"
    denominator: Literal["count", "sum"] = "count"
    denominator_event: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    description: Text = ""


class PlannedRun(Strict, frozen=True, gc=False):
    """The shares that were changed to, and when (ISO 8601)."""

    start: str
    shares: dict[str, Share]


class Experiment(Strict, frozen=True, gc=False):
    """Whether variants of a flag, feature or policy differ from `control` (docs/results.md). `units`: kinds of
    unit that have the same ids in all APIs; left out, every kind. `exposure`: what counts as having met a variant,
    one source alone: an answer of this server (`served`), an SDK's own event (`sent`), what says who has which
    variant (`assigned`). `shares`: the planned ones, by variant, and so which variants take part; `runs`: those
    that they were changed to. `environments`: those of the project that it runs in (all, when left out).
    `pre_period_hours`: how long before its exposure what a unit did makes its metrics more precise (0: not)."""

    flag: Annotated[str, Meta(min_length=1, max_length=256)]
    control: Annotated[str, Meta(min_length=1, max_length=256)]
    exposure: Literal["served", "sent", "assigned"]
    start: str
    metrics: dict[FlagKey, Metric]
    end: str | None = None
    units: list[Annotated[str, Meta(min_length=1, max_length=1024)]] = []
    shares: dict[str, Share] = {}
    runs: list[PlannedRun] = []
    environments: list[str] = []
    pre_period_hours: Annotated[float, Meta(ge=0, le=8784)] = 0
    name: Text = ""
    description: Text = ""


class Key(Strict, frozen=True, gc=False):
    """An API key. `key` is `sha256:` and 64 hex digits (of the raw key's UTF-8), or `env:NAME` to read the
    raw key from a variable at publish, or the raw key itself, which is warned about and never stored.
    `dialects` are the APIs that it opens (all, when left out); `scopes` limit it to some of their endpoints:
    {scopes}."""

    key: Secret
    kind: KeyKind = "server"
    name: Text = ""
    prefix: Annotated[str, Meta(max_length=PREFIX_CHARACTERS_MAX)] = ""
    dialects: list[DialectName] = []
    scopes: list[ScopeName] = []
    expires: str | None = None


class SourceReference(Strict, frozen=True, gc=False):
    """Definitions in another system's own format. `path` is relative to this file; `files` names further
    files by their role in that format."""

    format: str
    path: str
    files: dict[str, str] = {}


class Exposures(Strict, frozen=True, gc=False):
    """Which evaluations are recorded as exposures (docs/exposures.md). `record`: of flags that an experiment of the
    environment is about, of every flag with a split, or none; `flags` says otherwise of some. `attributes`: those
    of the context that travel along. `assigned`: answers that return everything too. `anonymous`: also of units
    that are only known by an anonymous id. `keyed`: digests of units are keyed by the environment's own key."""

    record: Literal["off", "experiments", "splits"] = "experiments"
    flags: dict[Annotated[str, Meta(min_length=1, max_length=1024)], Literal["off", "splits"]] = {}
    attributes: dict[
        Annotated[str, Meta(min_length=1, max_length=128)], Literal["text", "number", "boolean"]
    ] = {}
    assigned: bool = False
    anonymous: bool = False
    keyed: bool = False


class Rows(Strict, frozen=True, gc=False):
    """How long rows of the environment's events are kept (docs/rows.md): days after receipt, 0: for ever. Left out:
    as long as the pipeline keeps all."""

    keep_days: Annotated[int, Meta(ge=0, le=100_000)] | None = None


class Environment(Strict, frozen=True, gc=False):
    """`id` names the environment everywhere; without it, organisation/project/environment. `identifiers`
    holds the ids that a dialect uses instead; `dialects` those that are served (all, when left out).
    `source_order` names formats of `sources`: the first of them counts where several have a key."""

    id: Identifier | None = None
    name: Text = ""
    dialects: list[DialectName] | None = None
    identifiers: dict[str, dict[Literal["organisation", "project", "environment"], Identifier]] = {}
    keys: list[Key] = []
    sources: list[SourceReference] = []
    source_order: list[str] = []
    exposures: Exposures = Exposures()
    rows: Rows = Rows()


class Limits(Strict, frozen=True, gc=False):
    """Per organisation; what is left out is the plan's or the server's own. `burst`: requests at once; left out by
    both, what a second of `rate_per_s` allows."""

    rate_per_s: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    burst: Annotated[int, Meta(ge=1, le=10**9)] | None = None
    monthly_active_users: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    batch_keys: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    batch_events: Annotated[int, Meta(ge=1, le=10_000)] | None = None


class Project(Strict, frozen=True, gc=False):
    """Flags, features, segments, events and experiments belong to the project and are the same in every
    environment, unless a flag or feature says otherwise for one."""

    name: Text = ""
    environments: dict[Identifier, Environment] = {}
    flags: dict[FlagKey, Flag] = {}
    features: dict[FlagKey, Feature] = {}
    segments: dict[FlagKey, Segment] = {}
    events: dict[Annotated[str, Meta(min_length=1, max_length=128)], Event] = {}
    experiments: dict[FlagKey, Experiment] = {}


class Organisation(Strict, frozen=True, gc=False):
    """`plan` and `subscription_active` decide what governance allows; a suspended one is refused
    everything."""

    name: Text = ""
    plan: Literal["free", "basic", "pro", "business", "enterprise"] = "free"
    subscription_active: bool = True
    suspended: bool = False
    limits: Limits = Limits()
    projects: dict[Identifier, Project] = {}


class File(Strict, frozen=True, gc=False, kw_only=True):
    """One definition file. Several files make one publication: the same organisation and project may stand in
    any number of them, each item in only one."""

    fanion: Literal[1] = 1
    organisations: dict[Identifier, Organisation]
    schema: str | None = msgspec.field(name="$schema", default=None)
