"""stitchd's metric events (docs/apis/stitchd.md: Events, Event times): each is counted or its key is reported
back, in input order.

A rejected event is cut out of what the journal keeps; a batch with nothing left writes nothing. An event
without a time gets the server's: the record says when it came.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Mapping
from itertools import compress
from operator import not_
from typing import Final

import msgspec

from fanion.dialects.stitchd.envelope import ACCEPTED, OVERLOADED
from fanion.dialects.stitchd.schema import Bodies
from fanion.dialects.stitchd.served import served
from fanion.dialects.stitchd.words import NAME
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.ingest import Ingest, echoed
from fanion.dialects.wire.json_bounds import read_all
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Services, Snapshot
from fanion.model.api_key import KeyRecord

BOOL: Final = "bool"
INT: Final = "int"
DOUBLE: Final = "double"
NOTHING: Final = "nothing"
UNTYPED: Final = "untyped"

TAKES: Final[dict[str, frozenset[str]]] = {
    BOOL: frozenset({BOOL}),
    INT: frozenset({INT}),
    DOUBLE: frozenset({DOUBLE}),
    "count": frozenset({NOTHING, INT}),
    "any": frozenset({BOOL, INT, DOUBLE, NOTHING, UNTYPED}),
}
"""Definition type -> the kinds of value that it takes."""
NEVER: Final[frozenset[str]] = frozenset()

SURE_DIGITS: Final = 18
"""An integer of no more digits is within 64 bits."""


def value_kind(raw: bytes) -> str:
    """What JSON text is as an event's value. Raises Fault INVALID_SHAPE for a number that no double can hold."""
    first = raw[:1]
    if first in (b"", b"n"):
        return NOTHING
    if first in (b"t", b"f"):
        return BOOL
    if first == b'"':
        return UNTYPED
    if first in b"[{":
        try:
            read_all(raw)
        except (msgspec.DecodeError, RecursionError):
            raise Fault(FaultKind.INVALID_SHAPE, "value: expected what can be read as JSON") from None
        return UNTYPED
    if len(raw) <= SURE_DIGITS and raw.lstrip(b"-").isdigit():
        return INT
    if raw.lstrip(b"-").isdigit() and -(2**63) <= int(raw) < 2**63:
        return INT
    if not math.isfinite(float(raw)):
        raise Fault(FaultKind.INVALID_SHAPE, "value: expected a number that a double can hold")
    return DOUBLE


def take_one(services: Services, bodies: Bodies) -> Handler:
    keep = Ingest(services, NAME, OVERLOADED).keep

    def handler(
        snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers
    ) -> Reply | Awaitable[Reply]:
        received_ns = time.time_ns()
        at = served(snapshot, record, tail)
        event = bodies.event(body)
        takes = TAKES.get(at.events.get(event.metric_key, ""), NEVER)
        if value_kind(bytes(event.value)) not in takes:
            return _counted(0, [event.metric_key])
        # A list of one: an unknown member called "events" must not make a batch of it.
        return keep(record.environment, received_ns, b"[%b]" % body, _counted(1, []), whole=False)

    return handler


def take_batch(services: Services, bodies: Bodies) -> Handler:
    keep = Ingest(services, NAME, OVERLOADED).keep

    def handler(
        snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers
    ) -> Reply | Awaitable[Reply]:
        received_ns = time.time_ns()
        at = served(snapshot, record, tail)
        judged = bodies.judged(body)
        if judged is None:
            events = bodies.batch(body)
            judged = [event.metric_key for event in events], [bytes(event.value) for event in events]
        keys = judged[0]
        fitting = _Fitting(at.events)
        good = list(map(fitting.__getitem__, zip(*judged, strict=True)))
        rejected = list(compress(keys, map(not_, good))) if False in good else []
        reply = _counted(len(keys) - len(rejected), rejected)
        if len(rejected) == len(keys):
            return reply
        if rejected:
            kept = map(bytes, compress(bodies.cut(body), good))
            return keep(record.environment, received_ns, b"[%b]" % b",".join(kept), reply, whole=False)
        return keep(record.environment, received_ns, body, reply, whole=True)

    return handler


class _Fitting(dict[tuple[str, bytes | None], bool]):
    """Whether a metric takes a value: of one batch, in which most are alike."""

    def __init__(self, types: Mapping[str, str]) -> None:
        super().__init__()
        self._types = types

    def __missing__(self, pair: tuple[str, bytes | None]) -> bool:
        key, value = pair
        fits = value_kind(value or b"") in TAKES.get(self._types.get(key, ""), NEVER)
        self[pair] = fits
        return fits


def _counted(accepted: int, rejected: list[str]) -> Reply:
    if not rejected:
        return ACCEPTED, b'{"accepted_count":%d,"rejected_keys":[]}' % accepted
    return ACCEPTED, b'{"accepted_count":%d,"rejected_keys":%b}' % (
        accepted,
        msgspec.json.encode(echoed(rejected, len)),
    )
