"""The canonical event: what a record's events mean, in one struct for all dialects.

Expansion happens when the journal is read, never when it is written: a record keeps the events' bytes as they
came. `expand` gives each event of a record its index in the request, its disposition and its canonical form.
Fields that an API has no word for stay None; everything as it was sent is in `source`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from fanion.errors import JournalError
from fanion.journal.reader import Record

DISPOSITIONS = ("kept", "verified", "duplicate")


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event. Times are ISO 8601 text; `sent_at` is the client's word, `received_at` the server's."""

    kind: Literal["evaluation", "exposure", "decision", "metric"]
    environment: str
    received_at: str
    sent_at: str | None = None
    unit: str | None = None
    """The subject: a user id or its hash, a unit key, "type:key"."""
    flag_key: str | None = None
    variant: str | None = None
    metric: str | None = None
    value: Any = None
    reason: str | None = None
    dialect: str = ""
    disposition: str = "kept"
    source: Any = None


class Expanded(msgspec.Struct, frozen=True):
    """An event and where it stands: (writer, epoch, sequence, index) is its identity."""

    writer: int
    epoch: int
    sequence: int
    index: int
    event: Event


Fields = dict[str, Any]


def iso_from_ns(ns: int) -> str:
    """ISO 8601 in UTC with microseconds; times that no calendar has become plain nanoseconds."""
    try:
        return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"{ns} ns"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _feather(event: Fields) -> Fields:
    """contracts/feather.md 1.5: evaluations, the subject only as hashes."""
    return {
        "kind": "evaluation",
        "sent_at": _text(event.get("evaluatedAt")),
        "unit": _text(event.get("userIdHash")) or _text(event.get("anonymousIdHash")),
        "flag_key": _text(event.get("flagKey")),
        "value": event.get("value"),
        "reason": _text(event.get("reason")),
    }


def _redpennon(event: Fields) -> Fields:
    """contracts/redpennon.md 4: metrics tied to a variable's variation; the subject is a user's id, else e-mail."""
    user = event.get("user")
    user = user if isinstance(user, dict) else {}
    return {
        "kind": "metric",
        "sent_at": _text(event.get("occurred_at")),
        "unit": _text(user.get("id")) or _text(user.get("email")),
        "flag_key": _text(event.get("variable")),
        "variant": _text(event.get("variation")),
        "metric": _text(event.get("event")),
        "value": _number(event.get("value")),
    }


def _traffical(event: Fields) -> Fields:
    """contracts/traffical.md 6.2: exposures and decisions name allocations per layer, tracks name an event."""
    kind = event.get("type")
    fields: Fields = {
        "kind": kind if kind in ("exposure", "decision") else "metric",
        "sent_at": _text(event.get("eventTimestamp")) or _text(event.get("timestamp")),
        "unit": _text(event.get("unitKey")),
    }
    if kind == "track":
        return fields | {"metric": _text(event.get("event")), "value": _number(event.get("value"))}
    layers = event.get("layers")
    layers = [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []
    named = [layer for layer in layers if _text(layer.get("policyId"))]
    if len(named) == 1:
        fields["flag_key"] = _text(named[0].get("policyKey")) or named[0]["policyId"]
        fields["variant"] = _text(named[0].get("allocationName"))
    return fields | {"value": event.get("assignments")}


def _stitchd(event: Fields) -> Fields:
    """contracts/stitchd.md 1: metrics of a context; a missing time is the server's."""
    sent = event.get("timestamp_ms")
    context = _text(event.get("context_type")), _text(event.get("context_key"))
    return {
        "kind": "metric",
        "sent_at": iso_from_ns(sent * 1_000_000) if isinstance(sent, int) else None,
        "unit": f"{context[0]}:{context[1]}" if all(part is not None for part in context) else None,
        "metric": _text(event.get("metric_key")),
        "value": event.get("value"),
    }


EXPANSIONS: dict[str, Callable[[Fields], Fields]] = {
    "feather": _feather,
    "redpennon": _redpennon,
    "traffical": _traffical,
    "stitchd": _stitchd,
}


def _decoded(body: bytes) -> Any:
    """A number beyond a double, in a member that its API ignores, must not hide a whole batch: it reads as
    infinite, which is null when written as JSON. ValueError where the body is no JSON."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return json.loads(body)


def split_events(record: Record) -> list[Any]:
    """The record's events as sent. A whole body is `{"events": [...]}` or one bare event object; else an array."""
    try:
        document = _decoded(record.body)
    except (ValueError, RecursionError) as error:
        raise JournalError(
            f"the body of record {record.writer}/{record.sequence} is not JSON: {error}"
        ) from None
    if record.whole and isinstance(document, dict):
        events = document.get("events")
        return events if isinstance(events, list) else [document]
    return document if isinstance(document, list) else [document]


def expand(record: Record) -> Iterator[Expanded]:
    """The record's events, in the order of the request. JournalError for a dialect that nobody knows."""
    lower = EXPANSIONS.get(record.dialect)
    if lower is None:
        known = ", ".join(EXPANSIONS)
        raise JournalError(
            f"record {record.writer}/{record.sequence}: dialect {record.dialect!r}; known: {known}"
        )
    received_at = iso_from_ns(record.received_ns)
    for index, sent in enumerate(split_events(record)):
        code = record.dispositions[index] if index < len(record.dispositions) else 0
        fields: Fields = lower(sent) if isinstance(sent, dict) else {"kind": "metric"}
        if fields.get("sent_at") is None:
            fields["sent_at"] = received_at if record.dialect in ("redpennon", "stitchd") else None
        event = Event(
            environment=record.environment,
            received_at=received_at,
            dialect=record.dialect,
            disposition=DISPOSITIONS[code] if code < len(DISPOSITIONS) else str(code),
            source=sent,
            **fields,
        )
        yield Expanded(record.writer, record.epoch, record.sequence, index, event)
