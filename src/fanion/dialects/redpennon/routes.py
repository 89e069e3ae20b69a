"""Red Pennon's endpoints, credentials and error shape (contract sections 1 and 5).

Order: route, method, key, JSON, shape, governance, evaluation; for events every rule of every event stands
before governance. Governance follows the body, so the server's own limiter, which comes before it, is not used.
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from fanion.dialects.redpennon.emit import NAME, render
from fanion.dialects.redpennon.evaluate import Signers, bind, evaluate_many, evaluate_one, whole
from fanion.dialects.redpennon.events import take_events
from fanion.dialects.redpennon.refusals import COMMON, Gate, rate_limited
from fanion.dialects.redpennon.schema import Bodies
from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.endpoint import Endpoint, Route
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import HeaderList, Headers, Reply
from fanion.dialects.wire.services import Services

UUID_CHARACTERS: Final = 36

TEXTS: Final = {
    FaultKind.NO_CREDENTIALS: "Invalid or missing API key.",
    FaultKind.UNKNOWN_KEY: "Invalid or missing API key.",
    FaultKind.METHOD_NOT_ALLOWED: "Method not allowed.",
    FaultKind.NOT_FOUND: "Not found.",
    FaultKind.INVALID_JSON: "Invalid JSON.",
}
"""Texts of the contract. Of everything else the fault says what it is."""

DEMO: Final = (
    "curl -s {url}/v1/variables/checkout-flow -H 'X-API-Key: 00000000-0000-0000-0000-000000000000' "
    '-d \'{"user":{"id":"user-123"}}\''
)


def routes(services: Services) -> list[Route]:
    limits, settings = services.config.limits, services.config.redpennon
    bodies, signers, gate = Bodies(limits), Signers(settings.trace_ttl_s), Gate(services)
    one = Endpoint(
        "variable", evaluate_one(services, bodies, signers, gate), limits.body_bytes_max, scope="evaluate"
    )
    many = Endpoint(
        "variables", evaluate_many(services, bodies, signers, gate), limits.body_bytes_max, scope="evaluate"
    )
    events = Endpoint(
        "events", take_events(services, bodies, signers, gate), limits.ingest_body_bytes_max, scope="events"
    )
    return [
        Route(b"/v1/variables", {"POST": many}),
        Route(b"/v1/variables/", {"POST": one}, prefix=True),
        Route(b"/v1/events", {"POST": events}),
    ]


def credentials(headers: Headers) -> bytes:
    """The raw key of `X-API-Key`; a UUID in lower case."""
    key = headers.get(b"x-api-key", b"").strip()
    if not key:
        raise Fault(FaultKind.NO_CREDENTIALS, "no X-API-Key")
    if len(key) == UUID_CHARACTERS and key[8:9] == key[13:14] == key[18:19] == key[23:24] == b"-":
        return key.lower()
    return key


def recognises(headers: Headers) -> bool:
    return b"x-api-key" in headers


def refuse(fault: Fault) -> Reply:
    """`{"error":TEXT}`; a rate has governance's code."""
    if fault.kind is FaultKind.RATE_LIMITED:
        return rate_limited(fault.retry_after_s or 1)
    headers: HeaderList = list(COMMON)
    if fault.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(fault.retry_after_s))))
    if fault.allow is not None:
        headers.append((b"allow", fault.allow))
    # A body of the wrong shape is 400 here.
    status = 400 if fault.kind is FaultKind.INVALID_SHAPE else fault.kind.status
    start: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": headers}
    return start, msgspec.json.encode({"error": TEXTS.get(fault.kind, fault.message)})


DIALECT: Final = Dialect(
    name=NAME,
    credential_header=b"x-api-key",
    credentials=credentials,
    recognises=recognises,
    refuse=refuse,
    routes=routes,
    render=render,
    bind=bind,
    whole=whole,
    demo=DEMO,
)
