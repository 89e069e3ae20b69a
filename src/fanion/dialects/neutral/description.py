"""What the neutral API's OpenAPI document says beside routes and request bodies (docs/apis/neutral.md)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from fanion.config import Limits
from fanion.dialects.neutral.envelope import CODES
from fanion.dialects.neutral.results import ATTRIBUTE_CHARACTERS_MAX
from fanion.dialects.neutral.schema import EVENTS_MAX, Batch
from fanion.dialects.neutral.usage import DAYS_MAX
from fanion.dialects.wire.described import Described, Description, Object, Parameter, Told
from fanion.model.json_value import JsonObject

Place = Annotated[int, Meta(ge=0, lt=EVENTS_MAX)]
Truth = Literal["true", "false"]
Attribute = Annotated[str, Meta(min_length=1, max_length=ATTRIBUTE_CHARACTERS_MAX)]
Period = Literal["day", "hour"]
Days = Annotated[int, Meta(ge=1, le=DAYS_MAX)]
NULL: Final[JsonObject] = {"type": "null"}


class Rejected(msgspec.Struct, forbid_unknown_fields=True):
    index: Place
    reason: str


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """An event that is in none of the three was rejected too, and the list of those was full."""

    accepted: Annotated[int, Meta(ge=0, le=EVENTS_MAX)]
    duplicates: list[Place]
    rejected: list[Rejected]


class Results(msgspec.Struct, forbid_unknown_fields=True):
    """results.md says what their members mean."""

    results: list[Object]


class Usage(msgspec.Struct, forbid_unknown_fields=True):
    """results.md says what is counted."""

    usage: list[Object]


class ErrorText(msgspec.Struct, forbid_unknown_fields=True):
    code: Literal[tuple(sorted(set(CODES.values())))]  # type: ignore[valid-type]
    message: str


class Error(msgspec.Struct, forbid_unknown_fields=True):
    error: ErrorText


def endpoints(limits: Limits) -> dict[str, Described]:
    unit: JsonObject = {"kind": "userId", "id": "user_123"}
    return {
        "events": Described(
            "Take a batch of events",
            {200: Told("every event that is kept is as safe as the acknowledgement mode promises", Answer)},
            Batch,
            example={
                "events": [
                    {"type": "metric", "id": "order-1", "unit": unit, "metric": "purchase", "value": 9.5}
                ]
            },
        ),
        "results": Described(
            "What an experiment came to",
            {200: Told("one result, or one for each value of the attribute", Results)},
            parameters=(
                Parameter("key", "path", "the experiment's key", example="checkout-copy"),
                Parameter("complete", "query", "without units whose window is still open", Truth),
                Parameter("daily", "query", "also as it was at the end of each day", Truth),
                Parameter(
                    "by", "query", "an attribute of the exposure, by which units are divided", Attribute
                ),
            ),
        ),
        "usage": Described(
            "How often a flag was asked for",
            {200: Told("counts, the oldest first", Usage)},
            parameters=(
                Parameter("key", "path", "the flag's key", example="checkout-copy"),
                Parameter("by", "query", "the period", Period),
                Parameter("days", "query", "how many days to that of the newest event", Days),
            ),
        ),
    }


DESCRIPTION: Final = Description(
    title="Fanion: neutral events",
    text="Exposures and metrics for the experiments of a Fanion server. neutral.md says the rules in words.",
    credentials={"key": {"type": "http", "scheme": "bearer"}},
    refusal=Error,
    endpoints=endpoints,
    more={
        "Unit": {
            "oneOf": [
                {"required": ["id"], "properties": {"id": {"type": "string"}, "sha256": NULL}},
                {"required": ["sha256"], "properties": {"sha256": {"type": "string"}, "id": NULL}},
            ]
        },
        "Exposure": {"properties": {"time": {"format": "date-time"}}},
        "Metric": {"properties": {"time": {"format": "date-time"}}},
    },
)
