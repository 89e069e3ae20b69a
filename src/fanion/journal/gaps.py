"""What left the journal before a registered reader had read it: written down before it leaves, by segment.

`readers/NAME.gaps` is retention's to write and everybody's to read; whoever has taken note may remove it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

import msgspec

from fanion.errors import JournalError
from fanion.journal.files import random_name
from fanion.journal.reader import READERS_DIRECTORY
from fanion.journal.storage import Storage, read_file, write_all
from fanion.model.json_value import UNREADABLE

NAMED_MAX: Final = 100
"""Segments named, the last ones; all of them are counted."""


class Gap(msgspec.Struct, frozen=True):
    """Records `sequence` to `end_sequence` - 1 of a writer, in a segment that left. `left_unix_s`: when."""

    segment: str
    writer: int
    sequence: int
    end_sequence: int
    left_unix_s: float


class Gaps(msgspec.Struct):
    """Of one reader, over all time."""

    segments: int = 0
    records: int = 0
    last: list[Gap] = []

    def add(self, gap: Gap) -> None:
        """Once: a pass that ended before the segment had left meets it again."""
        known = any(each.segment == gap.segment and each.sequence == gap.sequence for each in self.last)
        if not known:
            self.segments += 1
            self.records += gap.end_sequence - gap.sequence
            self.last = [*self.last[-NAMED_MAX + 1 :], gap]


_decode = msgspec.json.Decoder(Gaps).decode  # once, as threads read too


def load_gaps(storage: Storage, directory: Path, name: str) -> Gaps:
    """Of the journal in `directory`. Raises JournalError."""
    path = _path(directory, name)
    try:
        return _decode(read_file(storage, path))
    except FileNotFoundError:
        return Gaps()
    except UNREADABLE as error:
        raise JournalError(f"{path}: can't be read: {error}; remove it to count anew") from None


def keep_gaps(storage: Storage, directory: Path, name: str, gaps: Gaps) -> None:
    """Synced, then renamed."""
    path = _path(directory, name)
    draft = path.with_name(f"{random_name(storage)}.tmp")
    fd = storage.open(draft, create=True)
    try:
        write_all(storage, fd, msgspec.json.encode(gaps), 0)
        storage.fdatasync(fd)
        storage.rename(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            storage.unlink(draft)
        raise
    finally:
        storage.close(fd)
    storage.sync_directory(path.parent)


def _path(directory: Path, name: str) -> Path:
    return directory / READERS_DIRECTORY / f"{name}.gaps"
