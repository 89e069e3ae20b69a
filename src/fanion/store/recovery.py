"""Opening a store that may be damaged: the newest that verifies is served.

Called by the process that starts a server, before any worker, and by a worker that takes a dead one's place,
since a damaged page may be what it died of. Putting the copy in the place of a damaged file needs the store to
oneself: a worker fails to start while others live, and is started again. The damaged file is kept beside it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path

from fanion.errors import StoreError, StoreMissingError
from fanion.store.database import check_owner, copy_path, hold_lock, put_in_place, store_path
from fanion.store.store import MAP_BYTES, Store
from fanion.store.verify import DATA_FILE, verify

OTHERS_END_WAIT_S = 5.0
"""Workers that still map the damaged file die of it at their next look, within a second or so."""


def open_verified(
    directory: Path, *, write: bool = False, map_bytes: int = MAP_BYTES
) -> tuple[Store, str | None]:
    """The store, read through in a child process first; the second value says what was wrong when the copy had to
    take its place. Raises StoreMissingError, StoreVersionError, StoreError when neither verifies."""
    path = store_path(directory)
    if not (path / DATA_FILE).exists() and not (copy_path(directory) / DATA_FILE).exists():
        raise StoreMissingError(f"{directory}: there is no store here; `fanion publish` makes one")
    check_owner(directory, root=True)
    problem = verify(path)
    if problem is None:
        _raise_number(directory, map_bytes, always=False)
        return Store.open(directory, write=write, map_bytes=map_bytes), None
    copy_problem = verify(copy_path(directory), deep=True)
    if copy_problem is not None:
        raise StoreError(f"the store can't be used: {problem}; nor can its copy: {copy_problem}")
    _put_copy_in_place(directory)
    _raise_number(directory, map_bytes, always=True)
    return Store.open(directory, write=write, map_bytes=map_bytes), problem


def lies_whole(directory: Path) -> bool:
    """Whether what lies in the directory now can be served and is no longer being written. Blocks, for as long as
    the store is large."""
    path = store_path(directory)
    try:
        before = (path / DATA_FILE).stat()
        if verify(path) is not None:
            return False
        after = (path / DATA_FILE).stat()
    except (OSError, StoreError):
        return False
    return (before.st_ino, before.st_size, before.st_mtime_ns) == (
        after.st_ino,
        after.st_size,
        after.st_mtime_ns,
    )


def _put_copy_in_place(directory: Path) -> None:
    """Unless another process has done so while this one waited for the store to be its own."""
    path = store_path(directory)
    lock = hold_lock(path / "use.lock", fcntl.LOCK_EX, OTHERS_END_WAIT_S)
    try:
        if verify(path) is None:
            return
        if (path / DATA_FILE).exists():
            (path / DATA_FILE).replace(path / f"damaged-{time.time_ns()}.mdb")
        (path / "lock.mdb").unlink(missing_ok=True)
        fresh = path / "restored.new"
        shutil.copyfile(copy_path(directory) / DATA_FILE, fresh)
        fresh.chmod(0o600)
        put_in_place(fresh, path / DATA_FILE)
    finally:
        os.close(lock)


def _raise_number(directory: Path, map_bytes: int, *, always: bool) -> None:
    """What the copy, or a backup that was put in place, holds gets a number above every one that servers and
    clients may have seen."""
    with Store.open(directory, write=True, map_bytes=map_bytes) as store:
        if always or store.generation() < store.word.load():
            store.succeed_damaged()
