"""Where an archive's objects lie: a bucket or a folder, by obstore, as places do (`places.objects`).

Blocking, of one thread, and opened after a fork. Each call raises ArchiveError where the store can't be reached or
refuses, with a reason that holds no credential.
"""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec

from fanion.archive import missing_library
from fanion.archive.packed import HEAD, NAME, SEQUENCE_MAX, Head, parse_head
from fanion.config.places import Places
from fanion.errors import ArchiveConflictError, ArchiveError, PlaceError
from fanion.model.json_value import UNREADABLE
from fanion.places.objects import each_listed, open_store, reason_of
from fanion.plain_files import check_plain

OBJECT_BYTES_MAX: Final = 5 << 30
"""More than the largest log segment has."""
ENDS_BYTES_MAX: Final = 1 << 20
Writer: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=1_000)]
Sequence: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=SEQUENCE_MAX)]
MACHINE: Final = re.compile(r"[0-9a-f]{32}")


class Bucket:
    """`places`: its credentials; `timeout_s`: of a request. `create`: makes a folder that isn't there."""

    def __init__(self, url: str, places: Places, timeout_s: float, *, create: bool = False) -> None:
        if missing := missing_library():
            raise ArchiveError(f"{missing} is not installed; pip install 'fanion[machines]'")
        self.url = url
        self._folder = Path(url.removeprefix("file://")) if url.startswith("file:") else None
        self._obstore = import_module("obstore")
        errors = import_module("obstore.exceptions")
        self._faults = (errors.BaseError, OSError, ValueError, TypeError)
        self._taken = errors.AlreadyExistsError
        self._missing = (errors.NotFoundError, FileNotFoundError)
        try:
            given = msgspec.structs.replace(places, timeout_s=timeout_s)
            self._store = open_store(url, given, create=create)
        except (PlaceError, *self._faults) as error:
            raise ArchiveError(f"{url} can't be opened: {reason_of(error)}") from None

    def machines(self) -> list[str]:
        """Whose segments lie there."""
        try:
            found = self._obstore.list_with_delimiter(self._store)["common_prefixes"]
        except self._faults as error:
            raise ArchiveError(f"{self.url} can't be listed: {reason_of(error)}") from None
        return sorted(name.strip("/") for name in found if MACHINE.fullmatch(name.strip("/")))

    def names(self, machine: str) -> dict[str, int]:
        """Each segment's name and the bytes of its object, in the order of the writers' chains."""
        try:
            listed = each_listed(self._obstore, self._store, f"{machine}/segments")
            found = sorted(one for one in listed if NAME.fullmatch(one[0]))
        except self._missing:
            return {}
        except self._faults as error:
            raise ArchiveError(f"{self.url}/{machine} can't be listed: {reason_of(error)}") from None
        return dict(found)

    def head(self, machine: str, name: str, size: int) -> Head:
        """What an object of that size says of itself."""
        path = _path(machine, name)
        try:
            self._check_plain(path)
            length = min(HEAD.size, size)
            data = (
                bytes(self._obstore.get_range(self._store, path, start=0, length=length)) if length else b""
            )
        except self._faults as error:
            raise ArchiveError(f"{path} can't be read: {reason_of(error)}") from None
        return parse_head(data, name, size)

    def get(self, machine: str, name: str, bytes_max: int = OBJECT_BYTES_MAX) -> bytes:
        """An object of `bytes_max` at most: whoever may write there can't have this machine run out of memory."""
        found = self._read(_path(machine, name), bytes_max)
        if found is None:
            raise ArchiveError(f"{_path(machine, name)} isn't there")
        return found

    def create(self, machine: str, name: str, content: bytes) -> bool:
        """False: something is there already, and stays."""
        path = _path(machine, name)
        try:
            self._obstore.put(self._store, path, content, mode="create", use_multipart=False)
        except self._taken:
            return False
        except self._faults as error:
            raise ArchiveError(f"{path} was not taken: {reason_of(error)}") from None
        self._sync(path)
        return True

    def replace(self, machine: str, name: str, content: bytes) -> None:
        self._put(_path(machine, name), content)

    def ends(self, machine: str) -> dict[int, int]:
        """Each writer's first sequence that isn't archived, as the archiver last said; empty: it never did."""
        found = self._read(f"{machine}/ends", ENDS_BYTES_MAX)
        try:
            return {} if found is None else msgspec.json.decode(found, type=dict[Writer, Sequence])
        except UNREADABLE:
            raise ArchiveError(f"{machine}/ends can't be read: it is damaged") from None

    def say_ends(self, machine: str, ends: dict[int, int]) -> None:
        self._put(f"{machine}/ends", msgspec.json.encode(ends))

    def _put(self, path: str, content: bytes) -> None:
        try:
            self._obstore.put(self._store, path, content, use_multipart=False)
        except self._faults as error:
            raise ArchiveError(f"{path} was not taken: {reason_of(error)}") from None
        self._sync(path)

    def _read(self, path: str, most: int) -> bytes | None:
        try:
            self._check_plain(path)
            found = self._obstore.get(self._store, path)
            if found.meta["size"] > most:
                raise ArchiveConflictError(
                    f"{self.url}/{path} has {found.meta['size']:,} bytes, {most:,} are expected at most; it stays, "
                    "move it away to have it written again"
                )
            return bytes(found.bytes())
        except self._missing:
            return None
        except self._faults as error:
            raise ArchiveError(f"{path} can't be read: {reason_of(error)}") from None

    def _check_plain(self, path: str) -> None:
        """Nobody waits for who writes into a pipe."""
        if self._folder is not None:
            check_plain(path, (self._folder / path).stat())

    def _sync(self, path: str) -> None:
        """A folder's files are on its disk before the journal lets go what they hold."""
        if self._folder is None:
            return
        try:
            for each in (self._folder / path, (self._folder / path).parent):
                fd = os.open(each, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
        except OSError as error:
            raise ArchiveError(f"{path} was not synced: {error.strerror}") from None


def _path(machine: str, name: str) -> str:
    return f"{machine}/segments/{name}"
