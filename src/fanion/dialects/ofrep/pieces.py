"""Work on many flags, in pieces: between two of them the event loop answers others.

An environment of ten thousand flags takes tens of milliseconds to answer; a worker that answered nothing else
meanwhile would be late for everybody. Only one such answer is put together at a time, so that a worker holds no
more of them than it is sending.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

PIECE_FLAGS: Final = 128
"""Flags that are answered at a stretch: 2 ms where each has to be found out by its name."""


def cut(sequence: Sequence[T]) -> Iterator[Sequence[T]]:
    """A piece after the other; a short sequence as it is, none of an empty one."""
    if len(sequence) <= PIECE_FLAGS:
        return iter((sequence,) if sequence else ())
    return (sequence[at : at + PIECE_FLAGS] for at in range(0, len(sequence), PIECE_FLAGS))


class Turns:
    """Whose turn it is, in one worker."""

    def __init__(self) -> None:
        self._one = asyncio.Lock()

    async def gather(self, pieces: Iterable[Sequence[bytes]]) -> list[bytes]:
        """Everything that the pieces hold, once it is this request's turn."""
        made: list[bytes] = []
        async with self._one:
            for piece in pieces:
                made += piece
                await asyncio.sleep(0)
        return made
