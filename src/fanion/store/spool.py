"""Members of a list on their way to the store: read whole, from however slow a source, before a lock is taken.

The first `MEMBERS_IN_MEMORY` are held, more go to one unnamed scratch file in the store's directory. What can't be
read is said before anything has changed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import msgspec

from fanion.store.database import store_path

MEMBERS_IN_MEMORY = 100_000
MEMBERS_AT_ONCE = 10_000

Progress = Callable[[str, int], None] | None


class Spool:
    """Iterable as often as wanted until closed; repetitions are kept. Raises what the source raises."""

    def __init__(self, directory: Path, members: Iterable[bytes], progress: Progress = None) -> None:
        """`directory`: the data directory."""
        self._held: list[list[bytes]] = []
        self._frames: list[int] = []
        self._file: IO[bytes] | None = None
        try:
            self._read(directory, iter(members), progress)
        except BaseException:
            self.close()
            raise

    def _read(self, directory: Path, rest: Iterator[bytes], progress: Progress) -> None:
        while chunk := list(islice(rest, MEMBERS_AT_ONCE)):
            if progress is not None:
                progress("list members", len(chunk))
            if len(self._held) * MEMBERS_AT_ONCE < MEMBERS_IN_MEMORY:
                self._held.append(chunk)
                continue
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=store_path(directory))  # noqa: SIM115 - closed in close()
            frame = msgspec.msgpack.encode(chunk)
            self._file.write(frame)
            self._frames.append(len(frame))

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._held:
            yield from chunk
        if self._file is not None:
            self._file.seek(0)
            for size in self._frames:
                yield from msgspec.msgpack.decode(self._file.read(size), type=list[bytes])

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
