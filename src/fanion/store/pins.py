"""Holding on to a publication's bundles without a place among LMDB's readers.

Who reads a bundle from a map of its own holds a shared lock on one byte of `data.mdb`, far behind its end: the
byte's number is the publication's. A publish doesn't remove bundles of a publication whose byte is locked; a later
one does. LMDB doesn't move the pages of a value, so bytes that aren't removed stay as they are.

Decided 2026-11-28: a read transaction would do the same, but needs the right to write the lock file, is counted by
process ids that two containers share, keeps every page from being used again, and ends for the parent where a child
of `fork` closes what it inherited. A lock on an open file description needs the right to read only, works on a
read-only mount and across containers, goes with the last process that inherited it, and holds one publication.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

from fanion.errors import StoreError

FIRST_BYTE: Final = 1 << 62
"""No file is as large. LMDB locks nothing in this file."""

_FLOCK: Final = struct.Struct("hhqqi4x")


def _lock_of(kind: int, publication: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, FIRST_BYTE + publication, 1, 0)


class Pin:
    """An open `data.mdb`, `descriptor`, that holds a publication until every process that has it closed it."""

    def __init__(self, path: Path, publication: int) -> None:
        """Raises StoreError."""
        try:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreError(f"{path}: can't be read: {error.strerror}") from None
        try:
            fcntl.fcntl(self.descriptor, fcntl.F_OFD_SETLK, _lock_of(fcntl.F_RDLCK, publication))
        except OSError as error:
            os.close(self.descriptor)
            raise StoreError(f"{path}: can't be held for reading: {error.strerror}") from None

    def __del__(self) -> None:
        descriptor = getattr(self, "descriptor", -1)
        if descriptor >= 0:
            os.close(descriptor)


class Pinned:
    """Asks whether publications are held; used with `with`, and for one look over all of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[int, bool] = {}

    def __enter__(self) -> Pinned:
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def holds(self, publication: int) -> bool:
        """Whether a process reads bundles of this publication."""
        known = self._known.get(publication)
        if known is None:
            asked = _lock_of(fcntl.F_WRLCK, publication)
            answer = fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, asked)
            known = self._known[publication] = _FLOCK.unpack(answer)[0] != fcntl.F_UNLCK
        return known
