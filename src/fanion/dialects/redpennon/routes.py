"""Red Pennon's endpoints and credentials (docs/apis/redpennon.md: Routes and credentials, Errors).

Order: route, method, key, JSON, shape, governance, evaluation; for events every rule of every event stands
before governance. Governance follows the body, so the server's own limiter, which comes before it, is not used.
"""

from __future__ import annotations

from typing import Final

from fanion.dialects.redpennon.envelope import refuse
from fanion.dialects.redpennon.evaluate import Signers, evaluate_many, evaluate_one, whole
from fanion.dialects.redpennon.events import take_events
from fanion.dialects.redpennon.governed import Gate
from fanion.dialects.redpennon.rendering import RENDERING
from fanion.dialects.redpennon.schema import Bodies
from fanion.dialects.redpennon.served import bind, units
from fanion.dialects.redpennon.settings import RedPennonSettings
from fanion.dialects.redpennon.words import NAME
from fanion.dialects.wire.credentials import folded, own_header
from fanion.dialects.wire.dialect import Dialect, KeyPlace
from fanion.dialects.wire.endpoint import Endpoint, Route, Scan
from fanion.dialects.wire.reply import Headers
from fanion.dialects.wire.services import Services

CREDENTIAL_HEADER: Final = b"x-api-key"

DEMO: Final = (
    "curl -s {url}/v1/variables/checkout-flow -H 'X-API-Key: 00000000-0000-0000-0000-000000000000' "
    '-d \'{"user":{"id":"user-123"}}\''
)


def routes(services: Services) -> list[Route]:
    limits, settings = services.config.limits, services.config.of(RedPennonSettings)
    bodies, signers, gate = Bodies(limits), Signers(settings.trace_ttl_s, services.token_ns), Gate(services)
    one = Endpoint("variable", evaluate_one(bodies, signers, gate), limits.body_bytes_max, scope="evaluate")
    many = Endpoint(
        "variables", evaluate_many(bodies, signers, gate), limits.body_bytes_max, scope="evaluate"
    )
    events = Endpoint(
        "events",
        take_events(services, bodies, signers, gate),
        limits.ingest_body_bytes_max,
        scope="events",
        scan=Scan.LATER,
    )
    return [
        Route(b"/v1/variables", {"POST": many}),
        Route(b"/v1/variables/", {"POST": one}, prefix=True),
        Route(b"/v1/events", {"POST": events}),
    ]


def credentials(headers: Headers) -> bytes:
    """The raw key of `X-API-Key`; a UUID in lower case."""
    return folded(own_header(headers, CREDENTIAL_HEADER, "no X-API-Key"))


def recognises(headers: Headers) -> bool:
    return CREDENTIAL_HEADER in headers


DIALECT: Final = Dialect(
    name=NAME,
    credential_header=CREDENTIAL_HEADER,
    credentials=credentials,
    key_place=KeyPlace(own=CREDENTIAL_HEADER, folded=True),
    recognises=recognises,
    refuse=refuse,
    routes=routes,
    rendering=RENDERING,
    bind=bind,
    units=units,
    whole=whole,
    demo=DEMO,
)
