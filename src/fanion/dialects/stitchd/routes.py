"""stitchd's endpoints, credentials and error envelope (contract 1, 2, 3).

Every error is `{"error": TEXT, "code": NAME}` with one of the six documented names. There is no rate limit,
and so never a 429: whoever tries unknown keys too often goes on getting 401. Overload is 502.
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from fanion.dialects.stitchd.emit import NAME, render
from fanion.dialects.stitchd.evaluate import COMMON, evaluate_flag
from fanion.dialects.stitchd.events import take_batch, take_one
from fanion.dialects.stitchd.schema import Bodies
from fanion.dialects.stitchd.segments import check_many, check_one
from fanion.dialects.stitchd.served import bind
from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.endpoint import Endpoint, Route
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import HeaderList, Headers, Reply
from fanion.dialects.wire.services import Services

ENVIRONMENTS: Final = b"/v1/environments/"

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
TEXTS: Final[dict[FaultKind, str]] = {
    FaultKind.UNKNOWN_KEY: "sdk key not found",
    FaultKind.RATE_LIMITED: "sdk key not found",
}
"""Texts of the contract. Of everything else the fault says what it is."""

DEMO: Final = (
    "curl -s {url}/v1/environments/5b1f6a52-0000-4000-8000-000000000001/evaluate "
    "-H 'x-sdk-key: sdk_live_demo' "
    '-d \'{"flag_key":"my-flag","context_type":"user","context_key":"user-123","attributes":{"plan":"pro"}}\''
)


def routes(services: Services) -> list[Route]:
    limits = services.config.limits
    bodies = Bodies(limits)
    bytes_max, events_bytes_max = limits.body_bytes_max, limits.ingest_body_bytes_max
    many = Endpoint("segments_batch", check_many(bodies), bytes_max, scope="evaluate")
    endpoints = {
        b"/evaluate": Endpoint("evaluate", evaluate_flag(bodies), bytes_max, scope="evaluate"),
        b"/events": Endpoint("event", take_one(services, bodies), events_bytes_max, scope="events"),
        b"/events/batch": Endpoint("events", take_batch(services, bodies), events_bytes_max, scope="events"),
        b"/segments/list-check": Endpoint("segment", check_one(bodies), bytes_max, scope="evaluate"),
        b"/segments/batch-list-check": many,
        b"/segments/list-check/batch": many,
    }
    return [
        Route(ENVIRONMENTS, {"POST": endpoint}, prefix=True, rest=rest)
        for rest, endpoint in endpoints.items()
    ]


def credentials(headers: Headers) -> bytes:
    """The raw key of `x-sdk-key`; a Bearer token is not looked at (2)."""
    key = headers.get(b"x-sdk-key", b"").strip()
    if not key:
        raise Fault(FaultKind.NO_CREDENTIALS, "missing x-sdk-key header")
    return key


def recognises(headers: Headers) -> bool:
    return b"x-sdk-key" in headers


def refuse(fault: Fault) -> Reply:
    """The envelope, also of what the server itself refuses."""
    status, code = CODES[fault.kind]
    headers: HeaderList = list(COMMON)
    if fault.retry_after_s is not None and fault.kind is not FaultKind.RATE_LIMITED:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(fault.retry_after_s))))
    if fault.allow is not None:
        headers.append((b"allow", fault.allow))
    start: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": headers}
    text = TEXTS.get(fault.kind, fault.message)
    return start, msgspec.json.encode({"error": text, "code": code})


DIALECT: Final = Dialect(
    name=NAME,
    credential_header=b"x-sdk-key",
    credentials=credentials,
    recognises=recognises,
    refuse=refuse,
    routes=routes,
    render=render,
    bind=bind,
    demo=DEMO,
)
