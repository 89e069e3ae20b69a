"""Feather's endpoints and error envelope (contract sections 1.1 to 1.5).

An evaluation that has no bundle to answer from is a result, not an error: 503 with every requested flag in
it. A telemetry batch is taken whole or refused whole; events of another organisation are left out without a
word.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from fanion.auth.limiter import scope_hash
from fanion.dialects.feather.emit import render
from fanion.dialects.feather.schema import ORGANISATION, Schema
from fanion.dialects.wire.dialect import Cors, Dialect
from fanion.dialects.wire.endpoint import Endpoint, Route
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.ingest import when_safe
from fanion.dialects.wire.reply import HeaderList, Headers, Reply
from fanion.dialects.wire.services import Services, Snapshot
from fanion.errors import JournalError, JournalFullError, StoreError
from fanion.model.api_key import KeyRecord

NAME = "feather"
BODY_BYTES_MAX = 1024 * 1024
"""The contract's choice for every endpoint, events included (1.1)."""
RETRY_AFTER_S = 1.0

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
COMMON: HeaderList = [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), *CORS.always]
OK: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": COMMON}
UNAVAILABLE: dict[str, Any] = {
    "type": "http.response.start",
    "status": 503,
    "headers": [*COMMON, (b"retry-after", b"%d" % RETRY_AFTER_S)],
}
ACCEPTED: Reply = (
    {
        "type": "http.response.start",
        "status": 202,
        "headers": [(b"cache-control", b"no-store"), (b"content-length", b"0"), *CORS.always],
    },
    b"",
)


class Served:
    """What the endpoints keep at hand of one mapped environment."""

    __slots__ = ("bundle", "environment_id", "meta", "organisation_id", "table")

    def __init__(self, bundle: Any) -> None:
        identifiers = bundle.identifiers.get(NAME, {})
        self.bundle = bundle
        self.table: int = bundle.table(NAME)
        self.environment_id: str = identifiers.get("environment", bundle.environment)
        self.organisation_id: str = identifiers.get("organisation", "")
        self.meta = meta_of(self.environment_id)


def meta_of(environment_id: str) -> bytes:
    return b'},"meta":{"environmentId":' + msgspec.json.encode(environment_id) + b',"evaluatedAt":"'


def bind(bundle: Any) -> Served | None:
    return Served(bundle) if bundle.table(NAME) >= 0 else None


def served(snapshot: Snapshot, record: KeyRecord) -> Served | None:
    """None when the generation doesn't hold the environment. Raises StoreError where no bundle of it verifies, and
    Fault UNKNOWN_KEY where it is served through other APIs only."""
    view = snapshot.view(record.environment)
    if view is None:
        return None
    at: Served | None = view.bound[NAME]
    if at is None:
        raise Fault(FaultKind.UNKNOWN_KEY, "The API key's environment is not served through this API.")
    return at


def evaluable(snapshot: Snapshot, record: KeyRecord) -> Served | None:
    """As `served`; None also where no bundle of the environment verifies: an evaluation's 503 is a result."""
    try:
        return served(snapshot, record)
    except StoreError:
        return None


def routes(services: Services) -> list[Route]:
    schema = Schema(services.config.limits)
    bytes_max = min(BODY_BYTES_MAX, services.config.limits.body_bytes_max)
    events_bytes_max = min(BODY_BYTES_MAX, services.config.limits.ingest_body_bytes_max)
    one = Endpoint("evaluate", evaluate_one(services, schema), bytes_max, scope="evaluate")
    bulk = Endpoint("evaluate_bulk", evaluate_bulk(services, schema), bytes_max, scope="evaluate")
    events = Endpoint("events", take_events(services, schema), events_bytes_max, scope="events")
    context = Endpoint("sdk_context", sdk_context)
    return [
        Route(b"/v1/evaluate/bulk", {"POST": bulk}),
        Route(b"/v1/evaluate", {"POST": one}),
        Route(b"/v1/telemetry/events", {"POST": events}),
        Route(b"/v1/sdk/context", {"GET": context}),
    ]


def evaluate_bulk(services: Services, schema: Schema) -> Callable[..., Reply]:
    read = schema.bulk.read
    request_id = services.ids.take
    now = services.clock.text
    monotonic = time.monotonic

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        request = read(body)
        at = evaluable(snapshot, record)
        if at is None:
            return UNAVAILABLE, _unavailable(request.flags, record.environment, now(), request_id())
        age = int(monotonic() - snapshot.confirmed_at)
        context = request.context
        return OK, at.bundle.emit_map(
            at.table,
            request.flags,
            context.members(),
            context.attributes,
            None,
            record.kind == "client",
            b'{"results":{',
            b"{",
            b"}",
            b'%b%b","cacheAge":%d,"requestId":"%b"}}' % (at.meta, now(), age if age > 0 else 0, request_id()),
        )

    return handler


def evaluate_one(services: Services, schema: Schema) -> Callable[..., Reply]:
    read = schema.one.read
    request_id = services.ids.take
    encode = msgspec.json.encode

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        request = read(body)
        at = evaluable(snapshot, record)
        prefix = b'{"flagKey":%b,' % encode(request.flagKey)
        suffix = b',"requestId":"%b"}' % request_id()
        if at is None:
            return UNAVAILABLE, prefix + b'"value":null,"reason":"ERROR"' + suffix
        context = request.context
        return OK, at.bundle.emit_one(
            at.table,
            request.flagKey,
            context.members(),
            context.attributes,
            None,
            record.kind == "client",
            prefix,
            suffix,
        )

    return handler


def _unavailable(flags: list[str], environment: str, now: bytes, request_id: bytes) -> bytes:
    """The bulk answer without a bundle: every requested flag, as ERROR."""
    result = {"value": None, "reason": "ERROR"}
    results = msgspec.json.encode(dict.fromkeys(flags, result))
    return b'{"results":%b%b%b","cacheAge":0,"requestId":"%b"}}' % (
        results[:-1],
        meta_of(environment),
        now,
        request_id,
    )


def take_events(services: Services, schema: Schema) -> Callable[..., Reply | Awaitable[Reply]]:
    read = schema.events.read
    cut = schema.raw_events.decode
    plainly_own = schema.plain_events.check
    journal = services.journal
    wait_for_disk = services.config.journal.ack == "durable"

    def handler(
        snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers
    ) -> Reply | Awaitable[Reply]:
        received_ns = time.time_ns()
        own = organisation_of(snapshot, record)
        whole = True
        if plainly_own(body, (own.encode(),)) is None:
            events = read(body).events
            organisations = set(map(ORGANISATION, events))
            if own not in organisations:
                return ACCEPTED
            whole = len(organisations) == 1
            if not whole:
                spans = zip(cut(body).events, events, strict=True)
                body = b"[" + b",".join([bytes(span) for span, event in spans if event.orgId == own]) + b"]"
        try:
            sequence = journal.append(
                dialect=NAME, environment=record.environment, received_ns=received_ns, body=body, whole=whole
            )
        except JournalError as error:
            raise _overloaded(error) from None
        return when_safe(ACCEPTED, _overloaded, journal.durable(sequence)) if wait_for_disk else ACCEPTED

    return handler


def _overloaded(error: JournalError) -> Fault:
    """Nothing of the batch counts as kept; the client keeps it and tries again."""
    full = isinstance(error, JournalFullError)
    reason = "The event buffer is full." if full else "The events could not be stored."
    return Fault(FaultKind.OVERLOADED, f"{reason} Send them again.", retry_after_s=RETRY_AFTER_S)


def organisation_of(snapshot: Snapshot, record: KeyRecord) -> str:
    """The Feather id of the key's organisation: the bundle's, else the record's own."""
    at = served(snapshot, record)
    return at.organisation_id if at is not None and at.organisation_id else record.organisation


def sdk_context(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
    at = served(snapshot, record)
    environment = record.environment if at is None else at.environment_id
    document = {"orgId": organisation_of(snapshot, record), "environmentId": environment}
    return OK, msgspec.json.encode(document)


def credentials(headers: Headers) -> bytes:
    """The raw key of `Authorization: Bearer KEY` (1.2)."""
    value = headers.get(b"authorization")
    if value is None:
        raise Fault(FaultKind.NO_CREDENTIALS, "The Authorization header is missing.")
    if value[:7] != b"Bearer " and value[:7].lower() != b"bearer ":
        raise Fault(FaultKind.NO_CREDENTIALS, "The Authorization header must be: Bearer <api key>.")
    key = value[7:].strip()
    if not key:
        raise Fault(FaultKind.NO_CREDENTIALS, "The Authorization header holds no API key.")
    return key


def recognises(headers: Headers) -> bool:
    value = headers.get(b"authorization", b"")
    return value[:7].lower() == b"bearer " and value[7:10] in (b"sk_", b"pk_")


def refuse(fault: Fault) -> Reply:
    """`{"error":{"code","message","details"?}}`; a 422 names the place."""
    error: dict[str, Any] = {"code": CODES[fault.kind], "message": fault.message}
    if fault.path is not None:
        error["details"] = {"path": fault.path}
    headers = list(COMMON)
    if fault.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(fault.retry_after_s))))
    if fault.allow is not None:
        headers.append((b"allow", fault.allow))
    if fault.kind in (FaultKind.NO_CREDENTIALS, FaultKind.UNKNOWN_KEY):
        headers.append((b"www-authenticate", b"Bearer"))
    start = {"type": "http.response.start", "status": fault.kind.status, "headers": headers}
    return start, msgspec.json.encode({"error": error})


def limiter(services: Services) -> Callable[[KeyRecord], float] | None:
    """A bucket per key, off unless configured (contract section 5)."""
    rate, burst = services.config.limiter.feather_rate_per_s, services.config.limiter.feather_burst
    if not rate:
        return None
    take = services.limiter.take

    def wait_s(record: KeyRecord) -> float:
        return take(scope_hash(NAME, record.id), rate, burst)

    return wait_s


DEMO = (
    "curl -s {url}/v1/evaluate/bulk -H 'Authorization: Bearer sk_demo_server' "
    '-H \'Content-Type: application/json\' -d \'{"flags":["new-checkout","checkout-copy"],'
    '"context":{"userId":"user_123","attributes":{"country":"DE"}}}\''
)

DIALECT = Dialect(
    name=NAME,
    credential_header=b"authorization",
    credentials=credentials,
    recognises=recognises,
    refuse=refuse,
    routes=routes,
    render=render,
    bind=bind,
    limiter=limiter,
    cors=CORS,
    demo=DEMO,
)
