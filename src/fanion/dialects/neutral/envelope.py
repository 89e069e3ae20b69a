"""Answers of the neutral API from the outside: headers of each, and errors (docs/apis/neutral.md: Errors)."""

from __future__ import annotations

from typing import Final

import msgspec

from fanion.dialects.wire.cors import Cors
from fanion.dialects.wire.credentials import CHALLENGE
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.ingest import Overloaded
from fanion.dialects.wire.reply import JSON_NO_STORE, Head, HeaderList, Reply, with_fault

CORS: Final = Cors(headers=b"authorization, content-type", expose=b"retry-after")
COMMON: Final[HeaderList] = [*JSON_NO_STORE, *CORS.always]
OK: Final = Head(200, COMMON)

OVERLOADED: Final = Overloaded(
    full="The event buffer is full. Send the same batch again.",
    failed="The events could not be stored. Send the same batch again.",
    opening="The server has just started. Send the same batch again.",
)

CODES: Final = {
    FaultKind.BAD_REQUEST: "bad_request",
    FaultKind.INVALID_JSON: "invalid_json",
    FaultKind.NO_CREDENTIALS: "no_key",
    FaultKind.UNKNOWN_KEY: "unknown_key",
    FaultKind.FORBIDDEN: "forbidden",
    FaultKind.NOT_FOUND: "not_found",
    FaultKind.METHOD_NOT_ALLOWED: "method_not_allowed",
    FaultKind.TIMEOUT: "body_too_slow",
    FaultKind.TOO_LARGE: "too_large",
    FaultKind.UNSUPPORTED_ENCODING: "unsupported_encoding",
    FaultKind.INVALID_SHAPE: "invalid_batch",
    FaultKind.RATE_LIMITED: "rate_limited",
    FaultKind.INTERNAL: "internal",
    FaultKind.OVERLOADED: "overloaded",
}
STATUSES: Final = {FaultKind.INVALID_SHAPE: 400}
"""Where the API's status is not the kind's own."""


def refuse(fault: Fault) -> Reply:
    """An error answer."""
    status = STATUSES.get(fault.kind, fault.kind.status)
    headers = with_fault(COMMON, fault)
    if status == 401:
        headers += CHALLENGE
    error = {"code": CODES[fault.kind], "message": fault.message}
    return Head(status, headers), msgspec.json.encode({"error": error})
