"""What counts of the rows' directory, in one file that is only ever renamed into place."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from fanion.errors import DamagedFileError, RowsError
from fanion.journal.reader import Checkpoint
from fanion.journal.storage import Storage
from fanion.small_files import read_document, replace_file, sealed

NAME: Final = "manifest.json"
VERSION: Final = 1


class File(msgspec.Struct, frozen=True):
    """A file that counts. `day`: of receipt, since 1970. `keyed`: all of it has the keys of units and events, which
    files of an older version have not."""

    name: str
    environment: str
    day: int
    rows: int
    bytes: int
    keyed: bool = False


class Leaving(msgspec.Struct, frozen=True):
    """A file that counts no more and is removed `LEAVING_S` after `since_s`."""

    name: str
    since_s: float


class StreamPlace(msgspec.Struct, frozen=True):
    """Of rows that are made of a stream's messages (`fanion.shipping.downstream`). `made`: when the stream was,
    which tells it from another of its `name`. `position`: messages up to there were looked at. `mark`, `digest`:
    the last one that was read, and the XXH64 of it. `unread`: those before `position` that could not be read and
    are not known to be gone. `taken`: machine -> writer -> the sequences of which there are rows, as begins and
    ends in turn. `parts`: of records that haven't come whole, where they are."""

    name: str
    made: str = ""
    position: int = 0
    mark: int = 0
    digest: int = 0
    unread: list[int] = []
    taken: dict[str, dict[int, list[int]]] = {}
    parts: list[tuple[str, int, int, int, dict[int, int]]] = []
    """Machine, writer, sequence, number of parts, part -> position."""


class Manifest(msgspec.Struct):
    """`step`: how many were committed; names of files begin with it. `place`: how far the journal was read;
    `stream`: how far the stream was, where the rows are made of one.
    `unreadable`: records that could not be read, over all steps. `fresh_us`: every event that was durable before
    this time of the wall clock is a row; 0: not known yet."""

    version: int = VERSION
    step: int = 0
    place: Checkpoint = msgspec.field(default_factory=Checkpoint)
    stream: StreamPlace | None = None
    files: list[File] = []
    leaving: list[Leaving] = []
    unreadable: int = 0
    fresh_us: int = 0

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)


_decode = msgspec.json.Decoder(Manifest).decode  # once, as threads read too


def load_manifest(storage: Storage, directory: Path) -> Manifest:
    """Of the rows' directory; an empty one where there is none yet. Raises RowsError."""
    path = directory / NAME
    try:
        manifest = read_document(storage, path, _decode)
    except FileNotFoundError:
        return Manifest()
    except DamagedFileError as error:
        raise RowsError(
            f"{path}: not a manifest: {error}; remove {directory} to make all rows anew from what they were made of"
        ) from None
    if manifest.version != VERSION:
        raise RowsError(
            f"{path}: format version {manifest.version}, this Fanion reads {VERSION}; run the newer Fanion, or "
            f"remove {directory} to make all rows anew from what they were made of"
        )
    return manifest


def commit_manifest(storage: Storage, directory: Path, manifest: Manifest) -> None:
    """The directory is synced before, with the files that it names, too."""
    storage.sync_directory(directory)
    replace_file(storage, directory / NAME, sealed(msgspec.json.encode(manifest)))
