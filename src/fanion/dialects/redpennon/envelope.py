"""Red Pennon's answers from the outside: headers of every answer, and errors (docs/apis/redpennon.md).

An error is `{"error":TEXT}`; what governance refuses has a code beside it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import JSON_NO_STORE, Head, Reply, retry_after, with_fault

OK: Final = Head(200, JSON_NO_STORE)
ACCEPTED: Final = Head(202, JSON_NO_STORE)

RATE_TEXT: Final = "Rate limit exceeded. Retry after a short delay."
TEXTS: Final = {
    FaultKind.NO_CREDENTIALS: "Invalid or missing API key.",
    FaultKind.UNKNOWN_KEY: "Invalid or missing API key.",
    FaultKind.METHOD_NOT_ALLOWED: "Method not allowed.",
    FaultKind.NOT_FOUND: "Not found.",
    FaultKind.INVALID_JSON: "Invalid JSON.",
}
"""Texts of the API's documents. Of everything else the fault says what it is."""


def refusal(status: int, code: str, text: str, *extra: tuple[bytes, bytes]) -> Reply:
    """What governance refuses."""
    return Head(status, [*JSON_NO_STORE, *extra]), msgspec.json.encode({"error": text, "code": code})


def rate_limited(wait_s: float) -> Reply:
    return refusal(429, "rate_limit_exceeded", RATE_TEXT, retry_after(wait_s))


def refuse(fault: Fault) -> Reply:
    """What the server refuses; a rate has governance's code."""
    if fault.kind is FaultKind.RATE_LIMITED:
        return rate_limited(fault.retry_after_s or 1)
    # A body of the wrong shape is 400 here.
    status = 400 if fault.kind is FaultKind.INVALID_SHAPE else fault.kind.status
    body = msgspec.json.encode({"error": TEXTS.get(fault.kind, fault.message)})
    return Head(status, with_fault(JSON_NO_STORE, fault)), body
