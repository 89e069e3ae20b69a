"""The endpoints of the neutral API and its credentials (docs/apis/neutral.md: Route and keys).

Their paths begin with Fanion's own name, so that the mount below this dialect's adds a word before it.
"""

from __future__ import annotations

from typing import Final

from fanion.dialects.neutral.envelope import CORS, refuse
from fanion.dialects.neutral.events import take_events
from fanion.dialects.neutral.results import results
from fanion.dialects.neutral.schema import Schema
from fanion.dialects.neutral.served import bind
from fanion.dialects.neutral.usage import usage
from fanion.dialects.neutral.words import NAME
from fanion.dialects.wire.credentials import AUTHORIZATION, bearer, folded
from fanion.dialects.wire.dialect import Dialect, KeyPlace
from fanion.dialects.wire.endpoint import Endpoint, Route, Scan
from fanion.dialects.wire.fault import FaultKind
from fanion.dialects.wire.reply import Headers
from fanion.dialects.wire.services import Services

PATH: Final = b"/fanion/v1/events"
EXPERIMENTS: Final = b"/fanion/v1/experiments/"
FLAGS: Final = b"/fanion/v1/flags/"

DEMO: Final = (
    "curl -s {url}/fanion/v1/events -H 'Authorization: Bearer neutral_demo_client' "
    """-d '{"events":[{"type":"metric","id":"order-1","unit":{"kind":"userId","id":"user_123"},"""
    """"metric":"purchase","value":9.5}]}'"""
)


def routes(services: Services) -> list[Route]:
    limits = services.config.limits
    events = Endpoint(
        "events",
        take_events(services, Schema(limits)),
        limits.ingest_body_bytes_max,
        scope="events",
        body_timeout=FaultKind.OVERLOADED,
        scan=Scan.LATER,
    )
    read = Endpoint("results", results(services), scope="results:read", query=True)
    counted = Endpoint("usage", usage(services), scope="results:read", query=True)
    return [
        Route(PATH, {"POST": events}),
        Route(EXPERIMENTS, {"GET": read}, prefix=True, rest=b"/results"),
        Route(FLAGS, {"GET": counted}, prefix=True, rest=b"/usage"),
    ]


def credentials(headers: Headers) -> bytes:
    """The raw key; one that is a UUID is the same in any case. Raises Fault NO_CREDENTIALS."""
    return folded(bearer(headers))


def recognises(headers: Headers) -> bool:
    """Its path is its own, so no other request looks like one of this API's."""
    return False


DIALECT: Final = Dialect(
    name=NAME,
    credential_header=AUTHORIZATION,
    credentials=credentials,
    key_place=KeyPlace(bearer=True, folded=True),
    recognises=recognises,
    refuse=refuse,
    routes=routes,
    bind=bind,
    cors=CORS,
    demo=DEMO,
)
