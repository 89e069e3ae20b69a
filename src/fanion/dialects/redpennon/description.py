"""What Red Pennon's OpenAPI document says beside routes (docs/apis/redpennon.md).

Requests are read by hand, so their types stand here: what is documented of them, with members that are ignored left
open.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fanion.config import Limits
from fanion.dialects.redpennon.schema import EVENT_ID_CHARACTERS_MAX
from fanion.dialects.wire.described import Described, Description, Parameter, Told, Value

Count = Annotated[int, Meta(ge=0)]
Reason = Literal[
    "targeting_rule_matched",
    "no_rule_matched",
    "default_variation",
    "feature_complete",
    "self_targeting_override",
    "targeting_disabled",
    "feature_archived",
    "feature_deleted",
    "variable_not_found",
]


class User(msgspec.Struct):
    """Who is asked for; {} is anonymous. A number as `id` or `email` is its text. The email is looked at where
    there is no id."""

    id: str | float | None = None
    email: Value = None
    organisation_id: Value = None
    ip: Value = None
    app_version: Value = None
    platform: Value = None
    country: Value = None
    audiences: Value = None
    custom_data: Value = None


class One(msgspec.Struct):
    user: User | None = None


class Many(msgspec.Struct):
    keys: list[str]
    user: User | None = None


class Event(msgspec.Struct):
    """An unknown variable or variation, like every other defect, refuses the whole batch."""

    event: str
    variable: str
    variation: str
    user: User | None = None
    value: float | None = None
    occurred_at: str | None = None
    evaluation_trace: Value = None
    event_id: Annotated[str, Meta(max_length=EVENT_ID_CHARACTERS_MAX)] | None = None


class Events(msgspec.Struct):
    events: list[Event]


class Evaluated(msgspec.Struct, forbid_unknown_fields=True):
    """`value` is null where nothing is served; `key` is in lower case."""

    key: str
    value: Value
    variation: str | None
    reason: Reason
    feature: str | None
    evaluation_trace: str | None


class ManyEvaluated(msgspec.Struct, forbid_unknown_fields=True):
    results: dict[str, Evaluated]


class Accepted(msgspec.Struct, forbid_unknown_fields=True):
    accepted: Count
    duplicates: Count | UnsetType = UNSET


class Error(msgspec.Struct, forbid_unknown_fields=True):
    """What governance refuses has a code."""

    error: str
    code: str | UnsetType = UNSET


def endpoints(limits: Limits) -> dict[str, Described]:
    return {
        "variable": Described(
            "Evaluate one variable",
            {200: Told("what is served, also where that is nothing", Evaluated)},
            One,
            parameters=(
                Parameter("key", "path", "the variable's key, in any case", example="checkout-flow"),
            ),
            example={"user": {"id": "user-123"}},
        ),
        "variables": Described(
            "Evaluate many variables for one user",
            {200: Told("results by the keys as they were sent", ManyEvaluated)},
            Many,
            example={"keys": ["checkout-flow"], "user": {"id": "user-123"}},
        ),
        "events": Described(
            "Take a batch of events, all or nothing",
            {202: Told("how many were kept, and how many had been before", Accepted)},
            Events,
        ),
    }


DESCRIPTION: Final = Description(
    title="Red Pennon, as Fanion speaks it",
    text="Evaluation and events. redpennon.md says the rules in words.",
    credentials={"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}},
    refusal=Error,
    endpoints=endpoints,
    more={
        "User": {
            "anyOf": [
                {"required": ["id"], "properties": {"id": {"type": ["string", "number"], "minLength": 1}}},
                {"properties": {"email": {"type": ["string", "number", "null"]}}},
            ]
        },
        "Event": {
            "properties": {
                **{name: {"pattern": "\\S"} for name in ("event", "variable", "variation")},
                "occurred_at": {"format": "date-time"},
            }
        },
    },
)
