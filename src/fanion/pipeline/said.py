"""What a process beside the workers says of itself, in one small file that is only ever renamed into place."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from fanion.journal.storage import Storage, read_file, write_all
from fanion.model.json_value import UNREADABLE

NAME: Final = "state.json"
T = TypeVar("T")


def load_said(storage: Storage, directory: Path, kind: type[T]) -> T:
    """An empty one where nothing was said yet, or nothing can be read."""
    with contextlib.suppress(FileNotFoundError, *UNREADABLE):
        return msgspec.json.decode(read_file(storage, directory / NAME), type=kind)
    return kind()


def keep_said(storage: Storage, directory: Path, said: object, *, synced: bool = False) -> None:
    """`synced`: on the disk before it has its name, where something is decided by it."""
    draft = directory / "state.tmp"
    fd = storage.open(draft, create=True)
    try:
        storage.truncate(fd, 0)
        write_all(storage, fd, msgspec.json.encode(said), 0)
        if synced:
            storage.fdatasync(fd)
    finally:
        storage.close(fd)
    storage.rename(draft, directory / NAME)
