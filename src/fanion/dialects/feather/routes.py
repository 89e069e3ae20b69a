"""Feather's endpoints (docs/apis/feather.md: Common rules to Usage).

An evaluation that has no bundle to answer from is a result, not an error: 503 with every requested flag in
it. A telemetry batch is taken whole or refused whole; events of another organisation are left out without a
word.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import msgspec

from fanion.auth.limiter import burst_of, scope_hash
from fanion.dialects.feather.envelope import ACCEPTED, CORS, OK, UNAVAILABLE, refuse
from fanion.dialects.feather.rendering import RENDERING
from fanion.dialects.feather.schema import ORGANISATION, Schema
from fanion.dialects.feather.served import Served, bind, evaluable, meta_of, organisation_of, served, units
from fanion.dialects.feather.settings import FeatherSettings
from fanion.dialects.feather.usage import usage
from fanion.dialects.feather.words import NAME
from fanion.dialects.wire.bodies import REFUSED
from fanion.dialects.wire.credentials import AUTHORIZATION, bearer, bearer_begins
from fanion.dialects.wire.dialect import Dialect, KeyPlace
from fanion.dialects.wire.endpoint import Endpoint, Handler, Route, Scan
from fanion.dialects.wire.fault import Fault
from fanion.dialects.wire.ingest import Ingest
from fanion.dialects.wire.prepared import LISTED_BYTES_MIN
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Services, Snapshot
from fanion.model.api_key import KeyRecord

BODY_BYTES_MAX = 1024 * 1024
"""The choice for every endpoint, events included (docs/apis/feather.md: Common rules)."""


def cache_age(age_s: int) -> bytes:
    return b'","cacheAge":%d,"requestId":"' % max(age_s, 0)


CACHE_AGES = tuple(map(cache_age, range(5)))
"""Of a store that can be read, which is asked once a second."""


def routes(services: Services) -> list[Route]:
    schema = Schema(services.config.limits)
    bytes_max = min(BODY_BYTES_MAX, services.config.limits.body_bytes_max)
    events_bytes_max = min(BODY_BYTES_MAX, services.config.limits.ingest_body_bytes_max)
    one = Endpoint("evaluate", evaluate_one(services, schema), bytes_max, scope="evaluate")
    bulk = Endpoint("evaluate_bulk", evaluate_bulk(services, schema), bytes_max, scope="evaluate")
    events = Endpoint(
        "events", take_events(services, schema), events_bytes_max, scope="events", scan=Scan.LATER
    )
    context = Endpoint("sdk_context", sdk_context)
    counted = Endpoint("usage", usage(services), scope="results:read", query=True)
    return [
        Route(b"/v1/evaluate/bulk", {"POST": bulk}),
        Route(b"/v1/evaluate", {"POST": one}),
        Route(b"/v1/telemetry/events", {"POST": events}),
        Route(b"/v1/sdk/context", {"GET": context}),
        Route(b"/v1/projects/", {"GET": counted}, prefix=True),
    ]


def evaluate_bulk(services: Services, schema: Schema) -> Handler:
    """Long: a call costs more than most of its steps."""
    read, read_short, short = schema.bulk.read, schema.bulk.decode_closed, schema.bulk.free_bytes
    least = LISTED_BYTES_MIN
    request_id = services.ids.take
    now = services.clock.text
    monotonic = time.monotonic

    def closing(at: Served, snapshot: Snapshot) -> bytes:
        """What stands behind the results."""
        age = int(monotonic() - snapshot.confirmed_at)
        aged = CACHE_AGES[age] if 0 <= age < len(CACHE_AGES) else cache_age(age)
        return b"".join((at.meta, now(), aged, request_id(), b'"}}'))

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        if len(body) > least:
            answer = prepared(snapshot, record, body)
            if answer is not None:
                return OK, answer
        try:
            request = read_short(body) if len(body) <= short else read(body)
        except REFUSED:
            request = read(body)
        at = evaluable(snapshot, record)
        if at is None:
            return UNAVAILABLE, _unavailable(request.flags, record.environment, now(), request_id())
        context, client = request.context, record.kind == "client"
        members = context.members()
        return OK, at.bundle.put_map(
            at.table,
            request.flags,
            client,
            members,
            context.attributes,
            None,
            b'{"results":{',
            closing(at, snapshot),
        )

    def prepared(snapshot: Snapshot, record: KeyRecord, body: bytes) -> bytes | None:
        """The answer for a list that was asked for before; else None."""
        try:
            at = evaluable(snapshot, record)
        except Fault:  # it stands behind those of the body
            return None
        if at is None:
            return None
        lists = at.lists
        if lists is None:
            lists = at.lists = schema.listed.open(at.bundle, at.table)
        found = schema.take(lists, body, client=record.kind == "client")
        if found is None:
            return None
        keys, context = found
        return keys.put_map(
            context.members(),
            context.attributes,
            None,
            b'{"results":{',
            closing(at, snapshot),
        )

    return handler


def evaluate_one(services: Services, schema: Schema) -> Handler:
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
        return OK, at.bundle.put_one(
            at.table,
            request.flagKey,
            record.kind == "client",
            context.members(),
            context.attributes,
            None,
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


def take_events(services: Services, schema: Schema) -> Handler:
    read = schema.events.read
    cut = schema.raw_events.decode
    plainly_own = schema.plain_events.check
    all_own = schema.all_own
    keep = Ingest(services, NAME).keep

    def handler(
        snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers
    ) -> Reply | Awaitable[Reply]:
        received_ns = time.time_ns()
        own = organisation_of(snapshot, record)
        whole = True
        if plainly_own(body, (own.encode(),)) is None and not all_own(body, own.encode()):
            events = read(body).events
            organisations = set(map(ORGANISATION, events))
            if own not in organisations:
                return ACCEPTED
            whole = len(organisations) == 1
            if not whole:
                spans = zip(cut(body).events, events, strict=True)
                body = b"[" + b",".join([bytes(span) for span, event in spans if event.orgId == own]) + b"]"
        return keep(record.environment, received_ns, body, ACCEPTED, whole=whole)

    return handler


def sdk_context(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
    at = served(snapshot, record)
    environment = record.environment if at is None else at.environment_id
    document = {"orgId": organisation_of(snapshot, record), "environmentId": environment}
    return OK, msgspec.json.encode(document)


def recognises(headers: Headers) -> bool:
    return bearer_begins(headers, (b"sk_", b"pk_"))


def limiter(services: Services) -> Callable[[KeyRecord], float] | None:
    """A bucket per key, off unless configured (docs/apis/feather.md: Limits)."""
    own = services.config.of(FeatherSettings)
    rate, burst = own.feather_rate_per_s, own.feather_burst
    if not rate:
        return None
    take = services.limiter.take
    burst = burst or burst_of(rate)

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
    credential_header=AUTHORIZATION,
    credentials=bearer,
    key_place=KeyPlace(bearer=True),
    recognises=recognises,
    refuse=refuse,
    routes=routes,
    rendering=RENDERING,
    bind=bind,
    units=units,
    limiter=limiter,
    cors=CORS,
    demo=DEMO,
)
