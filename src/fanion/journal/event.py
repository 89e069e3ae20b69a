"""The canonical event: what a record's events mean, in one struct for all dialects.

Expansion happens when the journal is read, never when it is written: a record keeps the events' bytes as they
came. `expand` gives each event of a record its index in the request, its disposition and its canonical form, for
which whoever reads hands in what each dialect says of its events.
Fields that an API has no word for stay None; everything as it was sent is in `source`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from fanion.errors import JournalError
from fanion.journal.batch import Record
from fanion.journal.exposures import parse_exposures
from fanion.journal.log_segment import KIND_EXPOSURES
from fanion.model.canonical import DISPOSITIONS, VERIFIED, Canonical, Fields, iso_from_ns


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event. Times are ISO 8601 in UTC with microseconds; `sent_at` is the client's word, None where it is no
    time, `received_at` the server's."""

    kind: Literal["evaluation", "exposure", "decision", "metric", "served", "assigned"]
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
    """kept; verified: kept, and its evaluation trace was good; duplicate: its id was there before, so it is not
    to be counted."""
    evaluation_trace_verified: bool | None = None
    """The same for APIs with traces, in Red Pennon's own word; None for the others."""
    source: Any = None


class Expanded(msgspec.Struct, frozen=True):
    """An event and where it stands: (writer, epoch, sequence, index) is its identity."""

    writer: int
    epoch: int
    sequence: int
    index: int
    event: Event


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


def expand(record: Record, canonical: Mapping[str, Canonical]) -> Iterator[Expanded]:
    """The record's events but those that were erased, in the order of the request. `canonical`: dialect -> how its
    events read. JournalError for a dialect that is not among them."""
    if record.kind == KIND_EXPOSURES:
        yield from _exposures(record)
        return
    form = canonical.get(record.dialect)
    if form is None:
        known = ", ".join(canonical)
        raise JournalError(
            f"record {record.writer}/{record.sequence}: dialect {record.dialect!r}; known: {known}"
        )
    received_at = iso_from_ns(record.received_ns)
    for index, sent in enumerate(split_events(record)):
        if sent is None and record.holes:
            continue
        code = record.dispositions[index] if index < len(record.dispositions) else 0
        fields: Fields = form.fields(sent) if isinstance(sent, dict) else {"kind": "metric"}
        if form.sent_when_received and fields.get("sent_at") is None:
            fields["sent_at"] = received_at
        event = Event(
            environment=record.environment,
            received_at=received_at,
            dialect=record.dialect,
            evaluation_trace_verified=code == VERIFIED if form.traced else None,
            disposition=DISPOSITIONS[code] if code < len(DISPOSITIONS) else str(code),
            source=sent,
            **fields,
        )
        yield Expanded(record.writer, record.epoch, record.sequence, index, event)


def _exposures(record: Record) -> Iterator[Expanded]:
    """The server's own; what was served came of no client, so the source is what the record says."""
    generation, exposures = parse_exposures(record)
    for index, said in enumerate(exposures):
        if said is None:
            continue
        source: dict[str, Any] = {
            "unit_kind": said.unit_kind,
            "run": said.run.hex(),
            "generation": generation,
        }
        if said.attributes is not None:
            source["attributes"] = _decoded(said.attributes.encode())
        event = Event(
            kind="assigned" if said.kind == "assigned" else "served",
            environment=record.environment,
            received_at=iso_from_ns(record.received_ns),
            unit=said.unit.hex(),
            flag_key=said.flag,
            variant=said.variant,
            reason="in" if said.inside else "out",
            dialect=record.dialect,
            source=source,
        )
        yield Expanded(record.writer, record.epoch, record.sequence, index, event)
