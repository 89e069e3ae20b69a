"""What Feather's OpenAPI document says beside routes and request bodies (docs/apis/feather.md)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fanion.config import Limits
from fanion.dialects.feather.envelope import CODES
from fanion.dialects.feather.schema import One, Reason, Scalar, Schema
from fanion.dialects.feather.usage import DAYS_MAX, Usage
from fanion.dialects.wire.described import Described, Description, Parameter, Told
from fanion.model.json_value import JsonObject

Whole = Annotated[int, Meta(ge=0)]


class Result(msgspec.Struct, forbid_unknown_fields=True):
    """`value` is null of a flag that isn't there, and may be where something failed."""

    value: Scalar | None
    reason: Reason
    ruleId: str | UnsetType = UNSET  # noqa: N815  # the API's own words, here and below
    variant: str | UnsetType = UNSET


class OneResult(Result, forbid_unknown_fields=True, kw_only=True):
    flagKey: str  # noqa: N815
    requestId: str  # noqa: N815


class BulkMeta(msgspec.Struct, forbid_unknown_fields=True):
    environmentId: str  # noqa: N815
    evaluatedAt: str  # noqa: N815
    cacheAge: Whole  # noqa: N815
    requestId: str  # noqa: N815


class BulkResult(msgspec.Struct, forbid_unknown_fields=True):
    results: dict[str, Result]
    meta: BulkMeta


class SdkContext(msgspec.Struct, forbid_unknown_fields=True):
    orgId: str  # noqa: N815
    environmentId: str  # noqa: N815


class ErrorDetails(msgspec.Struct, forbid_unknown_fields=True):
    path: str


class ErrorText(msgspec.Struct, forbid_unknown_fields=True):
    code: Literal[tuple(sorted(set(CODES.values())))]  # type: ignore[valid-type]
    message: str
    details: ErrorDetails | UnsetType = UNSET


class Error(msgspec.Struct, forbid_unknown_fields=True):
    error: ErrorText


NO_BUNDLE: Final = "there is no bundle to answer from: every flag is ERROR"


def endpoints(limits: Limits) -> dict[str, Described]:
    schema = Schema(limits)
    person: JsonObject = {"userId": "user_123", "attributes": {"country": "DE"}}
    return {
        "evaluate": Described(
            "Evaluate one flag",
            {200: Told("the flag's value", OneResult), 503: Told(NO_BUNDLE, OneResult, ("retry-after",))},
            One,
            example={"flagKey": "new-checkout", "context": person},
        ),
        "evaluate_bulk": Described(
            "Evaluate many flags for one context",
            {200: Told("flag key to result", BulkResult), 503: Told(NO_BUNDLE, BulkResult, ("retry-after",))},
            schema.bulk.shape,
            example={"flags": ["new-checkout", "checkout-copy"], "context": person},
        ),
        "events": Described(
            "Take a batch of evaluations that SDKs made",
            {202: Told("the batch is as safe as the server's acknowledgement mode promises")},
            schema.events.shape,
        ),
        "usage": Described(
            "What SDKs reported of a flag, by day",
            {200: Told("a row for each day that has events, the oldest first", Usage)},
            parameters=(
                Parameter(
                    "projectId", "path", "any text: a key belongs to one environment", example="proj_demo"
                ),
                Parameter("flagKey", "path", "the flag's key", example="new-checkout"),
                Parameter("environmentId", "query", "the key's environment, and no other"),
                Parameter(
                    "from", "query", "the first day, a date; 29 days before the last unless it is said"
                ),
                Parameter(
                    "to", "query", f"the last day, a date, today unless it is said; {DAYS_MAX} days at most"
                ),
            ),
            tail="{projectId}/flags/{flagKey}/usage",
        ),
        "sdk_context": Described("The ids of the key's environment", {200: Told("the ids", SdkContext)}),
    }


DESCRIPTION: Final = Description(
    title="Feather, as Fanion speaks it",
    text="Evaluation and telemetry. feather.md says the rules in words.",
    credentials={"key": {"type": "http", "scheme": "bearer"}},
    refusal=Error,
    endpoints=endpoints,
    more={"Event": {"properties": {"evaluatedAt": {"format": "date-time"}}}},
)
