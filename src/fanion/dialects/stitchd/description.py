"""What stitchd's OpenAPI document says beside routes and request bodies (docs/apis/stitchd.md)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from fanion.config import Limits
from fanion.dialects.stitchd.envelope import CODES
from fanion.dialects.stitchd.schema import Evaluation, Pair
from fanion.dialects.wire.bodies import Int64
from fanion.dialects.wire.described import Described, Description, Parameter, Told, Value
from fanion.dialects.wire.fault import FaultKind
from fanion.model.json_value import JsonObject

Pairs = list[Pair] | Annotated[dict[str, list[Pair]], Meta(min_length=1, max_length=1)]
UUID: Final = (
    r"^([0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})\Z"
)
ENVIRONMENT: Final = Parameter(
    "environment",
    "path",
    "the environment's UUID; where it was given another id, that",
    Annotated[str, Meta(pattern=UUID)],
    example="5b1f6a52-0000-4000-8000-000000000001",
)
CONTEXT: Final[JsonObject] = {"context_type": "user", "context_key": "user-123"}


class MetricEvent(msgspec.Struct):
    """A value that the event's definition doesn't take rejects the event, not the request."""

    metric_key: str
    context_type: str
    context_key: str
    value: Value = None
    timestamp_ms: Int64 | None = None


class MetricEvents(msgspec.Struct):
    events: list[MetricEvent]


class Evaluated(msgspec.Struct, forbid_unknown_fields=True):
    flag_key: str
    variant_key: str
    is_enabled: bool


class Counted(msgspec.Struct, forbid_unknown_fields=True):
    accepted_count: Annotated[int, Meta(ge=0)]
    rejected_keys: list[str]


class Membership(msgspec.Struct, forbid_unknown_fields=True):
    is_member: bool


class Error(msgspec.Struct, forbid_unknown_fields=True):
    error: str
    code: Literal[tuple(sorted({code for _, code in CODES.values()}))]  # type: ignore[valid-type]


def endpoints(limits: Limits) -> dict[str, Described]:
    def described(summary: str, status: int, told: Told, body: object, example: JsonObject) -> Described:
        never = (FaultKind.RATE_LIMITED,)
        return Described(
            summary, {status: told}, body, parameters=(ENVIRONMENT,), never=never, example=example
        )

    kept = Told("how many are kept, and the keys of the others", Counted)
    members = Told("one item for each pair, in their order", list[Membership])
    flag: JsonObject = {"flag_key": "my-flag", **CONTEXT, "attributes": {"plan": "pro"}}
    event: JsonObject = {"metric_key": "page_view", **CONTEXT}
    pair: JsonObject = {"segment_key": "beta-users", **CONTEXT}
    return {
        "evaluate": described(
            "Evaluate one flag", 200, Told("the flag's variant", Evaluated), Evaluation, flag
        ),
        "event": described("Take one event", 202, kept, MetricEvent, event),
        "events": described("Take a batch of events", 202, kept, MetricEvents, {"events": [event]}),
        "segment": described("Ask for one membership", 200, Told("the membership", Membership), Pair, pair),
        "segments_batch": described("Ask for many memberships", 200, members, Pairs, {"pairs": [pair]}),
    }


DESCRIPTION: Final = Description(
    title="stitchd, as Fanion speaks it",
    text="Evaluation, events and membership. stitchd.md says the rules in words.",
    credentials={"key": {"type": "apiKey", "in": "header", "name": "x-sdk-key"}},
    refusal=Error,
    endpoints=endpoints,
)
