"""Traffical's endpoints (docs/apis/traffical.md: Routes), their scopes and credentials (Keys and scopes)."""

from __future__ import annotations

from fanion.dialects.traffical.decide import decide, decide_batch
from fanion.dialects.traffical.decide_schema import DecideSchema
from fanion.dialects.traffical.emit import whole
from fanion.dialects.traffical.envelope import CORS, refuse
from fanion.dialects.traffical.events import take_events
from fanion.dialects.traffical.rendering import RENDERING
from fanion.dialects.traffical.resolve import get_config, resolve
from fanion.dialects.traffical.schema import Schema
from fanion.dialects.traffical.served import bind, units
from fanion.dialects.traffical.words import NAME, READ, WRITE
from fanion.dialects.wire.credentials import AUTHORIZATION, bearer, bearer_begins
from fanion.dialects.wire.dialect import Dialect, KeyPlace
from fanion.dialects.wire.endpoint import Endpoint, Route, Scan
from fanion.dialects.wire.fault import FaultKind
from fanion.dialects.wire.reply import Headers
from fanion.dialects.wire.services import Services

DEMO = (
    """curl -s {url}/v1/resolve -H 'Authorization: Bearer traffical_sk_demo' -H 'Content-Type: application/json'"""
    """ -d '{"context":{"userId":"user_789"}}'"""
)


def routes(services: Services) -> list[Route]:
    limits = services.config.limits
    schema, decisions = Schema(limits), DecideSchema(limits)
    most = limits.body_bytes_max
    events = Endpoint(
        "events",
        take_events(services, schema),
        limits.ingest_body_bytes_max,
        scope=WRITE,
        scan=Scan.LATER,
        body_timeout=FaultKind.OVERLOADED,
    )
    batch = Endpoint("decide_batch", decide_batch(decisions), most, scope=READ, scan=Scan.LATER)
    one = Endpoint("decide", decide(decisions), most, scope=READ)
    config = Endpoint("config", get_config, scope=READ, query=True)
    return [
        Route(b"/v1/resolve", {"POST": Endpoint("resolve", resolve(services, schema), most, scope=READ)}),
        Route(b"/v1/events/batch", {"POST": events}),
        Route(b"/v1/events", {"POST": events}),
        Route(b"/v1/decide/batch", {"POST": batch}),
        Route(b"/v1/decide/entity/batch", {"POST": batch}),
        Route(b"/v1/decide/", {"POST": one}, prefix=True),
        Route(b"/v1/config/", {"GET": config}, prefix=True),
    ]


def recognises(headers: Headers) -> bool:
    return bearer_begins(headers, b"traffical_")


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
    cors=CORS,
    whole=whole,
    demo=DEMO,
)
