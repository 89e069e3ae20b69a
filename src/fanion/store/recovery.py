"""Opening a store that may be damaged: the newest that verifies is served.

Called by the process that starts a server, before any worker; by a worker that takes a dead one's place, since a
damaged page may be what it died of; and for a worker that finds a fault while it serves (`begin_healing`, in a
process of its own, as the worker still has the damaged file open).

The copy gets the damaged file's name, and LMDB's lock file is made anew with it. Whoever has the old pair open goes
on reading it, finds out by `Store.replaced`, and can't change the store any more. Nobody writes or opens
meanwhile, both under a lock. The damaged file is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from fanion.errors import StoreError, StoreMissingError
from fanion.store.database import (
    PUBLISH_WAIT_S,
    check_owner,
    copy_path,
    hold_lock,
    put_in_place,
    store_path,
)
from fanion.store.store import MAP_BYTES, Store
from fanion.store.verify import DATA_FILE, verify

OPENING_WAIT_S = 5.0


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
        _raise_number(directory, map_bytes)
        return Store.open(directory, write=write, map_bytes=map_bytes), None
    copy_problem = verify(copy_path(directory), deep=True)
    if copy_problem is not None:
        raise StoreError(f"the store can't be used: {problem}; nor can its copy: {copy_problem}")
    _put_copy_in_place(directory, map_bytes)
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


def begin_healing(directory: Path, map_bytes: int) -> subprocess.Popen[bytes]:
    """`open_verified` in a child process. It ends with 0 and prints what was wrong with the store, whose copy is in
    its place now, or nothing where nothing was; or with another status, and prints why it couldn't be healed."""
    command = [sys.executable, "-m", "fanion.store.recovery", str(directory), str(map_bytes)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def _put_copy_in_place(directory: Path, map_bytes: int) -> None:
    """Under a number of its own, unless another process has done so while this one waited: every worker that meets
    the damage asks for it."""
    path = store_path(directory)
    fresh = path / "restored.new"
    writing = hold_lock(path / "publish.lock", fcntl.LOCK_EX, PUBLISH_WAIT_S)
    try:
        if verify(path) is None:
            return
        shutil.copyfile(copy_path(directory) / DATA_FILE, fresh)
        fresh.chmod(0o600)
        opening = hold_lock(path / "use.lock", fcntl.LOCK_EX, OPENING_WAIT_S)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.link(path / DATA_FILE, path / f"damaged-{time.time_ns()}.mdb")
            (path / "lock.mdb").unlink(missing_ok=True)
            put_in_place(fresh, path / DATA_FILE)
        finally:
            os.close(opening)
        with Store.open(directory, write=True, map_bytes=map_bytes) as store:
            store.succeed_damaged()
    except OSError as error:
        raise StoreError(f"{path}: the copy can't be put in place: {error.strerror}") from error
    finally:
        fresh.unlink(missing_ok=True)
        os.close(writing)


def _raise_number(directory: Path, map_bytes: int) -> None:
    """What a backup holds that was put in place gets a number above every one that servers and clients may have
    seen."""
    with Store.open(directory, write=True, map_bytes=map_bytes) as store:
        if store.generation() < store.word.load():
            with store.transactions.publishing():
                if store.generation() < store.word.load():  # nobody did meanwhile
                    store.succeed_damaged()


def main() -> None:
    """The child of `begin_healing`: argument 1 the data directory, argument 2 `store.map_bytes`."""
    try:
        store, problem = open_verified(Path(sys.argv[1]), map_bytes=int(sys.argv[2]))
        store.close()
    except StoreError as error:
        print(error)
        sys.exit(1)
    print(problem or "")


if __name__ == "__main__":
    main()
