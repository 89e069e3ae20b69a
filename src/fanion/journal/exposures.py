"""A record of exposures as values: what one request's evaluations were served, unit by digest (docs/exposures.md).

The body, all integers little-endian: form u8 (1), 1 zero byte, exposures u16, 4 zero bytes, generation u64. Then
each exposure: bits u8 (1 assigned, 2 inside, 4 has a variant, 8 has attributes, 16 the unit is that of the one
before); without bit 16 the unit's kind as a text and its 32 bytes; the run's 16 bytes; the flag; the variant and
the attributes as JSON, where the bits say so. A text is its length u16 and UTF-8. `_core.exposures` writes it,
`_core.rows` makes columns of it natively.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from fanion.errors import JournalError
from fanion.journal.batch import Record

HEAD: Final = struct.Struct("<BxH4xQ")
FORM: Final = 1
ASSIGNED, INSIDE, VARIANT, ATTRIBUTES, SAME_UNIT = 1, 2, 4, 8, 16
DIGEST_BYTES: Final = 32
RUN_BYTES: Final = 16
_LENGTH: Final = struct.Struct("<H")


class Exposure(NamedTuple):
    """`unit`: the digest; `inside`: in one of the split's shares, not beside them."""

    kind: str
    inside: bool
    unit_kind: str
    unit: bytes
    run: bytes
    flag: str
    variant: str | None
    attributes: str | None


def parse_exposures(record: Record) -> tuple[int, list[Exposure]]:
    """The generation that answered, and the exposures. JournalError for a body that isn't of them."""
    try:
        return _parse(record.body)
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        found = f"the exposures of record {record.writer}/{record.sequence} can't be read"
        raise JournalError(f"{found}: {error}") from None


def _parse(body: bytes) -> tuple[int, list[Exposure]]:
    form, count, generation = HEAD.unpack_from(body)
    if form != FORM:
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

    found: list[Exposure] = []
    for _ in range(count):
        (bits,) = take(1)
        if bits & SAME_UNIT:
            if not found:
                raise ValueError("no unit before the first")
            unit_kind, unit = found[-1].unit_kind, found[-1].unit
        else:
            unit_kind, unit = text(), take(DIGEST_BYTES)
        found.append(
            Exposure(
                "assigned" if bits & ASSIGNED else "served",
                bool(bits & INSIDE),
                unit_kind,
                unit,
                take(RUN_BYTES),
                text(),
                text() if bits & VARIANT else None,
                text() if bits & ATTRIBUTES else None,
            )
        )
    if at != len(body):
        raise ValueError(f"{len(body) - at} bytes behind the last")
    return generation, found
