"""What stitchd's endpoints keep at hand of one mapped environment, and who may ask for it
(docs/apis/stitchd.md: Keys, Segments).

A key belongs to one environment, and the path names one: another one's is 401, as an unknown key is, so that
nothing is learnt of it. An id that is no UUID, and not the environment's own, is a 400.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

import msgspec

from fanion._core.evaluate import Bundle
from fanion._core.membership import Membership
from fanion.dialects.stitchd.envelope import UNKNOWN_KEY
from fanion.dialects.stitchd.words import NAME
from fanion.dialects.wire.bound import finder
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.path import decode_segment
from fanion.dialects.wire.services import Snapshot
from fanion.dialects.wire.units import CONTEXT, UnitPlace
from fanion.model.api_key import KeyRecord

IDENTITY: Final = "userId"
ANONYMOUS: Final = "anonymousId"
ANONYMOUS_TYPE: Final = "anonymous"


class Segment(msgspec.Struct, frozen=True):
    """A segment as the definitions left it: its decision and which outcome means "member" (-1: none); for a list,
    the names of its two sets by context type, so that it can be asked without the decision."""

    decision: int
    member: int
    lists: dict[str, tuple[str, str]] | None = None


class DefinedEvent(msgspec.Struct, frozen=True):
    """An event as the definitions have it."""

    type: str


class Document(msgspec.Struct, frozen=True):
    segments: dict[str, Segment] = {}


class Served:
    """One environment: its bundle, and its segments and events by key."""

    __slots__ = ("bundle", "environment", "events", "id", "segment_id", "segments", "table")

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.environment = bundle.environment
        self.table = bundle.table(NAME)
        self.id = bundle.identifiers.get(NAME, {}).get("environment", bundle.environment)
        self.segment_id = self.id.encode()
        stored = bundle.document(NAME)
        document = Document() if stored is None else msgspec.json.decode(stored, type=Document)
        native = msgspec.json.decode(bundle.document("segments") or b"{}", type=dict[str, Segment])
        self.segments: Mapping[str, Segment] = native | document.segments
        events = bundle.document("events")
        self.events: dict[str, str] = {
            key: event.type
            for key, event in msgspec.json.decode(events or b"{}", type=dict[str, DefinedEvent]).items()
        }

    def decided(self, segment: Segment, context_type: str) -> Membership:
        """Of a rule segment."""
        name = identity_of(context_type)
        return Membership(self.bundle, segment.decision, segment.member, name, context_type)

    def holder(self, snapshot: Snapshot, key: str, context_type: str) -> Callable[[str], bool]:
        """Tells whether the bare context of a key is a member (docs/apis/stitchd.md: Segments): an error in a rule
        segment is no member. A native segment sees the key as the user's id.

        Raises Fault NOT_FOUND for an unknown segment.
        """
        segment = self.segments.get(key)
        if segment is None:
            raise not_found(key)
        if segment.lists is None:
            return self.decided(segment, context_type).holds
        sets = segment.lists.get(context_type)
        if sets is None:
            return lambda _: False
        within, but = sets
        member, environment = snapshot.member, self.environment

        def holds(context_key: str) -> bool:
            text = context_key.encode()
            return member(environment, within, text) and not member(environment, but, text)

        return holds


def not_found(key: str) -> Fault:
    return Fault(FaultKind.NOT_FOUND, f"segment not found: {key}")


def identity_of(context_type: str) -> str:
    """How a native flag sees a stitchd context's key: as the user's id, whatever the type (an anonymous one's is
    the anonymous id)."""
    return ANONYMOUS if context_type == ANONYMOUS_TYPE else IDENTITY


def members_of(context_type: str, context_key: str) -> dict[str, str]:
    """How it sees the context; its attributes are the flag's attributes."""
    return {identity_of(context_type): context_key}


def units(bundle: Bundle) -> tuple[UnitPlace, ...]:
    """The context's key, without its type, which is the kind."""
    return (UnitPlace(CONTEXT, ANONYMOUS_TYPE, ""),)


def bind(bundle: Bundle) -> Served | None:
    """None where the bundle has no table of ours: a publish makes one for each API that serves the environment."""
    return Served(bundle) if bundle.table(NAME) >= 0 else None


def _unreadable() -> Fault:
    return Fault(FaultKind.OVERLOADED, "the environment can't be read now", retry_after_s=1)


_find = finder(NAME, Served, _unreadable, elsewhere=UNKNOWN_KEY)


def served(snapshot: Snapshot, record: KeyRecord, tail: bytes) -> Served:
    """The environment that the path names, if the key is its. Raises Fault."""
    at = _find(snapshot, record)
    if tail != at.segment_id and _environment_of(tail) != at.id.lower():
        raise Fault(FaultKind.UNKNOWN_KEY, UNKNOWN_KEY)
    return at


def _environment_of(tail: bytes) -> str:
    """A path's environment id, a UUID in any form in lower case. Raises Fault INVALID_SHAPE."""
    text = decode_segment(tail)
    if text is not None and len(text) in (32, 36):
        try:
            return str(UUID(text))
        except ValueError:
            pass
    shown = tail.decode("ascii", "replace")[:80]
    raise Fault(FaultKind.INVALID_SHAPE, f"invalid environment_id: {shown}")
