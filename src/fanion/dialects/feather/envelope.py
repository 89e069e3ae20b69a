"""Feather's answers from the outside: headers of every answer, and errors (docs/apis/feather.md).

An error is `{"error":{"code","message","details"?}}`; a 422 names the place.
"""

from __future__ import annotations

import msgspec

from fanion.dialects.wire.cors import Cors
from fanion.dialects.wire.credentials import CHALLENGE
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.ingest import RETRY_AFTER_S
from fanion.dialects.wire.reply import (
    JSON_NO_STORE,
    NO_STORE,
    Head,
    HeaderList,
    Reply,
    retry_after,
    with_fault,
)

CODES = {
    FaultKind.BAD_REQUEST: "BAD_REQUEST",
    FaultKind.INVALID_JSON: "INVALID_JSON",
    FaultKind.NO_CREDENTIALS: "UNAUTHORIZED",
    FaultKind.UNKNOWN_KEY: "INVALID_API_KEY",
    FaultKind.FORBIDDEN: "FORBIDDEN",
    FaultKind.NOT_FOUND: "RESOURCE_NOT_FOUND",
    FaultKind.METHOD_NOT_ALLOWED: "METHOD_NOT_ALLOWED",
    FaultKind.TIMEOUT: "REQUEST_TIMEOUT",
    FaultKind.TOO_LARGE: "PAYLOAD_TOO_LARGE",
    FaultKind.UNSUPPORTED_ENCODING: "UNSUPPORTED_ENCODING",
    FaultKind.INVALID_SHAPE: "VALIDATION_ERROR",
    FaultKind.RATE_LIMITED: "RATE_LIMITED",
    FaultKind.INTERNAL: "INTERNAL_ERROR",
    FaultKind.OVERLOADED: "BUFFER_FULL",
}

CORS = Cors(headers=b"authorization, content-type", expose=b"retry-after")
COMMON: HeaderList = [*JSON_NO_STORE, *CORS.always]
OK = Head(200, COMMON)
UNAVAILABLE = Head(503, [*COMMON, retry_after(RETRY_AFTER_S)])
ACCEPTED: Reply = Head(202, [*NO_STORE, (b"content-length", b"0"), *CORS.always]), b""


def refuse(fault: Fault) -> Reply:
    """An error answer."""
    error: dict[str, object] = {"code": CODES[fault.kind], "message": fault.message}
    if fault.path is not None:
        error["details"] = {"path": fault.path}
    headers = with_fault(COMMON, fault)
    if fault.kind in (FaultKind.NO_CREDENTIALS, FaultKind.UNKNOWN_KEY):
        headers += CHALLENGE
    return Head(fault.kind.status, headers), msgspec.json.encode({"error": error})
