"""A record of exposures as values: what one request's evaluations were served, unit by digest (docs/exposures.md).

The body, all integers little-endian: form u8 (1 or 2), 1 zero byte, exposures u16, 4 zero bytes, generation u64.
Then each exposure: bits u8 (1 assigned, 2 inside, 4 has a variant, 8 has attributes, 16 the unit is that of the
one before, 32, in form 2: erased, its unit zeros and its attributes blanks, 64 the digest is keyed:
`fanion.model.units`); without bit 16 the unit's kind as a text and its 32 bytes; the run's 16 bytes; the flag; the
variant and the attributes as JSON, where the bits say so. A text is its length u16 and UTF-8. `_core.exposures`
writes it, `_core.rows` makes columns of it natively.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from fanion.errors import JournalError
from fanion.journal.batch import Record

HEAD: Final = struct.Struct("<BxH4xQ")
FORM: Final = 1
FORM_HOLES: Final = 2
"""Of a record of which exposures were erased (`erasing`); the native reader leaves it to this one."""
ASSIGNED, INSIDE, VARIANT, ATTRIBUTES, SAME_UNIT, ERASED, KEYED = 1, 2, 4, 8, 16, 32, 64
DIGEST_BYTES: Final = 32
RUN_BYTES: Final = 16
_LENGTH: Final = struct.Struct("<H")


class Exposure(NamedTuple):
    """`unit`: the digest, `keyed` or not; `inside`: in one of the split's shares, not beside them."""

    kind: str
    inside: bool
    unit_kind: str
    unit: bytes
    run: bytes
    flag: str
    variant: str | None
    attributes: str | None
    keyed: bool = False


class Place(NamedTuple):
    """An exposure in its body: where its bits, unit and attributes stand; `unit` -1: that of the one before."""

    bits: int
    unit: int
    attributes: int
    attributes_end: int
    said: Exposure


def parse_exposures(record: Record) -> tuple[int, list[Exposure | None]]:
    """The generation that answered, and the exposures, None for one that was erased. JournalError for a body that
    isn't of them."""
    try:
        generation, places = parse_places(record.body)
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        found = f"the exposures of record {record.writer}/{record.sequence} can't be read"
        raise JournalError(f"{found}: {error}") from None
    erased = record.body[0] == FORM_HOLES
    return generation, [
        None if erased and record.body[place.bits] & ERASED else place.said for place in places
    ]


def parse_places(body: bytes) -> tuple[int, list[Place]]:
    """Raises ValueError, struct.error."""
    form, count, generation = HEAD.unpack_from(body)
    if form not in (FORM, FORM_HOLES):
        raise ValueError(f"form {form}")
    at = HEAD.size

    def take(size: int) -> bytes:
        nonlocal at
        if at + size > len(body):
            raise ValueError(f"{size} bytes at {at} of {len(body)}")
        at += size
        return body[at - size : at]

    def text() -> str:
        return take(_LENGTH.unpack(take(_LENGTH.size))[0]).decode()

    found: list[Place] = []
    for _ in range(count):
        start, unit_at = at, -1
        (bits,) = take(1)
        if bits & SAME_UNIT:
            if not found:
                raise ValueError("no unit before the first")
            unit_kind, unit = found[-1].said.unit_kind, found[-1].said.unit
        else:
            unit_kind = text()
            unit_at, unit = at, take(DIGEST_BYTES)
        run, flag = take(RUN_BYTES), text()
        variant = text() if bits & VARIANT else None
        behind = at + _LENGTH.size
        attributes = text() if bits & ATTRIBUTES else None
        kind = "assigned" if bits & ASSIGNED else "served"
        inside, keyed = bool(bits & INSIDE), bool(bits & KEYED)
        said = Exposure(kind, inside, unit_kind, unit, run, flag, variant, attributes, keyed)
        found.append(Place(start, unit_at, behind if bits & ATTRIBUTES else at, at, said))
    if at != len(body):
        raise ValueError(f"{len(body) - at} bytes behind the last")
    return generation, found
