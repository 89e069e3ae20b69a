"""stitchd's endpoints and credentials (docs/apis/stitchd.md: Routes, Keys)."""

from __future__ import annotations

from typing import Final

from fanion.dialects.stitchd.envelope import refuse
from fanion.dialects.stitchd.evaluate import evaluate_flag
from fanion.dialects.stitchd.events import take_batch, take_one
from fanion.dialects.stitchd.rendering import RENDERING
from fanion.dialects.stitchd.schema import Bodies
from fanion.dialects.stitchd.segments import check_many, check_one
from fanion.dialects.stitchd.served import bind, units
from fanion.dialects.stitchd.words import NAME
from fanion.dialects.wire.credentials import own_header
from fanion.dialects.wire.dialect import Dialect, KeyPlace
from fanion.dialects.wire.endpoint import Endpoint, Route, Scan
from fanion.dialects.wire.reply import Headers
from fanion.dialects.wire.services import Services

ENVIRONMENTS: Final = b"/v1/environments/"
CREDENTIAL_HEADER: Final = b"x-sdk-key"

DEMO: Final = (
    "curl -s {url}/v1/environments/5b1f6a52-0000-4000-8000-000000000001/evaluate "
    "-H 'x-sdk-key: sdk_live_demo' "
    '-d \'{"flag_key":"my-flag","context_type":"user","context_key":"user-123","attributes":{"plan":"pro"}}\''
)


def routes(services: Services) -> list[Route]:
    limits = services.config.limits
    bodies = Bodies(limits)
    bytes_max, events_bytes_max = limits.body_bytes_max, limits.ingest_body_bytes_max
    many = Endpoint(
        "segments_batch", check_many(services, bodies), bytes_max, scope="evaluate", scan=Scan.BATCH
    )
    endpoints = {
        b"/evaluate": Endpoint("evaluate", evaluate_flag(bodies), bytes_max, scope="evaluate"),
        b"/events": Endpoint(
            "event", take_one(services, bodies), events_bytes_max, scope="events", scan=Scan.LATER
        ),
        b"/events/batch": Endpoint(
            "events", take_batch(services, bodies), events_bytes_max, scope="events", scan=Scan.LATER
        ),
        b"/segments/list-check": Endpoint("segment", check_one(bodies), bytes_max, scope="evaluate"),
        b"/segments/batch-list-check": many,
        b"/segments/list-check/batch": many,
    }
    return [
        Route(ENVIRONMENTS, {"POST": endpoint}, prefix=True, rest=rest)
        for rest, endpoint in endpoints.items()
    ]


def credentials(headers: Headers) -> bytes:
    """The raw key of `x-sdk-key`; a Bearer token is not looked at (docs/apis/stitchd.md: Keys)."""
    return own_header(headers, CREDENTIAL_HEADER, "missing x-sdk-key header")


def recognises(headers: Headers) -> bool:
    return CREDENTIAL_HEADER in headers


DIALECT: Final = Dialect(
    name=NAME,
    credential_header=CREDENTIAL_HEADER,
    credentials=credentials,
    key_place=KeyPlace(own=CREDENTIAL_HEADER),
    recognises=recognises,
    refuse=refuse,
    routes=routes,
    rendering=RENDERING,
    bind=bind,
    units=units,
    demo=DEMO,
)
