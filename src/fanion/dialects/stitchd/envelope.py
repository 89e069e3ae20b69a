"""stitchd's answers from the outside: headers of every answer, and errors (docs/apis/stitchd.md).

Every error is `{"error": TEXT, "code": NAME}` with one of the six documented names. There is no rate limit, and so
never a 429: whoever tries unknown keys too often goes on getting 401. Overload is 502.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.ingest import Overloaded
from fanion.dialects.wire.reply import JSON_NO_STORE, Head, Reply, with_fault

OK: Final = Head(200, JSON_NO_STORE)
ACCEPTED: Final = Head(202, JSON_NO_STORE)

OVERLOADED: Final = Overloaded(
    full="the event buffer is full; send them again",
    failed="the events could not be stored; send them again",
    opening="the server has just started; send them again",
)

UNAUTHENTICATED: Final = (401, "UNAUTHENTICATED")
INVALID: Final = "INVALID_ARGUMENT"

CODES: Final[dict[FaultKind, tuple[int, str]]] = {
    FaultKind.BAD_REQUEST: (400, INVALID),
    FaultKind.INVALID_JSON: (400, INVALID),
    FaultKind.INVALID_SHAPE: (400, INVALID),
    FaultKind.NO_CREDENTIALS: UNAUTHENTICATED,
    FaultKind.UNKNOWN_KEY: UNAUTHENTICATED,
    FaultKind.RATE_LIMITED: UNAUTHENTICATED,
    FaultKind.FORBIDDEN: (403, "PERMISSION_DENIED"),
    FaultKind.NOT_FOUND: (404, "NOT_FOUND"),
    FaultKind.METHOD_NOT_ALLOWED: (405, INVALID),
    FaultKind.TIMEOUT: (408, INVALID),
    FaultKind.TOO_LARGE: (413, INVALID),
    FaultKind.UNSUPPORTED_ENCODING: (415, INVALID),
    FaultKind.INTERNAL: (500, "INTERNAL"),
    FaultKind.OVERLOADED: (502, "UNAVAILABLE"),
}
UNKNOWN_KEY: Final = "sdk key not found"
TEXTS: Final[dict[FaultKind, str]] = {
    FaultKind.UNKNOWN_KEY: UNKNOWN_KEY,
    FaultKind.RATE_LIMITED: UNKNOWN_KEY,
}
"""Texts of the API's documents. Of everything else the fault says what it is."""


def refuse(fault: Fault) -> Reply:
    """The envelope, also of what the server itself refuses."""
    status, code = CODES[fault.kind]
    limited = fault.kind is FaultKind.RATE_LIMITED
    headers = JSON_NO_STORE if limited else with_fault(JSON_NO_STORE, fault)
    text = TEXTS.get(fault.kind, fault.message)
    return Head(status, headers), msgspec.json.encode({"error": text, "code": code})
