"""List segments in the store: exact sets of up to millions of members, looked up one by one, never loaded.

A list is a row of blocks under one number, which the manifest's entry for its name gives. A block holds the members
whose hashes begin with the same bits, its prefix; together the blocks cover every hash, but a new list without
members has none. One that outgrows `BLOCK_BYTES_MAX` is split at its next bit; two that differ in their last bit
and have become small are made one. `ext/include/fanion_list_block.h` has the layout.

A new list is written in bounded transactions under a number that nothing names yet, in the order of its keys, so
that LMDB only ever appends: members are dealt out by the first byte of their hash, in memory first and then to one
unnamed scratch file, and each share is sorted by itself. Members that come and go by command change their blocks in
place, a few megabytes a transaction. What no kept generation names is removed in bounded transactions as well.
Whatever moment a writer dies at, the store is whole. Memory: `ROWS_IN_MEMORY` rows or one 256th of the list,
whichever is more; ten million keys take about 60 MB.

Decided 2026-11-21: how a member is found, measured with ten million keys on one machine. A row for each member,
found by LMDB: 1.9 µs, most of it cache misses in a tree of four levels. Blocks of a page, found by LMDB: 1.4 µs,
most of it the search for the block. Blocks by prefix, each of which a reader remembers at its first use: 0.7 µs,
chosen. The price: a change of one member writes its whole block, and a reader has 16 bytes for each block, a
quarter of a megabyte for ten million keys. Blocks of 8 to 60 KB are equally fast; these keep both prices low.
The hash is SipHash under a secret of each list: with one that anybody can compute, whoever chooses members could
choose the block that they all end up in.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import IO, TypeAlias

import lmdb
import msgspec

from fanion._core.list_block import pack, rows_of
from fanion.errors import StoreError
from fanion.store.handles import Handle, WriteTransaction
from fanion.store.layout import LIST_NUMBER_BYTES, ListEntry, block_key, list_prefix, read_block, seal

BLOCK_BYTES_MAX = 8 * 4096 - 16
"""A block of more is split; LMDB puts 16 bytes before a value on pages of its own."""

BLOCK_BYTES_WRITTEN = 24_000
"""A new list's blocks have half to all of this: room for members that come one by one."""

BLOCK_BYTES_MERGED = 12_000
"""Two blocks that together have no more become one."""

BYTES_PER_TRANSACTION = 8 * 1024 * 1024
"""Bounds the pages that one commit has to write, and so how long another command waits."""

BLOCKS_PER_TRANSACTION = 2_000
"""Blocks that one commit removes."""

ROWS_IN_MEMORY = 200_000
"""Rows that are held before they go to the scratch file; shorter lists never touch it."""

READ_AT_ONCE = 10_000

MEMBER_BYTES_MAX = 1_024
HASH_BYTES = 8
SHARES = 256
SHARE_BITS = 8
DEPTH_MAX = 63

Writing: TypeAlias = "Callable[[], AbstractContextManager[WriteTransaction]]"
Progress = Callable[[str, int], None] | None


class _Shares:
    """Rows (hash + member) by the first byte of the hash; more than fit in memory wait in the scratch file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._rows: list[list[bytes]] = [[] for _ in range(SHARES)]
        self._held = 0
        self._frames: list[list[tuple[int, int]]] = [[] for _ in range(SHARES)]
        self._file: IO[bytes] | None = None
        self._spilled_bytes = 0

    def add(self, rows: list[bytes]) -> None:
        shares = self._rows
        for row in rows:
            shares[row[0]].append(row)
        self._held += len(rows)
        if self._held >= ROWS_IN_MEMORY:
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115 - closed in close()
        for frames, rows in zip(self._frames, self._rows, strict=True):
            if rows:
                different = set(rows)
                self._spilled_bytes += _size(different)
                frame = msgspec.msgpack.encode(different)
                frames.append((self._file.tell(), len(frame)))
                self._file.write(frame)
                rows.clear()
        self._held = 0

    def count_bytes(self) -> int:
        """Of what was added, without most of the repeats: those of rows that were held at the same time."""
        return self._spilled_bytes + sum(_size(set(rows)) for rows in self._rows if rows)

    def sorted(self, share: int) -> list[bytes]:
        """The different rows of a share, sorted."""
        rows = self._rows[share]
        self._rows[share] = []
        for offset, size in self._frames[share]:
            assert self._file is not None
            self._file.seek(offset)
            rows += msgspec.msgpack.decode(self._file.read(size), type=list[bytes])
        return sorted(set(rows))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def write_list(
    writing: Writing,
    database: Handle,
    entry: ListEntry,
    members: Iterable[bytes],
    progress: Progress,
    scratch: Path,
) -> int:
    """Stores every member under the entry's number, which is above every other list's, and returns how many
    different ones there were. `scratch`: a directory with room for all of them once more."""
    shares = _Shares(scratch)
    try:
        rest = iter(members)
        while chunk := list(islice(rest, READ_AT_ONCE)):
            shares.add(checked_rows(entry, chunk))
        size = shares.count_bytes()
        return _append(writing, database, entry, shares, size, progress) if size else 0
    finally:
        shares.close()


def _append(
    writing: Writing, database: Handle, entry: ListEntry, shares: _Shares, expected: int, progress: Progress
) -> int:
    depth = 0
    while expected >> depth > BLOCK_BYTES_WRITTEN:
        depth += 1
    count = size = 0
    blocks: list[tuple[bytes, bytes]] = []
    rows: list[bytes] = []
    together = SHARES >> min(depth, SHARE_BITS)
    for share in range(SHARES):
        rows += shares.sorted(share)
        if (share + 1) % together:
            continue
        prefix = (share + 1 - together) << 64 - SHARE_BITS
        for key, block in _blocks(entry.number, prefix, min(depth, SHARE_BITS), depth, rows):
            blocks.append((key, block))
            size += len(block)
            if size >= BYTES_PER_TRANSACTION:
                _append_blocks(writing, database, blocks)
                blocks, size = [], 0
        if progress is not None:
            progress("list rows", len(rows))
        count, rows = count + len(rows), []
    _append_blocks(writing, database, blocks)
    return count


def _append_blocks(writing: Writing, database: Handle, blocks: list[tuple[bytes, bytes]]) -> None:
    with writing() as transaction:
        _, added = transaction.cursor(database).putmulti(blocks, append=True)
        if added != len(blocks):
            raise StoreError("a list can't be appended: the store holds blocks above it")


def _blocks(
    number: int, prefix: int, depth: int, depth_min: int, rows: list[bytes]
) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the blocks of at least `depth_min` that hold the sorted rows of a prefix."""
    if depth >= depth_min and _size(rows) <= BLOCK_BYTES_MAX:
        key = block_key(number, prefix, depth)
        yield key, seal(key, pack(number, prefix, depth, rows))
        return
    if depth == DEPTH_MAX:
        raise StoreError(f"{len(rows)} members have nearly one hash, {rows[0][HASH_BYTES:]!r} and others")
    middle = prefix | 1 << 63 - depth
    at = bisect_left(rows, middle.to_bytes(HASH_BYTES, "big"))
    yield from _blocks(number, prefix, depth + 1, depth_min, rows[:at])
    yield from _blocks(number, middle, depth + 1, depth_min, rows[at:])


def _size(rows: Collection[bytes]) -> int:
    """Bytes of a block with these rows: a length and a start for each, the head and the last start."""
    return 36 + sum(map(len, rows)) + (2 + 2 - HASH_BYTES) * len(rows)


def checked_rows(entry: ListEntry, members: list[bytes]) -> list[bytes]:
    """The members' rows. Raises StoreError for a member out of bounds."""
    for member in members:
        if not 1 <= len(member) <= MEMBER_BYTES_MAX:
            raise StoreError(f"a list member has {len(member)} bytes; 1 to {MEMBER_BYTES_MAX} are allowed")
    return rows_of(entry.number, entry.secret, members)


def change_rows(
    transaction: WriteTransaction, database: Handle, entry: ListEntry, rows: list[bytes], adding: bool
) -> tuple[int, int]:
    """Adds or takes out the first of these sorted rows, as many as one transaction should; returns how many members
    came or went, and how many of the rows are done."""
    changed = written = at = 0
    while at < len(rows) and written < BYTES_PER_TRANSACTION:
        prefix, depth, old = _block_of(transaction, database, entry, rows[at])
        beyond = prefix + (1 << 64 - depth)
        end = bisect_left(rows, beyond.to_bytes(HASH_BYTES, "big"), at) if beyond < 1 << 64 else len(rows)
        some = rows[at:end]
        if adding:
            held = set(old)
            new = sorted(old + [row for row in some if row not in held])
        else:
            gone = set(some)
            new = [row for row in old if row not in gone]
        if len(new) != len(old):
            changed += abs(len(new) - len(old))
            if not adding:
                prefix, depth, new = _merged(transaction, database, entry, prefix, depth, new)
            for key, block in _blocks(entry.number, prefix, depth, depth, new):
                transaction.put(key, block, db=database)
                written += len(block)
            if not new and depth == 0:
                transaction.delete(block_key(entry.number, 0, 0), db=database)
        at = end
    return changed, at


def _merged(
    transaction: WriteTransaction,
    database: Handle,
    entry: ListEntry,
    prefix: int,
    depth: int,
    rows: list[bytes],
) -> tuple[int, int, list[bytes]]:
    """Prefix, depth and rows of a block that has shrunk, with those blocks that go into it, which are removed."""
    while depth > 0 and _size(rows) <= BLOCK_BYTES_MERGED:
        bit = 1 << 64 - depth
        key = block_key(entry.number, prefix ^ bit, depth)
        members, _, other_depth = read_block(key, transaction.get(key, b"", db=database))
        if other_depth != depth:  # the other half is split further
            break
        both = sorted(rows + rows_of(entry.number, entry.secret, members))
        if _size(both) > BLOCK_BYTES_MERGED:
            break
        prefix, rows = prefix & ~bit, both
        transaction.delete(block_key(entry.number, prefix, depth), db=database)
        depth -= 1
    return prefix, depth, rows


def _block_of(
    transaction: WriteTransaction, database: Handle, entry: ListEntry, row: bytes
) -> tuple[int, int, list[bytes]]:
    """Prefix, depth and rows of the block that covers a row's hash; of all hashes in a list without blocks."""
    cursor = transaction.cursor(database)
    start = list_prefix(entry.number)
    if not cursor.set_range(start + row[:HASH_BYTES]) or cursor.key()[:LIST_NUMBER_BYTES] != start:
        return 0, 0, []
    members, prefix, depth = read_block(cursor.key(), cursor.value())
    return prefix, depth, rows_of(entry.number, entry.secret, members)


def sweep_lists(writing: Writing, database: Handle, kept: set[int]) -> None:
    """Removes every list whose number isn't in `kept`."""
    while True:
        with writing() as transaction:
            removed = _remove_unwanted(transaction.cursor(database), kept)
        if removed < BLOCKS_PER_TRANSACTION:
            return


def _remove_unwanted(cursor: lmdb.Cursor[bytes], kept: set[int]) -> int:
    """Deletes blocks of lists not in `kept`, at most a transaction's worth; those that are kept are jumped over."""
    removed = 0
    found = cursor.first()
    while found and removed < BLOCKS_PER_TRANSACTION:
        number = int.from_bytes(cursor.key()[:LIST_NUMBER_BYTES], "big")
        if number in kept:
            found = cursor.set_range(list_prefix(number + 1))
        else:
            found = cursor.delete()  # leads to the block after it
            found = bool(cursor.key())
            removed += 1
    return removed
