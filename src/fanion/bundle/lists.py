"""List segments in the store: exact sets of up to millions of members, looked up one by one, never loaded.

A list is written in bounded transactions under a number that nothing names yet; the publish that names it
comes after. What no kept generation names is removed the same way. Both leave the store whole at any point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

from fanion.bundle.generation import list_key
from fanion.errors import StoreError

ROWS_PER_TRANSACTION = 50_000
"""Bounds the pages that one commit has to write, and so how long another command waits."""

MEMBER_BYTES_MAX = 1_024

Writing = Callable[[], AbstractContextManager[Any]]


def write_list(
    writing: Writing,
    database: Any,
    number: int,
    members: Iterable[bytes],
    progress: Callable[[str, int], None] | None,
) -> int:
    """Stores every member under `number` and returns how many different ones there were."""
    rest = iter(members)
    count = 0
    while chunk := list(islice(rest, ROWS_PER_TRANSACTION)):
        with writing() as transaction:
            for key, member in sorted((list_key(number, _checked(member)), member) for member in chunk):
                count += transaction.put(key, member, db=database, overwrite=False)
        if progress is not None:
            progress("list members", len(chunk))
    return count


def sweep_lists(writing: Writing, database: Any, kept: set[int]) -> None:
    """Removes every list whose number isn't in `kept`."""
    while True:
        with writing() as transaction:
            doomed = list(islice(_unwanted(transaction.cursor(database), kept), ROWS_PER_TRANSACTION))
            for key in doomed:
                transaction.delete(key, db=database)
        if len(doomed) < ROWS_PER_TRANSACTION:
            return


def _unwanted(cursor: Any, kept: set[int]) -> Iterator[bytes]:
    """Keys of lists not in `kept`; those that are kept are jumped over."""
    found = cursor.first()
    while found:
        key = bytes(cursor.key())
        number = int.from_bytes(key[:8], "big")
        if number in kept:
            found = cursor.set_range((number + 1).to_bytes(8, "big"))
        else:
            yield key
            found = cursor.next()


def _checked(member: bytes) -> bytes:
    if not 1 <= len(member) <= MEMBER_BYTES_MAX:
        raise StoreError(f"a list member has {len(member)} bytes; 1 to {MEMBER_BYTES_MAX} are allowed")
    return member
