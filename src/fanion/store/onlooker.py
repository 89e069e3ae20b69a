"""Reading one environment from outside of the server: for processes that evaluate by themselves.

An `Onlooker` needs the right to read `DIR/store/data.mdb` and `DIR/shared/generation` and nothing else; nothing is
written. LMDB is open only while it looks where a bundle lies: what is read afterwards is a read-only map of that
part of the file, held by a `Pin`, and copies of the environment's lists. So nothing of LMDB's is inherited by a
fork, no place among its readers is taken, and a process that stands still keeps one publication and no page more.

A look is made under LMDB's lock where this process may write the lock file. Elsewhere (by group permission, on a
read-only mount, with the process id of another container's reader) it goes without, and what it found counts once
the bundle has verified.
"""

from __future__ import annotations

import mmap
import os
import threading
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import lmdb

from fanion._core.flat import address_of
from fanion._core.list_block import ListReader
from fanion.errors import EnvironmentMissingError, StoreError, StoreMissingError
from fanion.store.database import Database, store_path, word_path
from fanion.store.generation import PinnedGeneration
from fanion.store.handles import Handles, ReadTransaction, translate
from fanion.store.layout import (
    DATABASES,
    LIST_NUMBER_BYTES,
    EnvironmentEntry,
    ListEntry,
    list_prefix,
    read_manifest,
    unseal,
)
from fanion.store.pins import Pin
from fanion.store.verify import DATA_FILE, check_file, open_databases

ATTEMPTS_MAX: Final = 10
"""Publishes that may come between a look and the hold on what it found."""
WORD_PAGE: Final = 4096
WORD_BYTES: Final = 8
WORD_HEAD: Final = b"FANIONSH"

looking: Final = threading.RLock()
"""Held while LMDB is open here, and while a process forks, so that no child inherits an open environment."""

os.register_at_fork(before=looking.acquire, after_in_parent=looking.release, after_in_child=looking.release)


class CopiedList:
    """The blocks of one list as one generation has them."""

    def __init__(self, entry: ListEntry, blocks: list[tuple[bytes, bytes]]) -> None:
        self.entry = entry
        self.keys = [key for key, _ in blocks]
        self.values = [memoryview(value) for _, value in blocks]

    def reader(self) -> ListReader | None:
        """For one thread at a time; None for a list without members."""
        if not self.keys:
            return None
        walk = _Walk(self)
        return ListReader(walk.set_range, walk.value, self.entry.number, self.entry.secret)


class _Walk:
    """What a `ListReader` asks of a cursor."""

    def __init__(self, blocks: CopiedList) -> None:
        self._blocks = blocks
        self._at = 0

    def set_range(self, key: bytes) -> bool:
        self._at = bisect_left(self._blocks.keys, key)
        return self._at < len(self._blocks.keys)

    def value(self) -> memoryview:
        return self._blocks.values[self._at]


class Sight:
    """One environment in one generation. `bundle` is good while this lives."""

    def __init__(
        self,
        generation: int,
        entry: EnvironmentEntry,
        pin: Pin,
        bundle: memoryview,
        lists: dict[str, CopiedList],
    ) -> None:
        self.generation = generation
        self.entry = entry
        self.bundle = bundle
        self.lists = lists
        self._pin = pin


class Onlooker:
    """One environment of one data directory. Raises StoreError from everything."""

    def __init__(self, directory: Path, environment: str) -> None:
        self.directory = directory.resolve()
        self.environment = environment
        self.data_path = store_path(self.directory) / DATA_FILE
        self.word_path = word_path(self.directory)

    def identity(self) -> tuple[object, ...]:
        """What tells the files from others of their names, and whether anything was written to the store."""
        try:
            data, word = self.data_path.stat(), self.word_path.stat()
        except OSError as error:
            raise self._unreadable(error) from None
        return data.st_dev, data.st_ino, word.st_dev, word.st_ino, data.st_mtime_ns

    def open_word(self) -> memoryview:
        """The 8 bytes of the generation word, as every publish writes them."""
        try:
            with self.word_path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), WORD_PAGE + WORD_BYTES, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from None
        if mapped[: len(WORD_HEAD)] != WORD_HEAD:
            raise StoreError(f"{self.word_path}: not a generation word; `fanion serve` makes it anew")
        return memoryview(mapped)[WORD_PAGE:]

    def look(self, lists: dict[str, CopiedList]) -> Sight:
        """The environment as the committed generation has it. `lists`: known ones, taken over where they are still
        the same. Raises EnvironmentMissingError."""
        with looking, self._reading() as (environment, databases):
            for _ in range(ATTEMPTS_MAX):
                _, entry = self._entry(environment, databases)
                pin = Pin(self.data_path, entry.publication)
                transaction = environment.begin(buffers=True)
                try:
                    sight = self._sight(transaction, databases, entry, pin, lists)
                finally:
                    transaction.abort()
                if sight is not None:
                    return sight
        raise StoreError(f"{self.directory}: was published {ATTEMPTS_MAX} times while it was looked at")

    def _sight(
        self,
        transaction: ReadTransaction,
        databases: Handles,
        entry: EnvironmentEntry,
        pin: Pin,
        lists: dict[str, CopiedList],
    ) -> Sight | None:
        """None where another publication counts than the one that is pinned."""
        pinned = PinnedGeneration(transaction, databases)
        if pinned.manifest.environments.get(self.environment) != entry:
            return None
        view = pinned.bundle(self.environment)
        if view is None:
            return None
        bundle = _map(pin, _offset_in(self.data_path, address_of(view)), len(view))
        copied = {
            name: self._copy(transaction, databases, one, lists.get(name))
            for name, one in entry.lists.items()
        }
        return Sight(pinned.number, entry, pin, bundle, copied)

    def generation(self) -> int:
        """The committed generation's number."""
        with looking, self._reading() as (environment, databases):
            return self._entry(environment, databases)[0]

    def _entry(self, environment: lmdb.Environment, databases: Handles) -> tuple[int, EnvironmentEntry]:
        transaction = environment.begin(buffers=True)
        try:
            manifest = read_manifest(transaction, databases)
        finally:
            transaction.abort()
        if manifest is None:
            raise StoreMissingError(f"{self.directory}: nothing has been published here yet")
        entry = manifest.environments.get(self.environment)
        if entry is None:
            known = ", ".join(sorted(manifest.environments)) or "none"
            raise EnvironmentMissingError(
                f"{self.directory}: there is no environment {self.environment}; there are: {known}"
            )
        return manifest.generation, entry

    def _copy(
        self,
        transaction: ReadTransaction,
        databases: Handles,
        entry: ListEntry,
        known: CopiedList | None,
    ) -> CopiedList:
        if known is not None and known.entry == entry:
            return known
        start, blocks = list_prefix(entry.number), []
        cursor = transaction.cursor(databases["lists"])
        if cursor.set_range(start):
            for key, value in cursor:
                raw = bytes(key)
                if raw[:LIST_NUMBER_BYTES] != start:
                    break
                sealed = bytes(value)
                unseal(raw, sealed, "lists")
                blocks.append((raw, sealed))
        return CopiedList(entry, blocks)

    @contextmanager
    def _reading(self) -> Iterator[tuple[lmdb.Environment, Handles]]:
        """LMDB, open as long as this lasts; this process's own store, where it has that open."""
        path = store_path(self.directory)
        with Database.beside(self.directory) as opened:
            try:
                if opened is not None:
                    yield opened.environment, opened.databases
                    return
                environment, databases = self._open(path, self._may_lock(path))
                try:
                    yield environment, databases
                finally:
                    environment.close()
            except lmdb.Error as error:
                raise translate(error, str(path)) from error
            except OSError as error:  # no descriptor left, no memory for a map
                raise self._unreadable(error) from None

    def _may_lock(self, path: Path) -> bool:
        """Whether this process may write LMDB's lock file. Raises StoreError where it can't read the store's."""
        try:
            check_file(path)
        except StoreError as error:
            denied = self._unreadable(PermissionError(13, "Permission denied"))
            raise (denied if _is_denied(self.data_path) else error) from None
        return os.access(path / "lock.mdb", os.R_OK | os.W_OK)

    def _open(self, path: Path, lock: bool) -> tuple[lmdb.Environment, Handles]:
        """With the lock if it can be had: not where all readers' places are taken, or this process id's is."""
        environment = None
        try:
            environment = lmdb.open(
                str(path),
                max_dbs=len(DATABASES),
                readonly=True,
                lock=lock,
                create=False,
                max_spare_txns=0,
            )
            return environment, open_databases(environment, create=False)
        except BaseException as error:
            if environment is not None:
                environment.close()
            if not lock or not isinstance(error, lmdb.LockError | lmdb.ReadersFullError):
                raise
        return self._open(path, lock=False)

    def _unreadable(self, error: OSError | ValueError) -> StoreError:
        if isinstance(error, FileNotFoundError):
            return StoreMissingError(f"{self.directory}: there is no store here; `fanion publish` makes one")
        return StoreError(
            f"{self.directory}: can't be read: {getattr(error, 'strerror', None) or error}. Who evaluates in "
            f"process needs the right to read store/data.mdb and shared/generation, and to enter their folders"
        )


def _is_denied(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return not os.access(path, os.R_OK)


def _offset_in(path: Path, address: int) -> int:
    """Where in the file the byte at an address of this process's map of it lies."""
    with Path("/proc/self/maps").open() as file:
        for line in file:
            place, _, offset = line.split(None, 3)[:3]
            first, _, end = place.partition("-")
            if int(first, 16) <= address < int(end, 16):
                return int(offset, 16) + address - int(first, 16)
    raise StoreError(f"{path}: its map isn't among those of this process")


def _map(pin: Pin, offset: int, size: int) -> memoryview:
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    mapped = mmap.mmap(pin.descriptor, offset - start + size, prot=mmap.PROT_READ, offset=start)
    return memoryview(mapped)[offset - start :]
