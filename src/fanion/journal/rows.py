"""A record's rows, one by one: the plain twin of `_core.rows`, which makes columns of whole batches.

A row is an event, or one of its parts, and what the journal knows of it. Identity is (machine, writer, sequence,
index, part); the epoch is the segment's, and recovery may write a record again in a later one. The event's time is
the one that was sent, where that lies within `SENT_AGE_MAX_US` before and `SENT_AHEAD_MAX_US` behind the receipt,
else the time of receipt; `time_from` says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Final

import msgspec

from fanion._core.hash import xxh64
from fanion.errors import JournalError
from fanion.journal.batch import Record
from fanion.journal.event import split_events
from fanion.journal.exposures import Exposure, parse_exposures
from fanion.journal.log_segment import KIND_EXPOSURES
from fanion.model.canonical import (
    DISPOSITIONS,
    DUPLICATE,
    VERIFIED,
    Canonical,
    double,
    microseconds,
    name,
)
from fanion.model.rows import Member, Reads, RowFields, RowShape
from fanion.model.units import KeyOf, keyed_digest, keyed_unit, no_key

SENT_AGE_MAX_US: Final = 7 * 86_400_000_000
SENT_AHEAD_MAX_US: Final = 5 * 60_000_000

INSTANT_US_MIN, INSTANT_US_MAX = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The calendar's years 1 to 9999."""
UNIT: Final = frozenset({"unit", "unit_kind"})
"""Both are the part's or both are the event's."""
SENT, RECEIVED, IMPLAUSIBLE = "sent", "received", "implausible"
IN, OUT = "in", "out"
"""Reasons of exposures: in one of the split's shares, or beside them."""

FlagOf = Callable[[str, str, str], str | None]
"""(dialect, environment, parameter) -> the flag that the parameter belongs to, None where nobody knows."""


class Row(msgspec.Struct, frozen=True):
    """The columns, in their order; docs/rows.md explains them. Times are microseconds since 1970."""

    machine: str
    writer: int
    epoch: int
    sequence: int
    index: int
    part: int
    received_at: int
    event_at: int
    time_from: str
    sent_at: int | None
    environment: str
    dialect: str
    kind: str
    disposition: str
    counts: bool
    verified: bool | None
    event_id: str | None
    unit_kind: str | None
    unit: str | None
    unit_hashed: bool
    flag: str | None
    parameter: str | None
    variant: str | None
    metric: str | None
    value: float | None
    value_text: str | None
    reason: str | None
    run: str | None = None
    generation: int | None = None
    attributes: str | None = None
    unit_key: int | None = None
    event_key: int | None = None


def nobody(dialect: str, environment: str, parameter: str) -> None:
    """A `FlagOf` for readers without a store."""


def expand_rows(
    record: Record,
    machine: str,
    canonical: Mapping[str, Canonical],
    flag_of: FlagOf = nobody,
    key_of: KeyOf = no_key,
) -> Iterator[Row]:
    """The record's rows, in the order of the request. JournalError for a dialect that is not in `canonical` and a
    body that is no JSON."""
    key = key_of(record.environment)
    if record.kind == KIND_EXPOSURES:
        generation, exposures = parse_exposures(record)
        for index, exposure in enumerate(exposures):
            if exposure is not None:
                yield exposure_row(record, machine, index, exposure, generation, key)
        return
    form = canonical.get(record.dialect)
    if form is None:
        known = ", ".join(canonical)
        raise JournalError(
            f"record {record.writer}/{record.sequence}: dialect {record.dialect!r}; known: {known}"
        )
    for index, sent in enumerate(split_events(record)):
        if sent is None and record.holes:
            continue  # erased
        for part, fields in enumerate(parts_of(form.rows, sent)):
            yield row_of(record, machine, form, index, part, fields, flag_of, key)


def row_of(
    record: Record,
    machine: str,
    form: Canonical,
    index: int,
    part: int,
    fields: RowFields,
    flag_of: FlagOf = nobody,
    key: bytes | None = None,
) -> Row:
    """`key`: of the environment's units."""
    code = record.dispositions[index] if index < len(record.dispositions) else 0
    received_us = record.received_ns // 1000
    sent_us = fields.get("sent_us")
    event_us, time_from = received_us, RECEIVED
    if sent_us is not None:
        plausible = received_us - SENT_AGE_MAX_US <= sent_us <= received_us + SENT_AHEAD_MAX_US
        event_us, time_from = (sent_us, SENT) if plausible else (received_us, IMPLAUSIBLE)
    parameter, flag = clean(fields.get("parameter")), clean(fields.get("flag"))
    if form.rows.flags_of is not None and parameter is not None:
        flag = flag_of(record.dialect, record.environment, parameter)
    unit, event_id = clean(fields.get("unit")), clean(fields.get("event_id"))
    unit_hashed = form.rows.units_hashed or fields.get("unit_hashed", False)
    if key is not None and unit is not None:
        unit, unit_hashed = keyed_unit(key, unit, hashed=unit_hashed), True
    return Row(
        machine=machine,
        writer=record.writer,
        epoch=record.epoch,
        sequence=record.sequence,
        index=index,
        part=part,
        received_at=received_us,
        event_at=event_us,
        time_from=time_from,
        sent_at=sent_us,
        environment=record.environment,
        dialect=record.dialect,
        kind=fields["kind"],
        disposition=DISPOSITIONS[code] if code < len(DISPOSITIONS) else str(code),
        counts=code != DUPLICATE,
        verified=code == VERIFIED if form.traced else None,
        event_id=event_id,
        unit_kind=clean(fields.get("unit_kind")),
        unit=unit,
        unit_hashed=unit_hashed,
        flag=flag,
        parameter=parameter,
        variant=clean(fields.get("variant")),
        metric=clean(fields.get("metric")),
        value=fields.get("value"),
        value_text=clean(fields.get("value_text")),
        reason=clean(fields.get("reason")),
        unit_key=None if unit is None else unit_key(unit, hashed=unit_hashed),
        event_key=None if event_id is None else hash_64(event_id),
    )


def exposure_row(
    record: Record, machine: str, index: int, said: Exposure, generation: int, key: bytes | None = None
) -> Row:
    received_us = record.received_ns // 1000
    unit = said.unit if key is None or said.keyed else keyed_digest(key, said.unit)
    return Row(
        machine=machine,
        writer=record.writer,
        epoch=record.epoch,
        sequence=record.sequence,
        index=index,
        part=0,
        received_at=received_us,
        event_at=received_us,
        time_from=RECEIVED,
        sent_at=None,
        environment=record.environment,
        dialect=record.dialect,
        kind=said.kind,
        disposition=DISPOSITIONS[0],
        counts=True,
        verified=None,
        event_id=None,
        unit_kind=said.unit_kind,
        unit=unit.hex(),
        unit_hashed=True,
        flag=said.flag,
        parameter=None,
        variant=said.variant,
        metric=None,
        value=None,
        value_text=None,
        reason=IN if said.inside else OUT,
        run=said.run.hex(),
        generation=generation,
        attributes=said.attributes,
        unit_key=unit_key(unit.hex(), hashed=True),
    )


def parts_of(shape: RowShape, event: object) -> list[RowFields]:
    """An event's rows, at least one. Raises nothing, whatever was sent."""
    if not isinstance(event, dict):
        return [{"kind": "metric"}]
    tag = event.get(shape.tag) if shape.tag else None
    variant = shape.variants.get(tag, shape.other) if isinstance(tag, str) else shape.other
    parts: list[object] = []
    if variant.parts:
        sent = event.get(shape.parts)
        parts = [part for part in sent if isinstance(part, dict)] if isinstance(sent, list) else []
    rows = []
    for part in parts or [{}]:
        row: RowFields = {"kind": variant.kind}
        for holder, members in ((part, shape.part_members), (event, shape.members)):
            assert isinstance(holder, dict)
            said = UNIT & row.keys()
            for member in members:
                column = member.column
                if column not in variant.without and column not in row and not (said and column in UNIT):
                    _fill(row, member, holder)
        rows.append(row)
    return rows


def _fill(row: RowFields, member: Member, holder: dict[str, object]) -> None:
    outer, _, inner = member.path.partition(".")
    value = holder.get(outer)
    if inner:
        value = value.get(inner) if isinstance(value, dict) else None
    column = member.column
    match member.reads:
        case Reads.TEXT | Reads.NAME:
            said = name(value) if member.reads is Reads.NAME else value
            if isinstance(said, str) and said:
                row[column] = said  # type: ignore[literal-required]
                if member.unit_kind is not None:
                    row["unit_kind"] = member.unit_kind
                if member.hashed:
                    row["unit_hashed"] = True
        case Reads.INSTANT:
            sent = microseconds(value)
            if sent is not None:
                row["sent_us"] = sent
        case Reads.MILLISECONDS:
            if type(value) is int and INSTANT_US_MIN <= value * 1000 <= INSTANT_US_MAX:
                row["sent_us"] = value * 1000
        case Reads.NUMBER | Reads.SCALAR:
            _fill_value(row, value, scalar=member.reads is Reads.SCALAR)


def _fill_value(row: RowFields, value: object, *, scalar: bool) -> None:
    if isinstance(value, bool):
        if scalar:
            row["value"], row["value_text"] = float(value), "true" if value else "false"
    elif isinstance(value, int):
        row["value"] = double(value)
    elif isinstance(value, float):
        row["value"] = value
    elif isinstance(value, str) and scalar:
        row["value_text"] = value


def hash_64(text: str) -> int:
    return xxh64(text.encode())


def unit_key(unit: str, *, hashed: bool) -> int:
    """The same of an id and of its digest."""
    return hash_64(unit if hashed else sha256(unit.encode()).hexdigest())


def clean(text: str | None) -> str | None:
    """Halves of surrogate pairs, which no UTF-8 has, read as U+FFFD."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
