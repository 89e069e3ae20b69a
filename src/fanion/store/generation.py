"""One generation of the store: what is written for it, and how a process holds on to it.

Named databases (LMDB; a key has at most 511 bytes):

    meta          "format" -> version; "current", "previous" -> sealed Manifest; "signing" -> sealed SigningKeys;
                  "overrides" -> sealed Overrides; "weights" NUL environment -> sealed weights;
                  "unit-keys" -> sealed UnitKeys
    bundles       environment NUL publication -> bundle, zero-padded to one page so that LMDB keeps it on pages
                  of its own, 16-aligned; the manifest knows its true size
    api_keys      SHA-256 -> sealed origin byte + KeyRecord
    key_sets      environment NUL publication -> sealed {SHA-256: KeyRecord}, the keys that the definitions name
    definitions   publication NUL file name -> sealed source, kept for recompiling
    lists         list number + last hash that may be in it -> sealed block of members (`fanion.store.lists`)

A publication is what one publish wrote; its number is the generation in which it appeared. A manifest says
which publication each environment is served from, so rolling back switches names and copies nothing.
Sealed: 8 bytes xxh64 of key and payload before the payload, since LMDB returns a flipped byte silently.
Do not change a layout here without a new STORE_FORMAT.
"""

from __future__ import annotations

import enum
import itertools
import os
from collections.abc import Iterator

import lmdb
import msgspec
import xxhash

from fanion._core.list_block import ListReader, pack, rows_of, unpack
from fanion.errors import StoreBusyError, StoreError, StoreTwinError
from fanion.model.api_key import HASH_BYTES, KeyRecord
from fanion.model.override import Overrides
from fanion.store.handles import AnyTransaction, Handles, ReadTransaction

STORE_FORMAT = 2

DATABASES = ("meta", "bundles", "api_keys", "key_sets", "definitions", "lists")

BUNDLE_ROOM_MIN = 4096
"""Values up to half a page share pages and are only 2-aligned; the kernel wants 8."""

LIST_NUMBER_BYTES = 8

OVERRIDES = b"overrides"
"""In `meta`."""

NAME_BYTES_MAX = 400
"""Bytes of an environment's id or a file's name in an LMDB key."""


class Origin(enum.IntEnum):
    """Where a stored key came from. A REVOKED one is kept, so that no publish or rollback revives it."""

    DEFINED = 1
    CREATED = 2
    REVOKED = 3


class ListEntry(msgspec.Struct, frozen=True, array_like=True):
    """A list segment's blocks: all that begin with `number`. `source`: a digest of what they were published from;
    empty once a command has changed them. `secret`: 64 bits, what its members are hashed with. `changes`: how many
    transactions have changed its members in place."""

    number: int
    count: int
    source: str = ""
    secret: int = 0
    changes: int = 0


class EnvironmentEntry(msgspec.Struct, frozen=True):
    """Where an environment's content lies: its publication, and its bundle's true size and xxh64. `overrides`: what
    was laid over it (`fanion.model.weights.laid_with`)."""

    publication: int
    size: int
    digest: int
    lists: dict[str, ListEntry] = {}
    overrides: str = ""


class Manifest(msgspec.Struct, frozen=True):
    """What one generation is made of. `generation` only ever grows; `published_at` in Unix seconds."""

    generation: int
    published_at: float
    environments: dict[str, EnvironmentEntry]
    lists_made: int = 0


EMPTY = Manifest(generation=0, published_at=0.0, environments={})


class StoredKey(msgspec.Struct, frozen=True):
    """A row of `api_keys`."""

    hash: bytes
    origin: Origin
    record: KeyRecord


def seal(key: bytes, payload: bytes) -> bytes:
    """`payload` with its checksum, bound to the key that it is stored under."""
    return xxhash.xxh64_digest(key + payload) + payload


def unseal(key: bytes, value: bytes, what: str) -> bytes:
    """The payload. Raises StoreError when a byte has changed since it was sealed."""
    if len(value) < 8 or xxhash.xxh64_digest(key + value[8:]) != value[:8]:
        raise StoreError(
            f"the store's {what} is damaged; `fanion serve` goes back to the copy beside the store"
        )
    return value[8:]


def content_key(environment: str, publication: int) -> bytes:
    return environment.encode() + b"\0" + publication.to_bytes(8, "big")


def publication_of(key: bytes) -> int:
    """The publication in a `content_key`."""
    return int.from_bytes(key[-8:], "big")


def definition_key(publication: int, name: str) -> bytes:
    return publication.to_bytes(8, "big") + b"\0" + name.encode()


def list_prefix(number: int) -> bytes:
    """What the keys of a list's blocks begin with."""
    return number.to_bytes(LIST_NUMBER_BYTES, "big")


def block_key(number: int, prefix: int, depth: int) -> bytes:
    """Of the block that holds the hashes whose first `depth` bits are those of `prefix`."""
    return list_prefix(number) + (prefix | (1 << 64 - depth) - 1).to_bytes(8, "big")


def read_block(key: bytes, value: bytes) -> tuple[list[bytes], int, int]:
    """The members of a block, its prefix and its depth. Raises StoreError when it is damaged."""
    try:
        return unpack(unseal(key, value, "lists"))
    except ValueError as error:
        raise StoreError(f"the store holds a block of a list that can't be read: {error}") from error


def read_manifest(
    transaction: AnyTransaction, databases: Handles, name: bytes = b"current"
) -> Manifest | None:
    """The manifest `name` ("current" or "previous"); None when there is none yet."""
    value = transaction.get(name, db=databases["meta"])
    if value is None:
        return None
    try:
        return msgspec.json.decode(unseal(name, bytes(value), "manifest"), type=Manifest)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the store's manifest can't be read: {error}") from error


def read_overrides(transaction: AnyTransaction, databases: Handles) -> Overrides:
    """What lies over the definitions. Raises StoreError when it is damaged."""
    value = transaction.get(OVERRIDES, db=databases["meta"])
    if value is None:
        return Overrides()
    try:
        return msgspec.json.decode(unseal(OVERRIDES, bytes(value), "overrides"), type=Overrides)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the store's overrides can't be read: {error}") from error


def read_key(key_hash: bytes, value: bytes) -> StoredKey:
    """A row of `api_keys`. Raises StoreError when it is damaged."""
    payload = unseal(key_hash, bytes(value), "key table")
    try:
        return StoredKey(key_hash, Origin(payload[0]), msgspec.json.decode(payload[1:], type=KeyRecord))
    except (msgspec.MsgspecError, ValueError, IndexError) as error:
        raise StoreError(f"the store holds a key record that can't be read: {error}") from error


def seal_key(key_hash: bytes, origin: Origin, record: KeyRecord) -> bytes:
    return seal(key_hash, bytes([origin]) + msgspec.json.encode(record))


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
        manifest = read_manifest(self._open(), self._databases, b"previous")
        entry = None if manifest is None else manifest.environments.get(environment)
        if entry == self.manifest.environments.get(environment):
            return None
        return self._bundle(environment, entry)

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
        for key, value in self._blocks(entry.lists[list_name].number):
            yield from read_block(key, value)[0]

    def check_list(self, entry: ListEntry) -> None:
        """Reads a list through: its seals, that each block is the one that its members give, and that there is one
        for every hash. Raises StoreError."""
        number, count, covered = entry.number, 0, 0
        for key, value in self._blocks(number):
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

    def _blocks(self, number: int) -> Iterator[tuple[bytes, bytes]]:
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
        entry = self.manifest.environments.get(environment)
        if entry is None:
            return {}
        start = definition_key(entry.publication, "")
        found: dict[str, bytes] = {}
        cursor = self._open().cursor(self._databases["definitions"])
        if cursor.set_range(start):
            for key, value in cursor:
                raw = bytes(key)
                if not raw.startswith(start):
                    break
                found[raw[len(start) :].decode()] = unseal(raw, bytes(value), "definitions")
        return found

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
