"""What left the journal before a registered reader had read it: written down before it leaves, by segment.

`readers/NAME.gaps` is retention's to write and everybody's to read; whoever has taken note may remove it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from fanion.errors import DamagedFileError, JournalError
from fanion.journal.reader import READERS_DIRECTORY
from fanion.journal.storage import Storage
from fanion.small_files import read_document, replace_file, sealed

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
        return read_document(storage, path, _decode)
    except FileNotFoundError:
        return Gaps()
    except DamagedFileError as error:
        raise JournalError(f"{path}: can't be read: {error}; remove it to count anew") from None


def keep_gaps(storage: Storage, directory: Path, name: str, gaps: Gaps) -> None:
    replace_file(storage, _path(directory, name), sealed(msgspec.json.encode(gaps)))


def _path(directory: Path, name: str) -> Path:
    return directory / READERS_DIRECTORY / f"{name}.gaps"
