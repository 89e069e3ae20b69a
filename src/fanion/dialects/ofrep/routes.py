"""OFREP's endpoints and credentials (docs/apis/ofrep.md: Routes and keys).

Order: route, method, key, body, shape, governance, flag; of all flags the tag is compared before anything is
evaluated. The protocol's paths begin with this API's own prefix, so the mount below it has the word twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from typing import Final

import msgspec

from fanion.dialects.ofrep.channels import OPEN, PATH, Channels, greeting, notice
from fanion.dialects.ofrep.emit import ManifestFlag, whole
from fanion.dialects.ofrep.envelope import CORS, OK, refuse
from fanion.dialects.ofrep.evaluate import evaluate_all, evaluate_one
from fanion.dialects.ofrep.governed import Gate
from fanion.dialects.ofrep.pieces import Turns, cut
from fanion.dialects.ofrep.rendering import RENDERING
from fanion.dialects.ofrep.schema import Bodies
from fanion.dialects.ofrep.served import bind, served, units
from fanion.dialects.ofrep.words import NAME
from fanion.dialects.wire.credentials import AUTHORIZATION, bearer, folded
from fanion.dialects.wire.dialect import Dialect, KeyPlace
from fanion.dialects.wire.endpoint import Endpoint, Handler, Route, Scan
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Services, Snapshot
from fanion.dialects.wire.stream import StreamEndpoint
from fanion.model.api_key import KeyRecord

API_KEY: Final = b"x-api-key"

DEMO: Final = (
    "curl -s {url}/ofrep/v1/evaluate/flags/checkout-copy -H 'Authorization: Bearer ofrep_demo_server' "
    '-d \'{"context":{"targetingKey":"user_123","country":"DE"}}\''
)


def routes(services: Services) -> list[Route]:
    limits = services.config.limits
    bodies, gate, channels = Bodies(limits), Gate(services), Channels(services, credentials)
    turns = Turns()
    bytes_max = limits.body_bytes_max
    one = Endpoint("flag", evaluate_one(bodies, gate), bytes_max, scope="evaluate", scan=Scan.LATER)
    every = evaluate_all(services, bodies, gate, channels, turns)
    all_flags = Endpoint("flags", every, bytes_max, scope="evaluate", scan=Scan.LATER)
    manifest = Endpoint("manifest", get_manifest(turns), scope="evaluate")
    stream = StreamEndpoint("stream", OPEN, channels.listen, greeting, notice, scope="evaluate")
    return [
        Route(b"/ofrep/v1/evaluate/flags", {"POST": all_flags}),
        Route(b"/ofrep/v1/evaluate/flags/", {"POST": one}, prefix=True),
        Route(b"/openfeature/v0/manifest", {"GET": manifest}),
        Route(PATH, {}, stream=stream),
    ]


def get_manifest(turns: Turns) -> Handler:
    """The flags that the key may see, for the OpenFeature command line (docs/apis/ofrep.md: Manifest)."""

    def handler(
        snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers
    ) -> Awaitable[Reply]:
        flags = served(snapshot, record).manifest()
        return listed(flags, record.kind == "client")

    async def listed(flags: list[ManifestFlag], client: bool) -> Reply:
        return OK, b'{"flags":[%b]}' % b",".join(await turns.gather(written(flags, client)))

    return handler


def written(flags: list[ManifestFlag], client: bool) -> Iterator[list[bytes]]:
    for some in cut(flags):
        yield [msgspec.json.encode(shown(flag)) for flag in some if flag.client_safe or not client]


def shown(flag: ManifestFlag) -> dict[str, object]:
    told = {"description": flag.description} if flag.description else {}
    return {"key": flag.key, "type": flag.type, **told, "defaultValue": flag.default_value}


def credentials(headers: Headers) -> bytes:
    """The raw key: a Bearer one, else that of `X-API-Key`. Raises Fault NO_CREDENTIALS."""
    key = headers.get(API_KEY)
    if key and (key := key.strip()) and headers.get(AUTHORIZATION, b"")[:7].lower() != b"bearer ":
        return folded(key)
    return folded(bearer(headers))


def recognises(headers: Headers) -> bool:
    """Its paths are its own, so no other request looks like one of this API's."""
    return False


DIALECT: Final = Dialect(
    name=NAME,
    credential_header=AUTHORIZATION,
    credentials=credentials,
    key_place=KeyPlace(own=API_KEY, bearer=True, folded=True),
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
