"""List segments in the store: exact sets of up to millions of members, looked up one by one, never loaded.

A list is the rows that begin with its number; the number is in the manifest's entry for its name. A new list
is written in bounded transactions under a number that nothing names yet, in the order of its keys, so that
LMDB only ever appends: members are dealt out by the first byte of their hash, in memory first and then to one
unnamed scratch file, and each share is sorted by itself. Members that come and go by command are written in
place, some thousands a transaction. What no kept generation names is removed in bounded transactions as well.
Whatever moment a writer dies at, the store is whole.

Memory: `ROWS_IN_MEMORY` rows or one 256th of the list, whichever is more; ten million keys take about 60 MB.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from itertools import islice, pairwise
from pathlib import Path
from typing import IO, Any

import msgspec
from xxhash import xxh3_128_digest

from fanion.bundle.generation import LIST_NUMBER_BYTES, list_key
from fanion.errors import StoreError

ROWS_PER_TRANSACTION = 50_000
"""Bounds the pages that one commit has to write, and so how long another command waits."""

ROWS_IN_MEMORY = 200_000
"""Rows that are held before they go to the scratch file; shorter lists never touch it."""

READ_AT_ONCE = 10_000

MEMBER_BYTES_MAX = 1_024
HASH_BYTES = 16
SHARES = 256

Writing = Callable[[], AbstractContextManager[Any]]
Progress = Callable[[str, int], None] | None


class _Shares:
    """Rows (hash + member) by the first byte of the hash; more than fit in memory wait in the scratch file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._rows: list[list[bytes]] = [[] for _ in range(SHARES)]
        self._held = 0
        self._frames: list[list[tuple[int, int]]] = [[] for _ in range(SHARES)]
        self._file: IO[bytes] | None = None

    def add(self, members: list[bytes]) -> None:
        shares = self._rows
        for member in members:
            row = xxh3_128_digest(member) + member
            shares[row[0]].append(row)
        self._held += len(members)
        if self._held >= ROWS_IN_MEMORY:
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115 - closed in close()
        for frames, rows in zip(self._frames, self._rows, strict=True):
            if rows:
                frame = msgspec.msgpack.encode(rows)
                frames.append((self._file.tell(), len(frame)))
                self._file.write(frame)
                rows.clear()
        self._held = 0

    def sorted(self, share: int) -> list[bytes]:
        """The different rows of a share in the order of their hashes. Raises StoreError where two members have
        one hash: the second could not be stored."""
        rows = self._rows[share]
        self._rows[share] = []
        for offset, size in self._frames[share]:
            assert self._file is not None
            self._file.seek(offset)
            rows += msgspec.msgpack.decode(self._file.read(size), type=list[bytes])
        rows = sorted(set(rows))
        for one, other in pairwise(rows):
            if one[:HASH_BYTES] == other[:HASH_BYTES]:
                raise StoreError(f"the members {one[HASH_BYTES:]!r} and {other[HASH_BYTES:]!r} have one hash")
        return rows

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def write_list(
    writing: Writing,
    database: Any,
    number: int,
    members: Iterable[bytes],
    progress: Progress,
    scratch: Path,
) -> int:
    """Stores every member under `number`, which is above every other list's, and returns how many different ones
    there were. `scratch`: a directory with room for all of them once more."""
    shares = _Shares(scratch)
    try:
        rest = iter(members)
        while chunk := list(islice(rest, READ_AT_ONCE)):
            for member in chunk:
                if not 1 <= len(member) <= MEMBER_BYTES_MAX:
                    raise _refuse(member)
            shares.add(chunk)
            if progress is not None:
                progress("list members", len(chunk))
        prefix = number.to_bytes(LIST_NUMBER_BYTES, "big")
        count = 0
        waiting: list[tuple[bytes, bytes]] = []
        for share in range(SHARES):
            waiting += [(prefix + row[:HASH_BYTES], row[HASH_BYTES:]) for row in shares.sorted(share)]
            while len(waiting) >= ROWS_PER_TRANSACTION or (waiting and share == SHARES - 1):
                batch, waiting = waiting[:ROWS_PER_TRANSACTION], waiting[ROWS_PER_TRANSACTION:]
                with writing() as transaction:
                    _, added = transaction.cursor(database).putmulti(batch, append=True)
                    if added != len(batch):
                        raise StoreError(f"list {number} can't be appended: the store holds rows above it")
                count += added
                if progress is not None:
                    progress("list rows", len(batch))
        return count
    finally:
        shares.close()


def add_rows(transaction: Any, database: Any, number: int, members: Iterable[bytes]) -> int:
    """Adds members to a list that is there, in this transaction; returns how many were not in it."""
    added = 0
    for member in members:
        if not 1 <= len(member) <= MEMBER_BYTES_MAX:
            raise _refuse(member)
        key = list_key(number, member)
        if transaction.put(key, member, db=database, overwrite=False):
            added += 1
        elif transaction.get(key, db=database) != member:
            raise StoreError(f"the member {member!r} has the hash of another one")
    return added


def remove_rows(transaction: Any, database: Any, number: int, members: Iterable[bytes]) -> int:
    """Takes members from a list, in this transaction; returns how many were in it."""
    removed = 0
    for member in members:
        key = list_key(number, member)
        if transaction.get(key, db=database) == member:
            transaction.delete(key, db=database)
            removed += 1
    return removed


def sweep_lists(writing: Writing, database: Any, kept: set[int]) -> None:
    """Removes every list whose number isn't in `kept`."""
    while True:
        with writing() as transaction:
            removed = _remove_unwanted(transaction.cursor(database), kept)
        if removed < ROWS_PER_TRANSACTION:
            return


def _remove_unwanted(cursor: Any, kept: set[int]) -> int:
    """Deletes rows of lists not in `kept`, at most a transaction's worth; those that are kept are jumped over."""
    removed = 0
    found = cursor.first()
    while found and removed < ROWS_PER_TRANSACTION:
        number = int.from_bytes(cursor.key()[:LIST_NUMBER_BYTES], "big")
        if number in kept:
            found = cursor.set_range((number + 1).to_bytes(LIST_NUMBER_BYTES, "big"))
        else:
            found = cursor.delete()  # leads to the row after it
            found = bool(cursor.key())
            removed += 1
    return removed


def _refuse(member: bytes) -> StoreError:
    return StoreError(f"a list member has {len(member)} bytes; 1 to {MEMBER_BYTES_MAX} are allowed")
