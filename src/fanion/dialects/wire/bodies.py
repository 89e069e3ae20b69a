"""Bodies in two shapes: closed, as clients send them, and open, with members that the API ignores.

A closed decoder knows every member, so what it accepts can't nest deeper or hold more than its types say, and
nothing else is looked at. What it refuses is decoded again with unknown members ignored; then the bounds that
hold for every API have to be looked for in the text itself, and each dialect says how, as each has its own
order of refusals.

The decoders are stricter than the senders in two things, which are mended when a body was refused, never before:
a byte order mark, and text that was cut inside a surrogate pair, which JSON.stringify writes as half of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, Generic, TypeVar

import msgspec

from fanion._core import json_scan

T = TypeVar("T")
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder may raise for a body; text that isn't UTF-8 comes as Python's own error."""
MAP_BYTES_FREE = 32_768
"""A map that fits into this many bytes is cheap to decode whatever its size; above, colons are counted first."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def mended(body: bytes) -> bytes | None:
    """A body without its byte order mark and with U+FFFD for lone surrogates; None where it has neither. One native
    pass, about 1 ns a byte."""
    text = body.removeprefix(BYTE_ORDER_MARK)
    return json_scan.mend(text) or (text if len(text) < len(body) else None)


class Body(ABC, Generic[T]):
    """One kind of body. `closed` and `opened`: the types of its two shapes."""

    def __init__(self, closed: object, opened: object) -> None:
        self.shape = opened
        self.decode_closed: Callable[[bytes], T] = msgspec.json.Decoder(closed).decode
        self.decode_open: Callable[[bytes], T] = msgspec.json.Decoder(opened).decode

    def decode(self, body: bytes) -> T:
        """Raises Fault INVALID_JSON or INVALID_SHAPE, or what `read_open` does."""
        try:
            return self.decode_closed(body)
        except REFUSED:
            return self.read_open(body)

    @abstractmethod
    def read_open(self, body: bytes) -> T:
        """A body that has members which the API ignores, or that is wrong."""
