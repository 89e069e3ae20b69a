"""What LMDB hands out, named by what is done with it, and what it refuses, in words.

The names are for type checkers, so the aliases stay texts at run time.
"""

from __future__ import annotations

import os
from typing import TypeAlias

import lmdb

from fanion.errors import StoreBusyError, StoreError, StoreTwinError

ReadTransaction: TypeAlias = "lmdb.Transaction[memoryview]"
"""Its values are views into the map, good until it ends."""
WriteTransaction: TypeAlias = "lmdb.Transaction[bytes]"
"""Its values are copies: what it changes would move under a view."""
AnyTransaction: TypeAlias = "ReadTransaction | WriteTransaction"
Handle: TypeAlias = "lmdb._Database"
"""Of one named database, good while the environment is open."""
Handles: TypeAlias = "dict[str, Handle]"


def translate(error: lmdb.Error, directory: str) -> StoreError:
    """LMDB's refusal in words that say what to do."""
    if isinstance(error, lmdb.MapFullError):
        return StoreError(
            f"{directory}: the store is full; nothing was changed. Stop every server of this directory and raise "
            f"store.map_bytes, or remove environments"
        )
    if isinstance(error, lmdb.MapResizedError):
        return StoreError(f"{directory}: the store was grown by another process; start this one again")
    if isinstance(error, lmdb.ReadersFullError):
        return StoreBusyError(
            f"{directory}: all places for readers of the store are taken, nothing is wrong with it. A running "
            f"server frees those of dead processes every second; end processes that have it open"
        )
    if isinstance(error, lmdb.LockError):
        return StoreTwinError(
            f"{directory}: a process of another container has process id {os.getpid()} too and the store open; "
            f"run this again, so that it gets another id"
        )
    if isinstance(error, lmdb.MemoryError | lmdb.TlsFullError | lmdb.ReadonlyError):
        return StoreBusyError(f"{directory}: the store can't be opened now: {error}")
    if isinstance(error, lmdb.CorruptedError | lmdb.PageNotFoundError | lmdb.InvalidError):
        return StoreError(f"{directory}: the store's file is damaged ({error})")
    return StoreError(f"{directory}: {error}")
