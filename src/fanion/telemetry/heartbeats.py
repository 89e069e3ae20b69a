"""Heartbeats: what each process of a server says of itself, in memory that the supervisor makes before it forks.

One row a process, in an anonymous shared map, so there is no file to be found damaged or of another shape:

    beat       8 bytes   CLOCK_MONOTONIC in ns when it last turned its event loop; 0 before the first time
    length     4 bytes   of the standing
    checksum   4 bytes   CRC-32 of the standing
    standing             JSON: pid, reasons, notes, generation, leaving

Writer of a row: its process; the supervisor before it is forked and after it has ended. Readers: the supervisor and
the operations process, at any time. The beat is one aligned word. A standing that is read while it is written, or
that a killed writer left half written, doesn't match its checksum: it is read again, and in the end not believed.
"""

from __future__ import annotations

import mmap
import struct
import time
import zlib
from collections.abc import Sequence

import msgspec

from fanion.model.json_value import UNREADABLE

ROW_BYTES = 32_768
HEAD = struct.Struct("<II")
HEAD_AT = 8
TEXT_AT = HEAD_AT + HEAD.size
LINES_MAX = 8
LINE_CHARACTERS_MAX = 300
"""Of one reason or note; as JSON that many lines come to less than a row, whatever is in them."""
READ_TRIES = 100
BEAT_S = 60.0
"""How seldom one beside the workers may beat that has nothing to do but to wait."""


class Standing(msgspec.Struct, frozen=True):
    """What a process says of itself. `reasons`: why it should get no requests, empty when it is ready; `notes`:
    what an operator should look at although requests are served; `leaving`: it is about to end."""

    pid: int = 0
    reasons: tuple[str, ...] = ("starting",)
    notes: tuple[str, ...] = ()
    generation: int = 0
    leaving: bool = False

    @property
    def ready(self) -> bool:
        return not self.reasons


_decode = msgspec.json.Decoder(Standing).decode


class Heartbeat:
    """One row."""

    def __init__(self, row: memoryview) -> None:
        self._row = row
        self._beat = row[:8].cast("Q")

    def beat(self) -> None:
        """This process goes on."""
        self._beat[0] = time.monotonic_ns()

    @property
    def beat_ns(self) -> int:
        return self._beat[0]

    def clear(self, standing: Standing) -> None:
        """The supervisor's: the row's process isn't there (yet, or any more)."""
        self._beat[0] = 0
        self.say(standing)

    def say(self, standing: Standing) -> None:
        short = msgspec.structs.replace(
            standing, reasons=_shorten(standing.reasons), notes=_shorten(standing.notes)
        )
        text = msgspec.json.encode(short)
        HEAD.pack_into(self._row, HEAD_AT, len(text), zlib.crc32(text))
        self._row[TEXT_AT : TEXT_AT + len(text)] = text

    def standing(self) -> Standing | None:
        """What was said last; None when a process ended while it spoke."""
        for _ in range(READ_TRIES):
            length, checksum = HEAD.unpack_from(self._row, HEAD_AT)
            text = bytes(self._row[TEXT_AT : TEXT_AT + length])
            if zlib.crc32(text) == checksum:
                try:
                    return _decode(text)
                except UNREADABLE:
                    pass
        return None


class Heartbeats:
    """The rows of one server; made before the first fork."""

    def __init__(self, rows: int) -> None:
        self._map = mmap.mmap(-1, rows * ROW_BYTES)
        view = memoryview(self._map)
        self.rows = [Heartbeat(view[at : at + ROW_BYTES]) for at in range(0, len(view), ROW_BYTES)]
        for row in self.rows:
            row.say(Standing())


def _shorten(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(line[:LINE_CHARACTERS_MAX] for line in lines[:LINES_MAX])
