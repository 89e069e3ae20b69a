"""OFREP's answers from the outside: headers of every answer, and errors (docs/apis/ofrep.md: Errors).

An error is `{"key"?,"errorCode","errorDetails"}`, always with details: a published client reads a 400 without them
as another error. Where the protocol asks for no code (401, 403, 429, 5xx), it is GENERAL.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fanion.dialects.wire.cors import Cors
from fanion.dialects.wire.credentials import CHALLENGE
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import JSON_NO_STORE, Head, HeaderList, Reply, with_fault

CORS: Final = Cors(
    headers=b"authorization, x-api-key, content-type, if-none-match", expose=b"etag, retry-after"
)
COMMON: Final[HeaderList] = [*JSON_NO_STORE, *CORS.always]
KEPT: Final[HeaderList] = [(b"cache-control", b"private, no-cache"), *CORS.always]
OK: Final = Head(200, COMMON)
REFUSED: Final = Head(400, COMMON)
UNKNOWN: Final = Head(404, COMMON)

PARSE_ERROR: Final = "PARSE_ERROR"
INVALID_CONTEXT: Final = "INVALID_CONTEXT"
TARGETING_KEY_MISSING: Final = "TARGETING_KEY_MISSING"
FLAG_NOT_FOUND: Final = "FLAG_NOT_FOUND"
GENERAL: Final = "GENERAL"

CODES: Final = {FaultKind.INVALID_JSON: PARSE_ERROR, FaultKind.INVALID_SHAPE: INVALID_CONTEXT}


def tagged(etag: bytes) -> Head:
    """Of an answer that its client may keep, and no cache on the way: the tag is its own request's."""
    return Head(200, [(b"content-type", b"application/json"), (b"etag", etag), *KEPT])


def unchanged(etag: bytes) -> Head:
    """The client has the answer."""
    return Head(304, [(b"etag", etag), *KEPT])


def failure(key: str, code: str, details: str) -> bytes:
    """What failed of one flag."""
    return msgspec.json.encode({"key": key, "errorCode": code, "errorDetails": details})


def unknown(key: str) -> Reply:
    """A flag that isn't there, or that the key may not see."""
    return UNKNOWN, failure(key, FLAG_NOT_FOUND, f"There is no flag {key!r} here.")


def refuse(fault: Fault, key: str | None = None) -> Reply:
    """An error answer; with the flag's key where the request named one."""
    # A body of the wrong shape is 400 here.
    status = 400 if fault.kind is FaultKind.INVALID_SHAPE else fault.kind.status
    error = {"errorCode": CODES.get(fault.kind, GENERAL), "errorDetails": fault.message}
    if key is not None:
        error = {"key": key, **error}
    headers = with_fault(COMMON, fault)
    if fault.kind in (FaultKind.NO_CREDENTIALS, FaultKind.UNKNOWN_KEY):
        headers += CHALLENGE
    return Head(status, headers), msgspec.json.encode(error)
