"""A generation that another machine made, put into this store whole: one transaction, a number of this store's own.

Bundles, definitions and keys are stored as a publish stores them. Lists keep their numbers and secrets, so their
blocks are the same bytes: new lists are written before, in bounded transactions, under numbers that nothing names
yet; of others only the blocks that changed, in the transaction itself.

Keys are replaced as a whole, but one that was revoked here stays revoked, and each that arrives revoked is noted
beside the store like one that is revoked by command.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec
import xxhash

from fanion.errors import StoreError
from fanion.model.api_key import KeyRecord
from fanion.store import layout
from fanion.store.handles import Handle, WriteTransaction
from fanion.store.layout import OWN_ROWS, PLACE, EnvironmentEntry, ListEntry, Manifest, Origin, StoredKey
from fanion.store.list_writer import renamed
from fanion.store.lists import BYTES_PER_TRANSACTION
from fanion.store.revocations import note_revocations
from fanion.store.transactions import Transactions, padded

Blocks = Iterable[tuple[bytes, bytes]]
"""Keys and sealed values, in the order of the keys."""


class Incoming(NamedTuple):
    """One environment. `bundle`: None, all but its lists stays as the store has it. `definitions`: which of the
    installation's. `keys`: what its definitions name."""

    lists: dict[str, ListEntry]
    bundle: bytes | None = None
    definitions: str = ""
    keys: bytes = b"{}"
    overrides: str = ""


class ChangedBlocks(NamedTuple):
    """The blocks of a list whose prefixes are in [start, end), in the place of those that are there."""

    start: int
    end: int
    blocks: list[tuple[bytes, bytes]]


class Installation(NamedTuple):
    """`keys`: all that there are. `rows`: all of `meta` that go with it. `new_lists`: those that the store hasn't.
    `changed_lists`: of those that it has."""

    environments: Mapping[str, Incoming]
    definitions: Mapping[str, Mapping[str, bytes]]
    keys: Iterable[StoredKey]
    rows: Mapping[bytes, bytes]
    lists_made: int
    new_lists: Mapping[int, Callable[[], Blocks]]
    changed_lists: Mapping[int, list[ChangedBlocks]]


def install(
    transactions: Transactions, new: Installation, origin: Callable[[int], bytes], *, undone: bool = False
) -> int:
    """Returns the generation. `origin`: of it, the row that says where it came from. `undone`: what is served now
    counts as never served, so no rollback goes back to it. Raises StoreError."""
    with transactions.publishing():
        if new.new_lists:
            transactions.sweep()  # what an installation that was cut off had written
        for number, blocks in new.new_lists.items():
            _write_list(transactions, number, blocks())
        with transactions.writing() as transaction:
            current = transactions.current(transaction)
            first = transactions.next_number(current)
            numbers = {name: first + at for at, name in enumerate(sorted(new.definitions))}
            generation = max([first, *numbers.values()])
            entries = {
                name: _put_environment(transactions, transaction, current, name, incoming, numbers)
                for name, incoming in new.environments.items()
            }
            for name, files in new.definitions.items():
                for file, source in files.items():
                    key = layout.definition_key(numbers[name], file)
                    transactions.put(transaction, "definitions", key, layout.seal(key, source))
            for number, changes in new.changed_lists.items():
                _change_list(transactions, transaction, number, changes)
            _put_manifests(transactions, transaction, current, entries, generation, new, undone)
            _put_keys(transactions, transaction, new.keys)
            _put_rows(transactions, transaction, new.rows)
            transactions.put(transaction, "meta", PLACE, layout.seal(PLACE, origin(generation)))
        transactions.word.raise_to(generation)
        transactions.sweep()
    return generation


def put_origin(transactions: Transactions, payload: bytes | None) -> None:
    """Notes where the generation went, or nothing any more; no new one is made. Raises StoreError."""
    with transactions.writing() as transaction:
        if payload is None:
            transaction.delete(PLACE, db=transactions.databases["meta"])
        else:
            transactions.put(transaction, "meta", PLACE, layout.seal(PLACE, payload))


def _put_environment(
    transactions: Transactions,
    transaction: WriteTransaction,
    current: Manifest,
    name: str,
    incoming: Incoming,
    numbers: Mapping[str, int],
) -> EnvironmentEntry:
    if incoming.bundle is None:
        return msgspec.structs.replace(current.environments[name], lists=incoming.lists)
    number = numbers[incoming.definitions]
    key = layout.content_key(name, number)
    transactions.put(transaction, "bundles", key, padded(incoming.bundle))
    transactions.put(transaction, "key_sets", key, layout.seal(key, incoming.keys))
    return EnvironmentEntry(
        publication=number,
        size=len(incoming.bundle),
        digest=xxhash.xxh64_intdigest(incoming.bundle),
        lists=incoming.lists,
        overrides=incoming.overrides,
    )


def _put_manifests(
    transactions: Transactions,
    transaction: WriteTransaction,
    current: Manifest,
    entries: dict[str, EnvironmentEntry],
    generation: int,
    new: Installation,
    undone: bool,
) -> None:
    """The one that counts, and what it follows where other bundles are served: changed lists are changed there
    too."""

    def served(environments: Mapping[str, EnvironmentEntry]) -> dict[str, int]:
        return {name: entry.publication for name, entry in environments.items()}

    before = layout.read_manifest(transaction, transactions.databases, b"previous")
    if not undone and current.generation and served(current.environments) != served(entries):
        before = current
    manifest = Manifest(
        generation=generation,
        published_at=time.time(),
        environments=entries,
        lists_made=max(current.lists_made, new.lists_made),
    )
    if before is not None:
        changed = {one.number: one for entry in entries.values() for one in entry.lists.values()}
        environments = {}
        for name, entry in before.environments.items():
            for one in entry.lists.values():
                if one.number in new.changed_lists and one.number in changed:
                    entry = renamed(entry, one.number, changed[one.number])
            environments[name] = entry
        before = msgspec.structs.replace(before, environments=environments)
        sealed = layout.seal(b"previous", msgspec.json.encode(before))
        transactions.put(transaction, "meta", b"previous", sealed)
    sealed = layout.seal(b"current", msgspec.json.encode(manifest))
    transactions.put(transaction, "meta", b"current", sealed)


def _put_keys(transactions: Transactions, transaction: WriteTransaction, keys: Iterable[StoredKey]) -> None:
    database = transactions.databases["api_keys"]
    held = {
        bytes(key_hash): layout.read_key(bytes(key_hash), value)
        for key_hash, value in transaction.cursor(database)
    }
    wanted = {key.hash: key for key in keys}
    revoked: list[tuple[bytes, KeyRecord]] = []
    for key_hash, key in wanted.items():
        old = held.get(key_hash)
        if old is not None and (old == key or old.origin == Origin.REVOKED):
            continue
        if key.origin == Origin.REVOKED:
            revoked.append((key_hash, key.record))
        transactions.put(transaction, "api_keys", key_hash, layout.seal_key(key_hash, key.origin, key.record))
    for key_hash, key in held.items():
        if key_hash not in wanted and key.origin != Origin.REVOKED:
            transaction.delete(key_hash, db=database)
    note_revocations(transactions.directory, revoked)


def _put_rows(transactions: Transactions, transaction: WriteTransaction, rows: Mapping[bytes, bytes]) -> None:
    database = transactions.databases["meta"]
    for key in [bytes(key) for key in transaction.cursor(database).iternext(values=False)]:
        if key not in rows and key not in OWN_ROWS:
            transaction.delete(key, db=database)
    for key, payload in rows.items():
        if key in OWN_ROWS:
            raise StoreError(f"a row {key!r} is this store's own and can't come from elsewhere")
        transactions.put(transaction, "meta", key, layout.seal(key, payload))


def _write_list(transactions: Transactions, number: int, blocks: Blocks) -> None:
    """In transactions of some size, each begun once its blocks are there: they may come from far."""
    rest, done = iter(blocks), False
    while not done:
        some, size = [], 0
        for key, value in rest:
            some.append((key, value))
            size += len(value)
            if size >= BYTES_PER_TRANSACTION:
                break
        else:
            done = True
        with transactions.writing() as transaction:
            for key, value in some:
                transactions.put(transaction, "lists", key, _checked(number, key, value))


def _checked(number: int, key: bytes, value: bytes) -> bytes:
    if key[: layout.LIST_NUMBER_BYTES] != layout.list_prefix(number):
        raise StoreError(f"a block of list {number} is another list's")
    layout.unseal(key, value, "incoming lists")
    return value


def _change_list(
    transactions: Transactions, transaction: WriteTransaction, number: int, changes: list[ChangedBlocks]
) -> None:
    database = transactions.databases["lists"]
    for change in changes:
        for key in list(_keys_within(transaction, database, number, change.start, change.end)):
            transaction.delete(key, db=database)
        for key, value in change.blocks:
            transactions.put(transaction, "lists", key, _checked(number, key, value))


def _keys_within(
    transaction: WriteTransaction, database: Handle, number: int, start: int, end: int
) -> Iterator[bytes]:
    """Keys of the blocks whose prefixes are in [start, end). A block's key is the last hash that may be in it."""
    prefix = layout.list_prefix(number)
    cursor = transaction.cursor(database)
    if not cursor.set_range(prefix + start.to_bytes(8, "big")):
        return
    for key, value in cursor:
        begins = layout.prefix_of(value)
        if key[: layout.LIST_NUMBER_BYTES] != prefix or begins >= end:
            return
        if begins >= start:
            yield bytes(key)
