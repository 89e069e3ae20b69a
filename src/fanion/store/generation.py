"""One generation of the store, and how a process holds on to it. `fanion.store.layout` has what is written."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import lmdb

from fanion._core.list_block import ListReader, pack, rows_of
from fanion.errors import StoreError
from fanion.model.api_key import HASH_BYTES
from fanion.model.override import Overrides
from fanion.store.handles import Handles, ReadTransaction
from fanion.store.layout import (
    EMPTY,
    LIST_NUMBER_BYTES,
    OWN_ROWS,
    EnvironmentEntry,
    ListEntry,
    Manifest,
    Origin,
    StoredKey,
    block_key,
    content_key,
    definition_key,
    list_prefix,
    read_block,
    read_key,
    read_manifest,
    read_overrides,
    unseal,
)


class PinnedGeneration:
    """A read transaction and every view into the map that was handed out under it; they end together.

    A view is good until `release`. Whoever needs one longer takes a buffer of it (`Py_buffer`): then `release`
    answers False, keeps the transaction, and may be tried again.
    """

    def __init__(self, transaction: ReadTransaction, databases: Handles) -> None:
        """`transaction`: one whose values are views into the map."""
        self._transaction: ReadTransaction | None = transaction
        self._databases = databases
        self._views: dict[tuple[str, int], memoryview] = {}
        manifest = read_manifest(transaction, databases)
        self.manifest = EMPTY if manifest is None else manifest
        self.number = self.manifest.generation
        self._lists: dict[tuple[str, str], ListReader | None] = {}
        self._list_cursor: lmdb.Cursor[memoryview] | None = None

    def environments(self) -> tuple[str, ...]:
        """Ids of the environments that this generation serves, sorted."""
        return tuple(sorted(self.manifest.environments))

    def bundle(self, environment: str) -> memoryview | None:
        """The environment's bundle, straight from the map; None when this generation doesn't serve it."""
        return self._bundle(environment, self.manifest.environments.get(environment))

    def previous_bundle(self, environment: str) -> memoryview | None:
        """The bundle that was served before the last publish; None when it is the same or there is none."""
        manifest = self.previous_manifest()
        entry = None if manifest is None else manifest.environments.get(environment)
        if entry == self.manifest.environments.get(environment):
            return None
        return self._bundle(environment, entry)

    def previous_manifest(self) -> Manifest | None:
        """What was served before the last publish; None when there is none."""
        return read_manifest(self._open(), self._databases, b"previous")

    def _bundle(self, environment: str, entry: EnvironmentEntry | None) -> memoryview | None:
        if entry is None:
            return None
        name = (environment, entry.publication)
        view = self._views.get(name)
        if view is None:
            value = self._open().get(content_key(*name), db=self._databases["bundles"])
            if value is None or len(value) < entry.size:
                raise StoreError(
                    f"the store has lost the bundle of environment {environment}; publish it again"
                )
            view = self._views[name] = value[: entry.size]
        return view

    def adopt(self, older: PinnedGeneration, environment: str) -> bool:
        """Takes a view over from `older` when both serve the environment from one publication; else False.

        Why it stays good: what a publication wrote is never written again, LMDB doesn't move the pages of a value,
        and none that this transaction can reach is reused while it lives.
        """
        entry = self.manifest.environments.get(environment)
        if entry is None or older.manifest.environments.get(environment) != entry:
            return False
        view = older._views.pop((environment, entry.publication), None)
        if view is None:
            return False
        self._views[environment, entry.publication] = view
        return True

    def meta(self, name: bytes) -> bytes | None:
        """A sealed row of `meta` that belongs to no generation."""
        value = self._open().get(name, db=self._databases["meta"])
        return None if value is None else bytes(value)

    def meta_rows(self) -> dict[bytes, bytes]:
        """What goes with the generation and belongs to none: payloads of rows of `meta`."""
        cursor = self._open().cursor(self._databases["meta"])
        rows = ((bytes(key), bytes(value)) for key, value in cursor)
        return {key: unseal(key, value, "rows") for key, value in rows if key not in OWN_ROWS}

    def key_set(self, environment: str) -> bytes:
        """The keys that the environment's definitions name, as they are encoded: SHA-256 in hex -> KeyRecord."""
        entry = self.manifest.environments[environment]
        key = content_key(environment, entry.publication)
        value = self._open().get(key, db=self._databases["key_sets"])
        return b"{}" if value is None else unseal(key, bytes(value), "key sets")

    def overrides(self) -> Overrides:
        """What lies over the definitions."""
        return read_overrides(self._open(), self._databases)

    def key(self, key_hash: bytes) -> bytes | None:
        """The encoded record of the key with this SHA-256; None when it is unknown or revoked."""
        if len(key_hash) != HASH_BYTES:
            raise ValueError(f"a key's hash has {HASH_BYTES} bytes, not {len(key_hash)}")
        value = self._open().get(key_hash, db=self._databases["api_keys"])
        if value is None:
            return None
        payload = unseal(key_hash, bytes(value), "key table")
        return None if payload[0] == Origin.REVOKED else payload[1:]

    def key_hashes(self, most: int) -> Iterator[bytes]:
        """The hashes of stored keys, revoked ones too; at most so many."""
        cursor = self._open().cursor(self._databases["api_keys"])
        return itertools.islice(map(bytes, cursor.iternext(values=False)), most)

    def stored_keys(self) -> Iterator[StoredKey]:
        """Every stored key, revoked ones too."""
        for key_hash, value in self._open().cursor(self._databases["api_keys"]):
            yield read_key(bytes(key_hash), bytes(value))

    def member(self, environment: str, list_name: str, member: bytes) -> bool:
        """Whether a list segment of the environment holds `member`; False for an unknown list. Raises StoreError
        where the list is damaged."""
        try:
            reader = self._lists[environment, list_name]
        except KeyError:
            reader = self._open_list(environment, list_name)
        try:
            return reader is not None and reader.holds(member)
        except ValueError as error:
            raise StoreError(f"the store's lists can't be read: {error}") from error

    def list_reader(self, environment: str, list_name: str) -> ListReader | None:
        """Of a list segment, until `release`; None for one that is empty or unknown."""
        try:
            return self._lists[environment, list_name]
        except KeyError:
            return self._open_list(environment, list_name)

    def _open_list(self, environment: str, list_name: str) -> ListReader | None:
        """The reader of a list, kept until `release`; None for one that is empty or unknown."""
        transaction = self._open()
        entry = self.manifest.environments.get(environment)
        if entry is None or list_name not in entry.lists:
            return None
        blocks, reader = entry.lists[list_name], None
        if blocks.count:
            if self._list_cursor is None:
                self._list_cursor = transaction.cursor(self._databases["lists"])
            cursor = self._list_cursor
            reader = ListReader(cursor.set_range, cursor.value, blocks.number, blocks.secret)
        self._lists[environment, list_name] = reader
        return reader

    def members(self, environment: str, list_name: str) -> Iterator[bytes]:
        """Every member of a list segment, in the order of the hashes. Raises StoreError for an unknown list."""
        entry = self.manifest.environments.get(environment)
        if entry is None or list_name not in entry.lists:
            raise StoreError(f"environment {environment} has no list {list_name}")
        for key, value in self.blocks(entry.lists[list_name].number):
            yield from read_block(key, value)[0]

    def check_list(self, entry: ListEntry) -> None:
        """Reads a list through: its seals, that each block is the one that its members give, and that there is one
        for every hash. Raises StoreError."""
        number, count, covered = entry.number, 0, 0
        for key, value in self.blocks(number):
            members, prefix, depth = read_block(key, value)
            rows = rows_of(number, entry.secret, members)
            if (
                key != block_key(number, prefix, depth)
                or prefix != covered
                or not _is_packed(value, number, prefix, depth, rows)
            ):
                raise StoreError(f"list {number} is damaged")
            count += len(rows)
            covered = prefix + (1 << 64 - depth)
        if count != entry.count or (count and covered != 1 << 64):
            raise StoreError(f"list {number} has {count} members, not {entry.count}, or misses a block")

    def blocks(self, number: int) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a list's blocks, in the order of the hashes."""
        start = list_prefix(number)
        cursor = self._open().cursor(self._databases["lists"])
        if cursor.set_range(start):
            for key, value in cursor:
                if key[:LIST_NUMBER_BYTES] != start:
                    return
                yield bytes(key), bytes(value)

    def definitions(self, environment: str) -> dict[str, bytes]:
        """The sources that the environment's publication was made from, by file name."""
        rows = self._definition_rows(environment)
        return {name: unseal(key, value, "definitions") for name, key, value in rows}

    def definition_names(self, environment: str) -> list[str]:
        """The names of their files."""
        return [name for name, _, _ in self._definition_rows(environment)]

    def _definition_rows(self, environment: str) -> Iterator[tuple[str, bytes, memoryview]]:
        entry = self.manifest.environments.get(environment)
        if entry is None:
            return
        start = definition_key(entry.publication, "")
        cursor = self._open().cursor(self._databases["definitions"])
        if cursor.set_range(start):
            for key, value in cursor:
                raw = bytes(key)
                if not raw.startswith(start):
                    break
                yield raw[len(start) :].decode(), raw, value

    def release(self) -> bool:
        """Ends the transaction; False (and nothing ended) while someone still holds a buffer of a view."""
        if self._transaction is None:
            return True
        for name in list(self._views):
            try:
                self._views[name].release()
            except BufferError:
                return False
            del self._views[name]
        for reader in self._lists.values():
            if reader is not None:
                reader.close()
        self._lists.clear()
        self._list_cursor = None
        self._transaction.abort()
        self._transaction = None
        return True

    def __enter__(self) -> PinnedGeneration:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _open(self) -> ReadTransaction:
        if self._transaction is None:
            raise StoreError("this generation was released; take the current one for each request")
        return self._transaction


def _is_packed(value: bytes, number: int, prefix: int, depth: int, rows: list[bytes]) -> bool:
    """Whether a sealed block is byte for byte what these rows give."""
    try:
        return pack(number, prefix, depth, rows) == value[8:]
    except ValueError:
        return False
