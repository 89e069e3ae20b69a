"""Request ids and times of day, made ahead of need.

`RequestIds.take` hands out version-4 UUIDs from a pool drawn from the system's random source, 256 at a time.
`UtcClock.text` is the current time as ISO 8601 with milliseconds; the text up to the second is made once a
second. Event loop only: neither is safe to share between threads.
"""

from __future__ import annotations

import os
import time

IDS_PER_DRAW = 256
VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The digit that says "RFC 9562 layout", keeping two of its four bits random."""


class RequestIds:
    """A pool of UUIDs as text."""

    __slots__ = ("_pool",)

    def __init__(self) -> None:
        self._pool: list[bytes] = []

    def take(self) -> bytes:
        """36 bytes, e.g. b"9fd3e4bc-5f2a-4ba2-b7f4-8a74054b8132"."""
        if not self._pool:
            self._draw()
        return self._pool.pop()

    def _draw(self) -> None:
        digits = os.urandom(16 * IDS_PER_DRAW).hex()
        self._pool = [
            f"{digits[at : at + 8]}-{digits[at + 8 : at + 12]}-4{digits[at + 13 : at + 16]}"
            f"-{VARIANTS[digits[at + 16]]}{digits[at + 17 : at + 20]}-{digits[at + 20 : at + 32]}".encode()
            for at in range(0, 32 * IDS_PER_DRAW, 32)
        ]


class UtcClock:
    """The time of day as the APIs write it."""

    __slots__ = ("_millisecond", "_second", "_second_text", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._second_text = b""
        self._millisecond = -1
        self._text = b""

    def text(self, now_ns: int | None = None) -> bytes:
        """E.g. b"2026-02-01T10:30:00.123Z"; `now_ns`: Unix time, the current one unless given."""
        millisecond = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
        if millisecond != self._millisecond:
            second, rest = divmod(millisecond, 1000)
            if second != self._second:
                self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second)).encode()
                self._second = second
            self._text = b"%b%03dZ" % (self._second_text, rest)
            self._millisecond = millisecond
        return self._text
