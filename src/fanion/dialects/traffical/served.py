"""What Traffical's endpoints keep at hand of one mapped environment, and which requests belong to it
(docs/apis/traffical.md: Keys and scopes, Resolve)."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from fanion._core.draws import Way
from fanion._core.evaluate import Bundle
from fanion._core.overlay import Overlay
from fanion.dialects.traffical.emit import FIELDS, NATIVE, RECORD, VERSION
from fanion.dialects.traffical.envelope import COMMON, OK
from fanion.dialects.traffical.event_schema import EventRule, EventSchemas
from fanion.dialects.traffical.schema import LISTED, Place
from fanion.dialects.traffical.words import NAME
from fanion.dialects.wire.bound import document_of, finder
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import Head, Headers
from fanion.dialects.wire.units import ATTRIBUTE, UnitPlace

CONFIG: Final = "traffical.config"
CACHE_CONTROL: Final = b"public, max-age=60, must-revalidate"
UNIT_KEY: Final = "userId"
"""The unit of an environment that has native flags only."""


class Edge(msgspec.Struct, frozen=True):
    """An edge policy: its decision, its allocations' names (None: dynamic)."""

    decision: int
    names: list[str] | None


class Record(msgspec.Struct, frozen=True, rename="camel"):
    """What the definitions say to this dialect; the defaults are those of an environment with native flags only."""

    version: str = ""
    unit_key: str = UNIT_KEY
    unit_slot: int = -1
    suggested_refresh_ms: float | None = None
    edges: dict[str, Edge] = {}
    events: dict[str, EventRule] = {}


class Served:
    """One environment of one generation. `config` None: it has no Traffical bundle, native flags only."""

    __slots__ = (
        "bundle",
        "config",
        "config_head",
        "edges",
        "environment",
        "etag",
        "events",
        "fields",
        "has_native",
        "ids_scope",
        "lists",
        "organisation",
        "overlay",
        "own",
        "project",
        "refresh_ms",
        "tail",
        "unchanged_head",
        "unit_key",
        "unit_slot",
        "version",
        "ways",
    )

    def __init__(self, bundle: Bundle, table: int) -> None:
        ids = bundle.identifiers[NAME]
        self.bundle = bundle
        self.overlay = Overlay(bundle, table)
        self.lists = LISTED.open(bundle, table)
        self.organisation = ids.get("organisation", "")
        self.project = ids.get("project", "")
        self.environment = ids.get("environment", bundle.environment)
        self.own = self.organisation.encode(), self.project.encode(), self.environment.encode()
        self.ids_scope = f"{NAME}/{self.organisation}/{self.project}".encode()
        self.fields: list[list[str]] = msgspec.json.decode(document_of(bundle, FIELDS))
        self.config = bundle.document(CONFIG)
        record = record_of(bundle)
        self.version: str = record.version or msgspec.json.decode(document_of(bundle, VERSION))
        self.unit_key = record.unit_key
        self.unit_slot = record.unit_slot
        self.refresh_ms = record.suggested_refresh_ms
        self.edges = record.edges
        self.ways: dict[str, Way] | None = None
        """Of each edge policy; `decide` makes them when it is first asked."""
        self.events = EventSchemas(record.events)
        self.has_native: bool = msgspec.json.decode(document_of(bundle, NATIVE))
        self.etag = b""
        self.config_head = self.unchanged_head = OK
        """Heads of the config, and of the answer that the caller has it."""
        if self.config is not None:
            self.etag = b'"%b"' % hashlib.sha256(self.config).hexdigest()[:32].encode()
            self.config_head, self.unchanged_head = config_heads(self.etag, self.refresh_ms)
        version = msgspec.json.encode(self.version)
        self.tail = b'],"stateVersion":%b,"bundleVersion":%b' % (version, version)
        if self.refresh_ms is not None:
            self.tail += b',"suggestedRefreshMs":%b' % msgspec.json.encode(number(self.refresh_ms))
        self.tail += b"}"


def config_heads(etag: bytes, refresh_ms: float | None) -> tuple[Head, Head]:
    """200 and 304."""
    shown = [(b"etag", etag), (b"cache-control", CACHE_CONTROL)]
    if refresh_ms is not None:
        shown.append((b"x-suggested-refresh-ms", b"%d" % refresh_ms))
    return Head(200, [*shown, *COMMON]), Head(304, [*shown, *COMMON[1:]])


def number(value: float) -> float | int:
    """Whole numbers without a fraction, as clients that want an integer read them."""
    return int(value) if value.is_integer() else value


def units(bundle: Bundle) -> tuple[UnitPlace, ...]:
    """The project's unit by its key; a layer with another names that itself."""
    unit_key = record_of(bundle).unit_key
    return (UnitPlace(ATTRIBUTE, unit_key, unit_key),)


def record_of(bundle: Bundle) -> Record:
    """What the definitions left for this API."""
    text = bundle.document(RECORD)
    return Record() if text is None else msgspec.json.decode(text, type=Record)


def bind(bundle: Bundle) -> Served | None:
    table = bundle.table(NAME)
    return Served(bundle, table) if table >= 0 else None


def _unknown() -> Fault:
    return Fault(FaultKind.NOT_FOUND, "Project not found")


served = finder(NAME, Served, _unknown)


def check_place(at: Served, place: Place, headers: Headers) -> None:
    """The organisation, project and environment that a request names must be the key's; what it leaves out is."""
    for own, given, header, name in (
        (at.organisation, place.orgId, b"x-org-id", "organisation"),
        (at.project, place.projectId, b"x-project-id", "project"),
        (at.environment, place.env, b"x-env", "environment"),
    ):
        sent = headers.get(header)
        if given is not None:
            same = given == own
        else:
            same = sent is None or sent == own.encode() or not sent
        if not same:
            raise Fault(FaultKind.FORBIDDEN, f"The API key belongs to another {name}")
