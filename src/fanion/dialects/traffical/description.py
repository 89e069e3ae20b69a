"""What Traffical's OpenAPI document says beside routes and request bodies (docs/apis/traffical.md).

Contexts, events and items of a batch are cut out and read one by one, so the types of whole bodies stand here.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fanion.config import Limits
from fanion.dialects.traffical.decide_schema import BATCH_MAX, BatchItem, Decide
from fanion.dialects.traffical.envelope import EVENTS_MAX
from fanion.dialects.traffical.event_structs import Decision, Exposure, Track
from fanion.dialects.traffical.schema import Place, Resolve
from fanion.dialects.wire.described import Described, Description, Object, Parameter, Told, Values
from fanion.dialects.wire.fault import FaultKind
from fanion.model.json_value import JsonObject

Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(gt=0, le=1)]
TIME: Final[JsonObject] = {"format": "date-time"}


class Items(Place, kw_only=True):
    requests: Annotated[list[BatchItem], Meta(max_length=BATCH_MAX)]


class Events(msgspec.Struct):
    """An event that is wrong is reported, and refuses no other."""

    events: Annotated[list[Exposure | Decision | Track], Meta(min_length=1, max_length=EVENTS_MAX)]


class LayerRow(msgspec.Struct, forbid_unknown_fields=True):
    layerId: str  # noqa: N815  # the API's own words, here and below
    bucket: int
    policyId: str | UnsetType = UNSET  # noqa: N815
    policyKey: str | UnsetType = UNSET  # noqa: N815
    allocationId: str | UnsetType = UNSET  # noqa: N815
    allocationName: str | UnsetType = UNSET  # noqa: N815
    allocationKey: str | UnsetType = UNSET  # noqa: N815
    probability: Share | UnsetType = UNSET
    modelVersion: str | UnsetType = UNSET  # noqa: N815
    unitKey: str | UnsetType = UNSET  # noqa: N815
    unitKeyValue: str | UnsetType = UNSET  # noqa: N815
    attributionOnly: bool | UnsetType = UNSET  # noqa: N815


class ShortRow(msgspec.Struct, forbid_unknown_fields=True):
    layerId: str  # noqa: N815
    policyId: str  # noqa: N815
    bucket: int
    allocationName: str | UnsetType = UNSET  # noqa: N815


class Metadata(msgspec.Struct, forbid_unknown_fields=True):
    timestamp: str
    unitKeyValue: str  # noqa: N815
    layers: list[LayerRow]
    filteredContext: Object | UnsetType = UNSET  # noqa: N815


class Resolved(msgspec.Struct, forbid_unknown_fields=True):
    decisionId: str  # noqa: N815
    assignments: Object
    metadata: Metadata
    decisions: list[ShortRow]
    stateVersion: str  # noqa: N815
    bundleVersion: str  # noqa: N815
    suggestedRefreshMs: float | UnsetType = UNSET  # noqa: N815


class Decided(msgspec.Struct, forbid_unknown_fields=True):
    policyId: str  # noqa: N815
    entityId: str  # noqa: N815
    allocationIndex: Count  # noqa: N815
    allocationName: str  # noqa: N815
    weights: list[float]
    coldStart: bool  # noqa: N815
    stateVersion: str  # noqa: N815


class AllDecided(msgspec.Struct, forbid_unknown_fields=True):
    """The same list twice; null for an item that can't be answered."""

    responses: list[Decided | None]
    results: list[Decided | None]


class Config(msgspec.Struct):
    """The published document as it is."""

    version: str
    orgId: str  # noqa: N815
    projectId: str  # noqa: N815
    env: str
    hashing: Object
    parameters: Values
    layers: Values


class Invalid(msgspec.Struct, forbid_unknown_fields=True):
    index: Count
    error: str


class Odd(msgspec.Struct, forbid_unknown_fields=True):
    index: Count
    event: str
    violations: list[Object]


class Taken(msgspec.Struct, forbid_unknown_fields=True):
    accepted: Count
    written: Count
    validationErrors: list[Invalid] | UnsetType = UNSET  # noqa: N815
    schemaWarnings: list[Odd] | UnsetType = UNSET  # noqa: N815


class Error(msgspec.Struct, forbid_unknown_fields=True):
    error: str
    message: str


def endpoints(limits: Limits) -> dict[str, Described]:
    from_config: tuple[str, ...] = ("etag", "x-suggested-refresh-ms")
    missing = (FaultKind.NOT_FOUND,)
    return {
        "resolve": Described(
            "Resolve parameters for a context",
            {200: Told("each parameter's value, and what every layer decided", Resolved)},
            Resolve,
            body_needed=False,
            faults=missing,
            example={"context": {"userId": "user_789"}},
        ),
        "events": Described(
            "Take a batch of events", {200: Told("how many were taken", Taken)}, Events, faults=missing
        ),
        "decide": Described(
            "Decide for an entity by an edge policy",
            {200: Told("the allocation", Decided)},
            Decide,
            parameters=(Parameter("policy", "path", "the policy's id"),),
        ),
        "decide_batch": Described(
            "Decide many",
            {200: Told("as many answers as requests, in their order", AllDecided)},
            Items,
            faults=missing,
        ),
        "config": Described(
            "The published bundle",
            {200: Told("the bundle", Config, from_config), 304: Told("the client has it", None, from_config)},
            parameters=(
                Parameter("project", "path", "the project's id", example="proj_marketplace"),
                Parameter("env", "query", "the environment's id; the key's own where it is left out"),
                Parameter("if-none-match", "header", "the tag of the bundle that the client has"),
            ),
        ),
    }


DESCRIPTION: Final = Description(
    title="Traffical, as Fanion speaks it",
    text="Bundles, resolution, edge policies and events. traffical.md says the rules in words.",
    credentials={"key": {"type": "http", "scheme": "bearer"}},
    refusal=Error,
    endpoints=endpoints,
    more={
        "Exposure": {"properties": {"timestamp": TIME}},
        "Decision": {"properties": {"timestamp": TIME}},
        "Track": {"properties": {"timestamp": TIME, "eventTimestamp": TIME}},
    },
)
