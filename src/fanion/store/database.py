"""The LMDB environment of one data directory, opened once per process, and the rules of its files.

    DIR/store/data.mdb, lock.mdb   LMDB's own
    DIR/store/use.lock             held shared by a process while it opens the store
    DIR/store/publish.lock         held by the one that writes
    DIR/store/copy/data.mdb        the verified copy
    DIR/store/older.mdb            the store as it was before its bundles were last compiled again (`upgrade`)
    DIR/shared/generation          the generation word

Directories are 0700, files 0600, and both belong to one user: a command of another one would leave files that
the server can't open, so it is refused. After fork: what the child inherited is refused, and while it exists
the child can't open its own (LMDB's rule); a parent closes the store before it forks, or its children exec.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import lmdb

from fanion._core.shared import GenerationWord
from fanion.errors import StoreError, StoreMissingError
from fanion.small_files import Files
from fanion.store.handles import ReadTransaction, WriteTransaction, translate
from fanion.store.layout import DATABASES, read_manifest
from fanion.store.verify import BUSY_PAUSE_S, BUSY_WAIT_S, DATA_FILE, check_file, open_databases, verify

MADE_WAIT_S = 2.0
MADE_PAUSE_S = 0.005

READERS_MAX = 2_048
"""Read transactions of all processes together; a worker holds one of each generation that it pins, at most two."""

PUBLISH_WAIT_S = 30.0

WORD_AHEAD_MAX = 2**32
"""A word further ahead of the committed generation than any backup can be behind is damaged, and made anew."""


def store_path(directory: Path) -> Path:
    return directory / "store"


def copy_path(directory: Path) -> Path:
    return directory / "store" / "copy"


def older_path(directory: Path) -> Path:
    return directory / "store" / "older.mdb"


class UnsharedWord:
    """In the place of the generation word, where nothing may be written."""

    def load(self) -> int:
        return 0

    def raise_to(self, generation: int) -> None:
        pass

    def close(self) -> None:
        pass


Word = GenerationWord | UnsharedWord


class Database:
    """One open environment, counted: every Store of a directory in a process shares it."""

    _open: ClassVar[dict[str, Database]] = {}
    _opening: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, directory: Path, *, create: bool, map_bytes: int) -> None:
        self.directory = directory
        self._holders = 0
        self._pid = os.getpid()
        self.word: Word
        path = store_path(directory)
        self._writable = False
        if path.is_dir() and not os.access(path, os.W_OK):
            if create:
                raise StoreError(f"{directory}: nothing can be written here: it is read-only for this user")
            self._open_unlocked(path)
            return
        check_owner(directory, root=True)
        if create:
            path.mkdir(mode=0o700, exist_ok=True)
        elif not path.is_dir():
            raise StoreMissingError(f"{directory}: there is no store here; `fanion publish` makes one")
        check_owner(path)
        opening = hold_lock(path / "use.lock", fcntl.LOCK_SH)
        try:
            self._lmdb = _open_patiently(path, create=create, map_bytes=map_bytes)
            try:
                self._lmdb.reader_check()
                self.databases = open_databases(self._lmdb, create=create)
                self.word = open_word(directory)
                self._announce()
                self._files = {file: _identity(file) for file in (path / DATA_FILE, word_path(directory))}
                self._writable = True
            except BaseException:
                self._lmdb.close()
                raise
        except lmdb.Error as error:
            raise translate(error, str(path)) from error
        finally:
            os.close(opening)

    def _open_unlocked(self, path: Path) -> None:
        """On a read-only mount, for commands that only look. Nothing tells a writer elsewhere of this reader, so
        what that one changes meanwhile can look damaged here; checksums say so."""
        check_file(path)
        try:
            self._lmdb = lmdb.open(str(path), max_dbs=len(DATABASES), readonly=True, lock=False, create=False)
            self.databases = open_databases(self._lmdb, create=False)
        except lmdb.Error as error:
            raise translate(error, str(path)) from error
        self.word = UnsharedWord()
        self._files = {}

    @classmethod
    def take(cls, directory: Path, *, create: bool, map_bytes: int) -> Database:
        """The process's environment for `directory`, opened when it isn't yet. `give_back` when done."""
        if create:
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror
                raise StoreError(f"{directory}: the data directory can't be made: {reason}") from error
        elif not directory.is_dir():
            raise StoreMissingError(f"{directory}: there is no such directory; `fanion publish` makes one")
        key = str(directory.resolve())
        with cls._opening:
            environment = cls._open.get(key)
            if environment is None:
                environment = cls._open[key] = cls(directory.resolve(), create=create, map_bytes=map_bytes)
            elif environment._pid != os.getpid():
                raise StoreError(
                    f"{directory}: the store was open when this process was forked; close it before"
                )
            environment._holders += 1
            return environment

    @classmethod
    @contextmanager
    def beside(cls, directory: Path) -> Iterator[Database | None]:
        """What this process has open of a resolved directory, which stays open meanwhile; None: nothing, and nobody
        opens it meanwhile, since LMDB can't be open twice in one process."""
        with cls._opening:
            found = cls._open.get(str(directory))
            if found is None or found._pid != os.getpid():
                yield None
                return
            found._holders += 1
        try:
            yield found
        finally:
            found.give_back()

    @property
    def environment(self) -> lmdb.Environment:
        return self._lmdb

    def give_back(self) -> None:
        """The last holder closes the environment; views made from it must be gone."""
        with self._opening:
            self._holders -= 1
            if self._holders == 0 and self._pid == os.getpid():
                del self._open[str(self.directory)]
                self._lmdb.close()
                self.word.close()

    def check(self) -> None:
        """Raises StoreError in a process that only inherited this object, or after the last close."""
        if self._pid != os.getpid():
            raise StoreError(
                f"{self.directory}: the store was opened before a fork and belongs to the parent"
            )
        if self._holders <= 0:
            raise StoreError(f"{self.directory}: the store is closed")

    @property
    def writable(self) -> bool:
        return self._writable

    def replaced(self) -> str:
        """What was done to the files under this process; empty while they are the ones that it opened."""
        for file, identity in self._files.items():
            try:
                if _identity(file) != identity:
                    return f"{file} was replaced under the server"
            except OSError as error:
                return f"{file} was taken away under the server ({error.strerror})"
        return ""

    def check_in_place(self) -> None:
        """Raises StoreError when a change went, or would go, into a file that is no longer the store's."""
        problem = self.replaced()
        if problem:
            raise StoreError(f"{self.directory}: {problem}, and this change isn't in it; make it again")

    def begin(self) -> ReadTransaction:
        """A read transaction whose values are views into the map."""
        return self._lmdb.begin(buffers=True)

    def begin_write(self) -> WriteTransaction:
        return self._lmdb.begin(write=True)

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """One writer at a time, from its first list block to its last sweep."""
        self.check()
        lock = hold_lock(store_path(self.directory) / "publish.lock", fcntl.LOCK_EX, PUBLISH_WAIT_S)
        try:
            self.check_in_place()
            yield
        finally:
            os.close(lock)

    def keep_copy(self, final: Path | None = None) -> None:
        """See `Store.keep_copy`, and `Store.keep_older`, which names the file."""
        final = final or copy_path(self.directory) / DATA_FILE
        fresh = store_path(self.directory) / "copy.new"
        try:
            with self.publishing():
                shutil.rmtree(fresh, ignore_errors=True)
                fresh.mkdir(mode=0o700)
                self._lmdb.copy(str(fresh), compact=True)
                (fresh / DATA_FILE).chmod(0o600)
                problem = verify(fresh, deep=True)
                if problem is not None:
                    raise StoreError(f"the copy of the store doesn't verify, the one before stays: {problem}")
                final.parent.mkdir(mode=0o700, exist_ok=True)
                put_in_place(fresh / DATA_FILE, final)
                shutil.rmtree(fresh, ignore_errors=True)
        except OSError as error:
            raise StoreError(
                f"{final}: the copy can't be written, the one before stays: {error.strerror}"
            ) from error
        except lmdb.Error as error:
            raise translate(error, str(final)) from error

    def check_readers(self) -> int:
        return int(self._lmdb.reader_check())

    def _announce(self) -> None:
        """A publisher that died before raising the word is made up for here, and a word that no publisher wrote."""
        transaction = self._lmdb.begin()
        try:
            manifest = read_manifest(transaction, self.databases)
        finally:
            transaction.abort()
        committed = 0 if manifest is None else manifest.generation
        if self.word.load() > committed + WORD_AHEAD_MAX:
            self.word.close()
            word_path(self.directory).unlink(missing_ok=True)
            self.word = open_word(self.directory)
        self.word.raise_to(committed)


def _open_patiently(path: Path, *, create: bool, map_bytes: int) -> lmdb.Environment:
    """Waits while every reader's place is taken: a running server frees those of dead processes every second. And
    while the file is empty, as it is for a moment where another process makes it; one that stays so is damaged."""
    ends = time.monotonic() + MADE_WAIT_S
    while create and _is_empty(path / DATA_FILE) and time.monotonic() < ends:
        time.sleep(MADE_PAUSE_S)
    ends = time.monotonic() + BUSY_WAIT_S
    while True:
        try:
            return _open_lmdb(path, create=create, map_bytes=map_bytes)
        except lmdb.ReadersFullError:
            if time.monotonic() >= ends:
                raise
        time.sleep(BUSY_PAUSE_S)


def _is_empty(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.stat().st_size == 0
    return False


def _open_lmdb(path: Path, *, create: bool, map_bytes: int) -> lmdb.Environment:
    """Opens what has passed the checks that must come before mapping."""
    if not create or (path / DATA_FILE).exists():
        head = check_file(path)
        if head.short_by:
            problem = verify(path)
            if problem is not None:
                raise StoreError(f"{path / DATA_FILE}: cut off, {head.short_by} bytes are missing: {problem}")
        map_bytes = max(map_bytes, head.map_bytes)
    for name in (DATA_FILE, "lock.mdb"):
        if (path / name).exists() and not os.access(path / name, os.R_OK | os.W_OK):
            raise StoreError(f"{path / name}: this user may not read and write it")
    return lmdb.open(
        str(path),
        map_size=map_bytes,
        max_dbs=len(DATABASES),
        max_readers=READERS_MAX,
        mode=0o600,
        create=create,
    )


def _identity(file: Path) -> tuple[int, int]:
    """What tells a file from another one of its name, while this process has it open."""
    status = file.stat()
    return status.st_dev, status.st_ino


def word_path(directory: Path) -> Path:
    return directory / "shared" / "generation"


def open_word(directory: Path) -> GenerationWord:
    """DIR/shared/generation, made anew where it is no such file: the store has the number. Raises StoreError."""
    path = word_path(directory)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return GenerationWord(str(path), replace=True)
    except (OSError, ValueError) as error:
        raise StoreError(f"the generation word can't be used: {error}") from error


def check_owner(path: Path, *, root: bool = False) -> None:
    """Raises StoreError when `path` is another user's. `root`: of the data directory itself it is enough that this
    user may write in it, as in a volume that belongs to a group; but what root makes, the owner could not open."""
    try:
        owner = path.stat().st_uid
    except OSError as error:
        raise StoreError(f"{path}: can't be read: {error.strerror}") from None
    if root and os.geteuid() != 0 and os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return
    if owner != os.geteuid():
        raise StoreError(
            f"{path} belongs to {_user(owner)}, and this is {_user(os.geteuid())}; run it as the owner"
        )


def _user(number: int) -> str:
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"


def hold_lock(path: Path, operation: int, wait_s: float = 60.0) -> int:
    """A descriptor that holds `path` locked until closed. Raises StoreError when it isn't free in time."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
    ends = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() >= ends:
                os.close(descriptor)
                raise StoreError(f"{path}: held by another process for {wait_s:g} s; is one stuck?") from None
        time.sleep(0.01)


def put_in_place(source: Path, target: Path) -> None:
    """Renames a file and makes both its bytes and its name durable."""
    with source.open("rb") as file:
        os.fsync(file.fileno())
    source.replace(target)
    Files().sync_directory(target.parent)
