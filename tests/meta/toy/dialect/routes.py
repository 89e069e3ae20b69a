"""A toy's endpoints: `/v1/ask` answers one flag, `/v1/tell` keeps one event."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Final, TypeVar

import msgspec
from fanion.dialects.toy.rendering import RENDERING
from fanion.dialects.toy.words import NAME, ToySettings

from fanion._core.evaluate import Bundle
from fanion.dialects.wire.bodies import REFUSED
from fanion.dialects.wire.bound import finder
from fanion.dialects.wire.credentials import own_header
from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.endpoint import Endpoint, Handler, Route
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.ingest import Ingest
from fanion.dialects.wire.reply import JSON_NO_STORE, Head, Headers, Reply, with_fault
from fanion.dialects.wire.services import Services, Snapshot
from fanion.model.api_key import KeyRecord

CREDENTIAL_HEADER: Final = b"x-toy"
OK: Final = Head(200, JSON_NO_STORE)
ACCEPTED: Final = Head(202, JSON_NO_STORE)

T = TypeVar("T")


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    flag: str
    who: str


class Served:
    """What is at hand of a mapped environment."""

    __slots__ = ("bundle", "table")

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.table = bundle.table(NAME)


def bind(bundle: Bundle) -> Served | None:
    return Served(bundle) if bundle.table(NAME) >= 0 else None


def _unserved() -> Fault:
    return Fault(FaultKind.OVERLOADED, "the environment is not served now", retry_after_s=1)


served = finder(NAME, Served, _unserved)


def refuse(fault: Fault) -> Reply:
    return Head(fault.kind.status, with_fault(JSON_NO_STORE, fault)), msgspec.json.encode(
        {"no": fault.message}
    )


def reading(kind: type[T], body: bytes) -> T:
    """A body of known members alone can't nest deeper or hold more than its type says."""
    try:
        return msgspec.json.decode(body, type=kind)
    except REFUSED as error:
        raise Fault(FaultKind.INVALID_SHAPE, str(error)) from None


def ask(services: Services) -> Handler:
    suffix = b',"greeting":%b}' % msgspec.json.encode(services.config.of(ToySettings).greeting)

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        at, asked = served(snapshot, record), reading(Ask, body)
        client = record.kind == "client"
        members = {"userId": asked.who}
        return OK, at.bundle.put_one(at.table, asked.flag, client, members, {}, None, b"{", suffix)

    return handler


def tell(services: Services) -> Handler:
    keep = Ingest(services, NAME).keep

    def handler(
        snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers
    ) -> Reply | Awaitable[Reply]:
        reading(Ask, body)  # closed, so no member `events` can make a batch of the whole body
        return keep(record.environment, time.time_ns(), body, (ACCEPTED, b"{}"), whole=True)

    return handler


def routes(services: Services) -> list[Route]:
    limits = services.config.limits
    return [
        Route(b"/v1/ask", {"POST": Endpoint("ask", ask(services), limits.body_bytes_max, scope="ask")}),
        Route(b"/v1/tell", {"POST": Endpoint("tell", tell(services), limits.body_bytes_max, scope="tell")}),
    ]


def credentials(headers: Headers) -> bytes:
    return own_header(headers, CREDENTIAL_HEADER, "no x-toy")


def recognises(headers: Headers) -> bool:
    return CREDENTIAL_HEADER in headers


DIALECT: Final = Dialect(
    name=NAME,
    credential_header=CREDENTIAL_HEADER,
    credentials=credentials,
    recognises=recognises,
    refuse=refuse,
    routes=routes,
    rendering=RENDERING,
    bind=bind,
)
