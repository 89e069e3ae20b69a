"""A unit leaves the store: the members of its lists, and what its file still shows of them.

LMDB keeps what was deleted in its free pages, so where those show the unit the file is made anew without them and
put in the old one's place, by the protocol of `recovery`: a running server's workers find out and are replaced. The
copy beside it is made anew as well; files of damaged stores, and of the store before an upgrade, that hold the unit
are removed. What definitions say
stays and is named: they are the operator's to publish.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import Final

import lmdb
import msgspec

from fanion.errors import StoreError, StoreMissingError
from fanion.model.forgotten import Forms
from fanion.store.database import copy_path, hold_lock, older_path, put_in_place, store_path
from fanion.store.generation import PinnedGeneration
from fanion.store.handles import translate
from fanion.store.list_writer import ListWriter
from fanion.store.store import Store
from fanion.store.unit_keys import ROW as UNIT_KEYS_ROW
from fanion.store.unit_keys import decode_unit_keys
from fanion.store.verify import DATA_FILE, verify

OPENING_WAIT_S: Final = 30.0
WINDOW_BYTES: Final = 1 << 22
OVERLAP_BYTES: Final = 1 << 16
"""Longer than any form."""
FRESH: Final = "forgotten.new"
DAMAGED: Final = "damaged-*.mdb"


class ForgottenMembers(msgspec.Struct):
    """`lists`: "environment list" of each that had it; `definitions`: "environment file" that name it still;
    `renewed`: the store's file was made anew."""

    members: int = 0
    lists: list[str] = []
    definitions: list[str] = []
    renewed: bool = False


def read_unit_keys(directory: Path, map_bytes: int) -> tuple[bytes, ...]:
    """By which digests of units are or were keyed; none without a store. Raises StoreError."""
    try:
        store = Store.open(directory, map_bytes=map_bytes)
    except StoreMissingError:
        return ()
    with store, store.pin() as pinned:
        return tuple(decode_unit_keys(pinned.meta(UNIT_KEYS_ROW)).keys.values())


def count_in_store(directory: Path, forms: Forms, *, map_bytes: int) -> ForgottenMembers:
    """What `forget_in_store` would do."""
    found = ForgottenMembers()
    with Store.open(directory, map_bytes=map_bytes) as store, store.pin() as pinned:
        _look(pinned, forms, found)
    return found


def forget_in_store(directory: Path, forms: Forms, *, map_bytes: int) -> ForgottenMembers:
    """Of the data directory `directory`, which has a store. Raises StoreError."""
    found = ForgottenMembers()
    path = store_path(directory)
    with Store.open(directory, write=True, map_bytes=map_bytes) as store:
        with store.pin() as pinned:
            _look(pinned, forms, found)
        found.members = ListWriter(store.transactions).forget(_candidates(forms))
        if held := count_in_file(path / DATA_FILE, forms):
            found.renewed = _renew(store, path, forms, held)
    if not found.definitions and file_holds(path / DATA_FILE, forms):
        found.definitions.append(
            "of the generation before, until the next publish, or a record of a key or an override"
        )
    drafts = path / "copy.new" / DATA_FILE, path / "restored.new"
    for file in (*path.glob(DAMAGED), older_path(directory), *drafts):
        if file.is_file() and file_holds(file, forms):
            file.unlink(missing_ok=True)
    if found.renewed or file_holds(copy_path(directory) / DATA_FILE, forms):
        with Store.open(directory, write=True, map_bytes=map_bytes) as store:
            store.keep_copy()
    return found


def file_holds(path: Path, forms: Forms) -> bool:
    """Whether any byte of a file shows a form; False where there is no file."""
    return count_in_file(path, forms, most=1) > 0


def count_in_file(path: Path, forms: Forms, *, most: int = 1 << 62) -> int:
    """How often a file shows a form, by the same measure for files with the same content; 0 where there is none."""
    found = 0
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        kept = b""
        while found < most and (part := file.read(WINDOW_BYTES)):
            data = kept + part
            found += forms.count_in(data) - forms.count_in(kept)
            kept = data[-OVERLAP_BYTES:]
    return found


def _candidates(forms: Forms) -> list[bytes]:
    return sorted(text.encode("utf-8", "replace") for text in forms.texts)


def _look(pinned: PinnedGeneration, forms: Forms, found: ForgottenMembers) -> None:
    candidates = _candidates(forms)
    for environment in pinned.environments():
        for name in sorted(pinned.manifest.environments[environment].lists):
            held = sum(pinned.member(environment, name, member) for member in candidates)
            if held:
                found.lists.append(f"{environment} {name}")
                found.members += held
        for file, source in sorted(pinned.definitions(environment).items()):
            if forms.occur_in(source):
                found.definitions.append(f"{environment} {file}")


def _renew(store: Store, path: Path, forms: Forms, held: int) -> bool:
    """The file without its free pages in the old one's place, where those show the unit. Nobody commits meanwhile:
    who waits for the transaction finds the file replaced, and is told to make the change again."""
    fresh = path / FRESH
    database = store.transactions.database
    try:
        with store.transactions.publishing():
            # In this order: who opens the store has the lock while it waits for a transaction.
            opening = hold_lock(path / "use.lock", fcntl.LOCK_EX, OPENING_WAIT_S)
            transaction = database.begin_write()
            try:
                shutil.rmtree(fresh, ignore_errors=True)
                fresh.mkdir(mode=0o700)
                database.environment.copy(str(fresh), compact=True)
                (fresh / DATA_FILE).chmod(0o600)
                if count_in_file(fresh / DATA_FILE, forms) == held:
                    return False  # all of it is in what the store says
                problem = verify(fresh, deep=True)
                if problem is not None:
                    raise StoreError(f"the store without its free pages doesn't verify: {problem}")
                (path / "lock.mdb").unlink(missing_ok=True)
                put_in_place(fresh / DATA_FILE, path / DATA_FILE)
                return True
            finally:
                transaction.abort()
                os.close(opening)
    except lmdb.Error as error:
        raise translate(error, str(path)) from error
    except OSError as error:
        raise StoreError(f"{path}: the store can't be made anew: {error.strerror}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
