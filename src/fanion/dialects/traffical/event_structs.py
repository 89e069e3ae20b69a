"""Traffical's events (docs/apis/traffical.md: Event fields): as they may be, and as SDKs send them.

The plain structs refuse whatever could break a bound unseen: members that aren't known, values that nest. A batch
that they take needs no second look; every other is read event by event with the open ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from fanion.model.json_value import Json

FLAT_MAX: Final = 1_000
"""Members of a flat object; under tighter limits there is no quick way."""
PLAIN_DEPTH: Final = 5
"""How deep a plain batch nests at most: batch, events, event, layers, layer."""
if TYPE_CHECKING:
    Object = Mapping[str, Json]
else:
    Object = dict[str, Any]  # the decoder can't read an alias that names itself
Flat = Annotated[dict[str, str | int | float | bool | None], Meta(max_length=FLAT_MAX)]


class SentLayer(msgspec.Struct, gc=False):
    layerId: str  # noqa: N815
    bucket: int
    policyId: str | None = None  # noqa: N815
    policyKey: str | None = None  # noqa: N815
    allocationId: str | None = None  # noqa: N815
    allocationName: str | None = None  # noqa: N815
    allocationKey: str | None = None  # noqa: N815
    probability: Annotated[float, Meta(gt=0, le=1)] | None = None


class Attribution(msgspec.Struct, gc=False):
    layerId: str  # noqa: N815
    policyId: str  # noqa: N815
    allocationName: str  # noqa: N815
    weight: Annotated[float, Meta(ge=0, le=1)] | None = None
    model: Literal["first_touch", "last_touch", "linear", "time_decay", "position_based"] | None = None


class SentEvent(msgspec.Struct, gc=False, kw_only=True):
    """The scope members default to the key's; `unitKey` may be empty."""

    unitKey: str  # noqa: N815
    timestamp: str
    id: str | None = None
    orgId: str | None = None  # noqa: N815
    projectId: str | None = None  # noqa: N815
    env: str | None = None
    context: Object | None = None


class Exposure(SentEvent, gc=False, kw_only=True, tag_field="type", tag="exposure"):
    """`assignments` is optional: the documents' own example has none."""

    layers: list[SentLayer]
    assignments: Object | None = None
    decisionId: str | None = None  # noqa: N815


class Decision(SentEvent, gc=False, kw_only=True, tag_field="type", tag="decision"):
    layers: list[SentLayer]
    assignments: Object | None = None
    requestedParameters: list[str] | None = None  # noqa: N815
    latencyMs: int | None = None  # noqa: N815


class Track(SentEvent, gc=False, kw_only=True, tag_field="type", tag="track"):
    event: str
    properties: Object | None = None
    value: float | None = None
    values: dict[str, float] | None = None
    decisionId: str | None = None  # noqa: N815
    eventTimestamp: str | None = None  # noqa: N815
    attribution: list[Attribution] | None = None


class PlainLayer(SentLayer, gc=False, forbid_unknown_fields=True):
    unitKey: str | None = None  # noqa: N815
    unitKeyValue: str | None = None  # noqa: N815
    modelVersion: str | None = None  # noqa: N815
    attributionOnly: bool | None = None  # noqa: N815


class PlainAttribution(Attribution, gc=False, forbid_unknown_fields=True):
    policyKey: str | None = None  # noqa: N815
    allocationKey: str | None = None  # noqa: N815


class PlainEvent(SentEvent, gc=False, kw_only=True):
    context: Flat | None = None
    sdkName: str | None = None  # noqa: N815
    sdkVersion: str | None = None  # noqa: N815
    configVersion: str | None = None  # noqa: N815
    userId: str | None = None  # noqa: N815
    anonymousId: str | None = None  # noqa: N815
    sessionId: str | None = None  # noqa: N815
    requestId: str | None = None  # noqa: N815


class PlainExposure(
    PlainEvent, gc=False, kw_only=True, tag_field="type", tag="exposure", forbid_unknown_fields=True
):
    layers: list[PlainLayer]
    assignments: Flat | None = None
    decisionId: str | None = None  # noqa: N815


class PlainDecision(
    PlainEvent, gc=False, kw_only=True, tag_field="type", tag="decision", forbid_unknown_fields=True
):
    layers: list[PlainLayer]
    assignments: Flat | None = None
    requestedParameters: list[str] | None = None  # noqa: N815
    latencyMs: int | None = None  # noqa: N815


class PlainTrack(
    PlainEvent, gc=False, kw_only=True, tag_field="type", tag="track", forbid_unknown_fields=True
):
    event: str
    properties: Flat | None = None
    value: float | None = None
    values: Annotated[dict[str, float], Meta(max_length=FLAT_MAX)] | None = None
    decisionId: str | None = None  # noqa: N815
    eventTimestamp: str | None = None  # noqa: N815
    attribution: list[PlainAttribution] | None = None
