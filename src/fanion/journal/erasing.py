"""One record without a unit: the same record, as long as it was, with holes where the unit's events stood.

An event is the unit's where any member that can name its unit says so; it becomes null, and the record says that it
has holes. An event of another that only names the unit keeps its place and loses the name. All else stays byte by
byte, and blanks make up for what is shorter, so that every offset, index, seal and checkpoint of the segment holds.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from fanion.errors import JournalError
from fanion.journal.batch import EVENTS_HEADER, HOLES_AT
from fanion.journal.exposures import ATTRIBUTES, DIGEST_BYTES, ERASED, FORM_HOLES, parse_places
from fanion.journal.log_segment import KIND_EXPOSURES
from fanion.model.canonical import Canonical
from fanion.model.forgotten import Forms

WHOLE_AT: Final = 12
ID_BYTES: Final = 16
HOLE: Final = b"null"
NOTHING: Final = b"0"
"""In place of a null that was sent: it is no hole, and reads alike."""
TEXTS: Final = re.compile(rb'("(?:[^"\\]|\\.)*")', re.DOTALL)
NUMBERS: Final = re.compile(rb"[-+.\w]+")


class Rewritten(NamedTuple):
    """`erased`: places of the request whose events are holes now and weren't before; `redacted`: how many events
    of others lost a name."""

    payload: bytes
    erased: tuple[int, ...]
    redacted: int


class _Parts(NamedTuple):
    dialect: str
    ids_at: int
    ids: int
    body_at: int
    whole: bool


def erase(payload: bytes, kind: int, forms: Forms, canonical: Mapping[str, Canonical]) -> Rewritten | None:
    """None: nothing in it is the unit's or names it. JournalError where it can't be rewritten in its length."""
    if not forms.occur_in(payload):
        return None
    parts = _parts(payload)
    if parts is None:
        new: Rewritten | None = Rewritten(bytes(len(payload)), (), 1)
    elif kind == KIND_EXPOSURES:
        new = _erase_exposures(payload, parts, forms)
    else:
        new = _erase_events(payload, parts, forms, canonical)
    return None if new is None or new.payload == payload else new


def find_holes(payload: bytes, kind: int) -> list[int]:
    """Places of the events of a record that were erased, now or earlier."""
    if len(payload) <= HOLES_AT or not payload[HOLES_AT]:
        return []
    parts = _parts(payload)
    if parts is None:
        return []
    body = payload[parts.body_at :]
    try:
        if kind == KIND_EXPOSURES:
            places = parse_places(body)[1]
            return [index for index, place in enumerate(places) if body[place.bits] & ERASED]
        found = _raw_events(body, whole=parts.whole) or []
    except (ValueError, struct.error):
        return []
    return [index for index, raw in enumerate(found) if raw == HOLE]


def _parts(payload: bytes) -> _Parts | None:
    if len(payload) < EVENTS_HEADER.size:
        return None
    dialect, environment, dispositions, ids, whole = EVENTS_HEADER.unpack_from(payload)
    at = EVENTS_HEADER.size + dialect
    ids_at = at + environment + dispositions
    body_at = ids_at + ids * ID_BYTES
    if body_at > len(payload):
        return None
    name = payload[EVENTS_HEADER.size : at].decode("utf-8", "replace")
    return _Parts(name, ids_at, ids, body_at, bool(whole))


def _erase_events(
    payload: bytes, parts: _Parts, forms: Forms, canonical: Mapping[str, Canonical]
) -> Rewritten | None:
    body = payload[parts.body_at :]
    try:
        _check(body)
        events = _raw_events(body, whole=parts.whole)
    except ValueError:
        return Rewritten(payload[: parts.body_at] + b" " * len(body), (), 1)  # no JSON before, none now
    single = events is None
    erased, redacted, kept = [], 0, []
    for index, raw in enumerate([body] if events is None else events):
        if not forms.occur_in(raw):
            kept.append(raw)
        elif _is_units(raw, canonical.get(parts.dialect), forms):
            erased.append(index)
            kept.append(HOLE)
        else:
            kept.append(redact_json(raw, forms))
            redacted += kept[-1] != raw
    beside = not single and parts.whole and _names_beside(body, forms)
    if not (erased or redacted or beside):
        return None
    head = bytearray(payload[: parts.body_at])
    for index in erased:
        if index < parts.ids:
            at = parts.ids_at + index * ID_BYTES
            head[at : at + ID_BYTES] = bytes(ID_BYTES)
    if erased and not head[HOLES_AT]:
        head[HOLES_AT] = 1
        kept = [NOTHING if raw == HOLE and index not in erased else raw for index, raw in enumerate(kept)]
    if single and not erased:
        text, end = kept[0], b""
    else:
        head[WHOLE_AT] = 0
        text, end = b"[" + b",".join(kept), b"]"
    blanks = len(body) - len(text) - len(end)
    if blanks < 0:
        raise JournalError("a record would be longer without the unit than with it")
    return Rewritten(bytes(head) + text + b" " * blanks + end, tuple(erased), redacted)


def _names_beside(body: bytes, forms: Forms) -> bool:
    """Whether members beside the events name the unit."""
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        return False
    except msgspec.DecodeError:
        return True
    return any(
        forms.occur_in(name.encode("utf-8", "replace")) or forms.occur_in(bytes(raw))
        for name, raw in members.items()
        if name != "events"
    )


def _check(body: bytes) -> None:
    """ValueError for a body that readers can't read: it stays one, whatever leaves it."""
    try:
        msgspec.json.decode(body)
    except msgspec.DecodeError:
        try:
            json.loads(body)
        except RecursionError as error:
            raise ValueError(str(error)) from None


def _raw_events(body: bytes, *, whole: bool) -> list[bytes] | None:
    """Each event's own bytes, as `event.split_events` finds them; None: the body is one event. ValueError for
    a body that is no JSON."""
    try:
        return [bytes(raw) for raw in msgspec.json.decode(body, type=list[msgspec.Raw])]
    except msgspec.ValidationError:
        pass
    except msgspec.DecodeError:
        return _loose_events(body, whole=whole)
    if not whole:
        return None
    try:
        raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw]).get("events")
        return (
            None if raw is None else [bytes(one) for one in msgspec.json.decode(raw, type=list[msgspec.Raw])]
        )
    except msgspec.ValidationError:
        return None
    except msgspec.DecodeError:
        return _loose_events(body, whole=whole)


def _loose_events(body: bytes, *, whole: bool) -> list[bytes] | None:
    """Of what only Python's reader takes for JSON. ValueError also where it is nested too deeply to be read."""
    try:
        document = json.loads(body)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    if whole and isinstance(document, dict):
        document = document.get("events")
    if not isinstance(document, list):
        return None
    return [
        json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
        for event in document
    ]


def _is_units(raw: bytes, form: Canonical | None, forms: Forms) -> bool:
    try:
        event = json.loads(raw)
    except (ValueError, RecursionError):
        return False
    if form is None or not isinstance(event, dict):
        return False
    if forms.is_unit(form.fields(event).get("unit")):
        return True
    shape = form.rows
    members = [member.path for member in shape.members if member.column == "unit"]
    if any(forms.is_unit(_at(event, path)) for path in members):
        return True
    sent = event.get(shape.parts) if shape.parts else None
    within = [member.path for member in shape.part_members if member.column == "unit"]
    named = [part for part in sent if isinstance(part, dict)] if isinstance(sent, list) else []
    return any(forms.is_unit(_at(part, path)) for part in named for path in within)


def _at(holder: dict[str, object], path: str) -> object:
    outer, _, inner = path.partition(".")
    value = holder.get(outer)
    if inner:
        return value.get(inner) if isinstance(value, dict) else None
    return value


def redact_json(raw: bytes, forms: Forms) -> bytes:
    """JSON whose texts, names of members and numbers don't name the unit; never longer."""
    pieces = TEXTS.split(raw)
    for number, piece in enumerate(pieces):
        pieces[number] = _redact_text(piece, forms) if number % 2 else _redact_numbers(piece, forms)
    return b"".join(pieces)


def _redact_text(piece: bytes, forms: Forms) -> bytes:
    if not forms.occur_in(piece):
        return piece
    try:
        text = json.loads(piece)
    except ValueError:  # halves of characters
        return b'""'
    found = forms.redact(text)
    return (
        piece if found == text else json.dumps(found, ensure_ascii=False).encode("utf-8", "backslashreplace")
    )


def _redact_numbers(piece: bytes, forms: Forms) -> bytes:
    if not forms.occur_in(piece):
        return piece
    return NUMBERS.sub(
        lambda match: HOLE if forms.redact(match[0].decode()) != match[0].decode() else match[0], piece
    )


def _erase_exposures(payload: bytes, parts: _Parts, forms: Forms) -> Rewritten | None:
    body = bytearray(payload[parts.body_at :])
    try:
        _, places = parse_places(bytes(body))
    except (ValueError, struct.error):
        return Rewritten(payload[: parts.body_at] + bytes(len(body)), (), 1)
    erased, redacted, holes = [], 0, payload[HOLES_AT] != 0
    for index, place in enumerate(places):
        at, end = place.attributes, place.attributes_end
        if place.said.unit in forms.digests:
            if place.unit >= 0:
                body[place.unit : place.unit + DIGEST_BYTES] = bytes(DIGEST_BYTES)
            body[place.bits] |= ERASED
            if body[place.bits] & ATTRIBUTES:
                body[at:end] = b" " * (end - at)
            erased.append(index)
        elif at < end and forms.occur_in(bytes(body[at:end])):
            found = redact_json(bytes(body[at:end]), forms)
            redacted += found != body[at:end]
            body[at:end] = found.ljust(end - at)
    if not (erased or redacted):
        return None
    head = bytearray(payload[: parts.body_at])
    if erased and not holes:
        head[HOLES_AT], body[0] = 1, FORM_HOLES
    return Rewritten(bytes(head + body), tuple(erased), redacted)
