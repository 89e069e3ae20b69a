"""What OFREP's OpenAPI document says beside routes and request bodies (docs/apis/ofrep.md)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from fanion.config import Limits
from fanion.dialects.ofrep.envelope import (
    FLAG_NOT_FOUND,
    GENERAL,
    INVALID_CONTEXT,
    PARSE_ERROR,
    TARGETING_KEY_MISSING,
)
from fanion.dialects.ofrep.schema import Request
from fanion.dialects.wire.described import Described, Description, Object, Parameter, Told, Values
from fanion.model.json_value import JsonObject

Code = Literal[FLAG_NOT_FOUND, GENERAL, INVALID_CONTEXT, PARSE_ERROR, TARGETING_KEY_MISSING]  # type: ignore[valid-type]
Reason = Literal["STATIC", "TARGETING_MATCH", "SPLIT", "DEFAULT", "DISABLED", "UNKNOWN"]


class Evaluated(msgspec.Struct, forbid_unknown_fields=True):
    """Value and variant are both there or both left out; then the caller's own default counts."""

    key: str
    reason: Reason
    metadata: dict[str, str | float | bool]
    value: bool | str | float | Object | Values | UnsetType = UNSET
    variant: str | UnsetType = UNSET


class Failure(msgspec.Struct, forbid_unknown_fields=True):
    """`key` is left out where the whole request failed."""

    errorCode: Code  # noqa: N815  # the protocol's own words, here and below
    errorDetails: str  # noqa: N815
    key: str | UnsetType = UNSET


class Endpoint(msgspec.Struct, forbid_unknown_fields=True):
    requestUri: str  # noqa: N815
    origin: str | UnsetType = UNSET


class EventStream(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["sse"]
    endpoint: Endpoint


class AllEvaluated(msgspec.Struct, forbid_unknown_fields=True):
    flags: list[Object]
    eventStreams: list[EventStream] | UnsetType = UNSET  # noqa: N815


class ManifestFlag(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    type: Literal["boolean", "string", "integer", "float", "object"]
    defaultValue: bool | str | float | Object | Values  # noqa: N815
    description: str | UnsetType = UNSET


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    flags: list[ManifestFlag]


def endpoints(limits: Limits) -> dict[str, Described]:
    person: JsonObject = {"context": {"targetingKey": "user_123", "country": "DE"}}
    return {
        "flag": Described(
            "Evaluate one flag",
            {
                200: Told("the flag's value", Evaluated),
                400: Told("the flag can't be answered for this context", Failure),
                404: Told("there is no such flag, or the key may not see it", Failure),
            },
            Request,
            body_needed=False,
            parameters=(Parameter("key", "path", "the flag's key, or SOURCE:KEY", example="checkout-copy"),),
            example=person,
        ),
        "flags": Described(
            "Evaluate all flags for one context",
            {
                200: Told("each flag, evaluated or failed", AllEvaluated, ("etag",)),
                304: Told("the client has this answer", None, ("etag",)),
            },
            Request,
            body_needed=False,
            parameters=(
                Parameter("if-none-match", "header", "the tag of the answer that the client has"),
                Parameter(
                    "flagConfigEtag", "query", "a hint of providers that follow a stream; not looked at"
                ),
                Parameter("flagConfigLastModified", "query", "likewise"),
            ),
            example=person,
        ),
        "manifest": Described("The flags that there are", {200: Told("those that have a value", Manifest)}),
        "stream": Described(
            "Be told of changes",
            {200: Told("server-sent events, for as long as the client stays", str, (), "text/event-stream")},
            parameters=(
                Parameter(
                    "channel", "query", "of the address that an answer of all flags names", required=True
                ),
                Parameter("last-event-id", "header", "the state that the client has"),
            ),
        ),
    }


DESCRIPTION: Final = Description(
    title="OFREP, as Fanion speaks it",
    text="OpenFeature's remote evaluation protocol. ofrep.md says the rules in words.",
    credentials={
        "key": {"type": "http", "scheme": "bearer"},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    },
    refusal=Failure,
    endpoints=endpoints,
    more={
        "Request": {"properties": {"context": {"properties": {"targetingKey": {"type": "string"}}}}},
        "AllEvaluated": {
            "properties": {
                "flags": {
                    "items": {
                        "anyOf": [
                            {"$ref": "#/components/schemas/Evaluated"},
                            {"$ref": "#/components/schemas/Failure"},
                        ]
                    }
                }
            }
        },
    },
)
