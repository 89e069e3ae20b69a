"""What Traffical's endpoints keep at hand of one mapped environment, and which requests belong to it (2, 3.3)."""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

import msgspec

from fanion._core.overlay import Overlay
from fanion.dialects.traffical.emit import FIELDS, NAME, NATIVE, RECORD, VERSION
from fanion.dialects.traffical.event_schema import EventSchemas
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import Headers
from fanion.dialects.wire.services import Snapshot
from fanion.model.api_key import KeyRecord

CONFIG: Final = "traffical.config"
UNIT_KEY: Final = "userId"
"""The unit of an environment that has native flags only."""


class Edge(NamedTuple):
    """An edge policy: its decision, its allocations' names (None: dynamic)."""

    decision: int
    names: list[str] | None


class Served:
    """One environment of one generation. `config` None: it has no Traffical bundle, native flags only."""

    __slots__ = (
        "bundle",
        "config",
        "edges",
        "environment",
        "etag",
        "events",
        "fields",
        "has_native",
        "organisation",
        "overlay",
        "own",
        "project",
        "refresh_ms",
        "scope",
        "tail",
        "unit_key",
        "unit_slot",
        "version",
    )

    def __init__(self, bundle: Any, table: int) -> None:
        ids = bundle.identifiers[NAME]
        self.bundle = bundle
        self.overlay = Overlay(bundle, table)
        self.organisation: str = ids.get("organisation", "")
        self.project: str = ids.get("project", "")
        self.environment: str = ids.get("environment", bundle.environment)
        self.own = self.organisation.encode(), self.project.encode(), self.environment.encode()
        self.scope = f"{NAME}/{self.organisation}/{self.project}".encode()
        self.fields: list[list[str]] = msgspec.json.decode(bundle.document(FIELDS))
        self.config: bytes | None = bundle.document(CONFIG)
        self.etag = b""
        if self.config is not None:
            self.etag = b'"%b"' % hashlib.sha256(self.config).hexdigest()[:32].encode()
        text = bundle.document(RECORD)
        record: dict[str, Any] = {} if text is None else msgspec.json.decode(text)
        self.version: str = record.get("version") or msgspec.json.decode(bundle.document(VERSION))
        self.unit_key: str = record.get("unitKey", UNIT_KEY)
        self.unit_slot: int = record.get("unitSlot", -1)
        self.refresh_ms: float | None = record.get("suggestedRefreshMs")
        self.edges = {
            policy: Edge(edge["decision"], edge["names"]) for policy, edge in record.get("edges", {}).items()
        }
        self.events = EventSchemas(record.get("events", {}))
        self.has_native: bool = msgspec.json.decode(bundle.document(NATIVE))
        version = msgspec.json.encode(self.version)
        self.tail = b'],"stateVersion":%b,"bundleVersion":%b' % (version, version)
        if self.refresh_ms is not None:
            self.tail += b',"suggestedRefreshMs":%b' % msgspec.json.encode(number(self.refresh_ms))
        self.tail += b"}"


def number(value: float) -> float | int:
    """Whole numbers without a fraction, as clients that want an integer read them."""
    return int(value) if value.is_integer() else value


def bind(bundle: Any) -> Served | None:
    table = bundle.table(NAME)
    return Served(bundle, table) if table >= 0 and NAME in bundle.identifiers else None


def served(snapshot: Snapshot, record: KeyRecord) -> Served:
    """Raises Fault NOT_FOUND without a bundle, UNKNOWN_KEY where the environment is served through other APIs."""
    view = snapshot.view(record.environment)
    if view is None:
        raise Fault(FaultKind.NOT_FOUND, "Project not found")
    at: Served | None = view.bound[NAME]
    if at is None:
        raise Fault(FaultKind.UNKNOWN_KEY, "The API key's environment is not served through this API.")
    return at


def check_scope(at: Served, body: Any, headers: Headers) -> None:
    """The organisation, project and environment that a request names must be the key's; what it leaves out is."""
    for own, given, header, name in (
        (at.organisation, body.orgId, b"x-org-id", "organisation"),
        (at.project, body.projectId, b"x-project-id", "project"),
        (at.environment, body.env, b"x-env", "environment"),
    ):
        sent = headers.get(header)
        if given is not None:
            same = given == own
        else:
            same = sent is None or sent == own.encode() or not sent
        if not same:
            raise Fault(FaultKind.FORBIDDEN, f"The API key belongs to another {name}")
