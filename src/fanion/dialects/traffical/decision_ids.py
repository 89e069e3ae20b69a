"""Ids of decisions: `dec_` and a ULID, 48 bits of time and 80 random ones in Crockford's alphabet.

The random parts are drawn 256 at a time, the time part is written once a millisecond. Event loop only.
"""

from __future__ import annotations

import base64
import os
import time
from typing import Final

ALPHABET: Final = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
IDS_PER_DRAW: Final = 256
RANDOM_BYTES: Final = 10
RANDOM_CHARS: Final = 16
_CROCKFORD: Final = bytes.maketrans(b"0123456789ABCDEFGHIJKLMNOPQRSTUV", ALPHABET)


class DecisionIds:
    """A pool of ids."""

    __slots__ = ("_millisecond", "_pool", "_time")

    def __init__(self) -> None:
        self._pool: list[bytes] = []
        self._millisecond = -1
        self._time = b""

    def take(self, now_ns: int | None = None) -> bytes:
        """30 bytes, e.g. b"dec_01M7Y3BWW3WC2MWMYFGWEZRTK9"."""
        millisecond = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            digits = (ALPHABET[millisecond >> shift & 31] for shift in range(45, -5, -5))
            self._time = b"dec_" + bytes(digits)
        if not self._pool:
            text = base64.b32hexencode(os.urandom(RANDOM_BYTES * IDS_PER_DRAW)).translate(_CROCKFORD)
            self._pool = [text[at : at + RANDOM_CHARS] for at in range(0, len(text), RANDOM_CHARS)]
        return self._time + self._pool.pop()
