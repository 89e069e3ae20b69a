"""A Traffical config bundle and entity weights as structs (docs/apis/traffical.md: Bundle, Entity weights),
and what makes one unusable.

What any of its clients refuses is refused here, since that client would refuse the whole bundle as served.
Unknown members are legal everywhere. Every small object is read by itself, so that one round shows all
defects.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fanion.definitions.reading import limits
from fanion.definitions.reading.report import Report, join, reason, shown

NAME: Final = "traffical"
BUCKET_COUNT_MAX: Final = 2**31 - 1
LAYERS_MAX: Final = 10_000
POLICIES_MAX: Final = 1_000
"""Of one layer: they are tried in order, so this bounds the time of one decision."""
ALLOCATIONS_MAX: Final = 10_000
GLOBAL: Final = "_global"

Text = Annotated[str, Meta(max_length=1024)]
Name = Annotated[str, Meta(min_length=1, max_length=1024)]
Bound = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Edge = Annotated[int, Meta(ge=1 - 2**53, le=2**53 - 1)]
T = TypeVar("T")


class Hashing(msgspec.Struct, frozen=True, rename="camel"):
    unit_key: Annotated[Name, Meta(pattern=r"\S")]
    bucket_count: Annotated[int, Meta(ge=1, le=BUCKET_COUNT_MAX)]


class Parameter(msgspec.Struct, frozen=True, rename="camel"):
    key: Name
    type: str
    default: Any
    layer_id: str


class Condition(msgspec.Struct, frozen=True):
    field: Name
    op: str
    value: Any = UNSET
    values: Any = UNSET


class Allocation(msgspec.Struct, frozen=True, rename="camel"):
    name: Name
    bucket_range: tuple[Bound, Bound]
    overrides: dict[str, Any] = {}
    id: Text | None = None
    key: Text | None = None

    @property
    def identity(self) -> str:
        """What allocation-keyed maps index by."""
        return self.key or self.name


class BucketRange(msgspec.Struct, frozen=True):
    start: Edge
    end: Edge


class NumericCoefficient(msgspec.Struct, frozen=True):
    key: str
    coef: float
    missing: float


class CategoricalCoefficient(msgspec.Struct, frozen=True):
    key: str
    values: dict[str, float]
    missing: float


class Coefficients(msgspec.Struct, frozen=True):
    intercept: float
    numeric: list[NumericCoefficient]
    categorical: list[CategoricalCoefficient]


class ContextualModel(msgspec.Struct, frozen=True, rename="camel"):
    gamma: float
    action_probability_floor: float
    default_allocation_score: float
    coefficients: dict[str, Coefficients]
    generated_at: Text | None = None
    model_version: Text | None = None


class DynamicAllocations(msgspec.Struct, frozen=True, rename="camel"):
    count_key: str


class EntityConfig(msgspec.Struct, frozen=True, rename="camel"):
    entity_keys: list[str]
    resolution_mode: str
    dynamic_allocations: DynamicAllocations | None = None


class ContextLogging(msgspec.Struct, frozen=True, rename="camel"):
    allowed_fields: list[str]


class PolicyHead(msgspec.Struct, frozen=True, rename="camel"):
    """A policy without its lists, which are read item by item."""

    id: Name
    state: str
    kind: str
    allocations: list[Any]
    conditions: list[Any]
    key: Text | None = None
    eligible_bucket_range: BucketRange | None = None
    context_logging: ContextLogging | None = None
    contextual_model: ContextualModel | None = None
    entity_config: EntityConfig | None = None


class Policy(msgspec.Struct, frozen=True):
    head: PolicyHead
    allocations: list[Allocation]
    conditions: list[Condition]
    path: str

    @property
    def running(self) -> bool:
        return self.head.state == "running"

    @property
    def mode(self) -> str:
        """`bundle` or `edge` for per-entity policies, "" for all others."""
        config = self.head.entity_config
        return config.resolution_mode if config and config.resolution_mode in ("bundle", "edge") else ""


class LayerHead(msgspec.Struct, frozen=True, rename="camel"):
    id: Text
    policies: list[Any]
    unit_key: str | UnsetType = UNSET


class Layer(msgspec.Struct, frozen=True):
    """`unit_key` None: the project's own; blank: the layer is skipped."""

    id: str
    unit_key: str | None
    policies: list[Policy]
    path: str


class EntityWeights(msgspec.Struct, frozen=True, rename="camel"):
    weights: list[float]
    computed_at: Text = ""


class PolicyState(msgspec.Struct, frozen=True):
    """Per-entity weights of one policy."""

    fallback: EntityWeights | None
    entities: dict[str, EntityWeights]


class BundleHead(msgspec.Struct, frozen=True, rename="camel"):
    version: Name
    org_id: Name
    project_id: Name
    env: Name
    hashing: Hashing
    parameters: list[Any]
    layers: list[Any]
    entity_state: dict[str, Any] | None = None
    event_definitions: list[Any] | None = None
    suggested_refresh_ms: Any = None


class Bundle(msgspec.Struct, frozen=True):
    head: BundleHead
    parameters: list[Parameter]
    layers: list[Layer]
    states: dict[str, PolicyState]


class Reader:
    """Reads one file; what can't be read is reported and left out."""

    def __init__(self, file: str, report: Report) -> None:
        self.file = file
        self.report = report

    def bundle(self, document: Any) -> Bundle | None:
        """The bundle, or None when something of it can't be used."""
        before = len(self.report.problems)
        head = self.one(document, BundleHead, "")
        if head is None:
            return None
        self.bound(head.parameters, limits.FLAGS_MAX, "parameters")
        self.bound(head.layers, LAYERS_MAX, "layers")
        parameters = self.items(head.parameters, Parameter, "parameters")
        layers = [self.layer(item, f"layers[{n}]") for n, item in enumerate(head.layers)]
        states = self.states(head.entity_state or {}, "entityState")
        if len(self.report.problems) > before:
            return None
        return Bundle(head, parameters, [layer for layer in layers if layer is not None], states)

    def states(self, document: Any, path: str) -> dict[str, PolicyState]:
        """policyId -> {_global, entities}, as in a bundle's `entityState` and in a weights file."""
        if not isinstance(document, dict):
            self.report.problem(
                self.file, path or "document", shown(document), "an object, policy id to weights"
            )
            return {}
        found = {}
        for policy, state in document.items():
            place = join(path, policy)
            if not isinstance(state, dict):
                self.report.problem(self.file, place, shown(state), "an object with `_global` and `entities`")
                continue
            fallback = state.get(GLOBAL)
            entities = state.get("entities")
            if not isinstance(entities, dict | None):
                self.report.problem(
                    self.file, f"{place}.entities", shown(entities), "an object, id to weights"
                )
                continue
            read = {
                id: self.weights(weights, join(f"{place}.entities", id))
                for id, weights in (entities or {}).items()
            }
            found[policy] = PolicyState(
                None if fallback is None else self.weights(fallback, f"{place}.{GLOBAL}"),
                {id: weights for id, weights in read.items() if weights is not None},
            )
        return found

    def weights(self, document: Any, path: str) -> EntityWeights | None:
        found = self.one(document, EntityWeights, path)
        if found is None:
            return None
        self.bound(found.weights, ALLOCATIONS_MAX, f"{path}.weights")
        if not all(map(math.isfinite, found.weights)):
            self.report.problem(self.file, f"{path}.weights", "a number that is not finite", "finite numbers")
            return None
        return found

    def layer(self, document: Any, path: str) -> Layer | None:
        head = self.one(document, LayerHead, path)
        if head is None:
            return None
        self.bound(head.policies, POLICIES_MAX, f"{path}.policies")
        policies = [self.policy(item, f"{path}.policies[{n}]") for n, item in enumerate(head.policies)]
        unit = None if head.unit_key is UNSET else str(head.unit_key)
        return Layer(head.id, unit, [policy for policy in policies if policy is not None], path)

    def policy(self, document: Any, path: str) -> Policy | None:
        head = self.one(document, PolicyHead, path)
        if head is None:
            return None
        self.bound(head.allocations, ALLOCATIONS_MAX, f"{path}.allocations")
        self.bound(head.conditions, limits.CONDITIONS_MAX, f"{path}.conditions")
        allocations = self.items(head.allocations, Allocation, f"{path}.allocations")
        for number, allocation in enumerate(allocations):
            low, high = allocation.bucket_range
            if low > high:
                place = f"{path}.allocations[{number}].bucketRange"
                self.report.problem(self.file, place, f"[{low}, {high}]", "a start that is not above the end")
        conditions = self.items(head.conditions, Condition, f"{path}.conditions")
        return Policy(head, allocations, conditions, path)

    def items(self, documents: list[Any], kind: type[T], path: str) -> list[T]:
        found = [self.one(item, kind, f"{path}[{n}]") for n, item in enumerate(documents)]
        return [item for item in found if item is not None]

    def one(self, document: Any, kind: type[T], path: str) -> T | None:
        """A struct from plain objects; None after a problem with its place."""
        try:
            return msgspec.convert(document, kind)
        except (msgspec.ValidationError, RecursionError) as error:
            why, _, place = reason(error).partition(" - at `$")
            place = path + place.rstrip("`") if path else place.rstrip("`").lstrip(".")
            missing = why.startswith("Object missing required field")
            found = "a field is missing" if missing else "a value that can't be used"
            self.report.problem(self.file, place or "document", found, why[:1].lower() + why[1:])
            return None

    def bound(self, items: list[Any], most: int, path: str) -> None:
        if len(items) > most:
            self.report.problem(self.file, path, f"{len(items)} items", f"at most {most}")
