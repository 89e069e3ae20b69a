"""One generation of the store: what is written for it, and how a process holds on to it.

Named databases (LMDB; a key has at most 511 bytes):

    meta          "format" -> version; "current", "previous" -> sealed Manifest; "signing" -> sealed SigningKeys
    bundles       environment NUL publication -> bundle, zero-padded to one page so that LMDB keeps it on pages
                  of its own, 16-aligned; the manifest knows its true size
    api_keys      SHA-256 -> sealed origin byte + KeyRecord
    key_sets      environment NUL publication -> sealed {SHA-256: KeyRecord}, the keys that the definitions name
    definitions   publication NUL file name -> sealed source, kept for recompiling
    lists         list number + 128-bit hash of the member -> the member

A publication is what one publish wrote; its number is the generation in which it appeared. A manifest says
which publication each environment is served from, so rolling back switches names and copies nothing.
Sealed: 8 bytes xxh64 of key and payload before the payload, since LMDB returns a flipped byte silently.
Do not change a layout here without a new STORE_FORMAT.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from typing import Any

import lmdb
import msgspec
import xxhash
from xxhash import xxh3_128_digest

from fanion.errors import StoreError
from fanion.model.api_key import HASH_BYTES, KeyRecord

STORE_FORMAT = 1

DATABASES = ("meta", "bundles", "api_keys", "key_sets", "definitions", "lists")

BUNDLE_ROOM_MIN = 4096
"""Values up to half a page share pages and are only 2-aligned; the kernel wants 8."""

LIST_NUMBER_BYTES = 8

NAME_BYTES_MAX = 400
"""Bytes of an environment's id or a file's name in an LMDB key."""


class Origin(enum.IntEnum):
    """Where a stored key came from. A REVOKED one is kept, so that no publish or rollback revives it."""

    DEFINED = 1
    CREATED = 2
    REVOKED = 3


class ListEntry(msgspec.Struct, frozen=True, array_like=True):
    """A list segment's rows: all that begin with `number`. `source`: a digest of what they were published from;
    empty once a command has changed them."""

    number: int
    count: int
    source: str = ""


class EnvironmentEntry(msgspec.Struct, frozen=True):
    """Where an environment's content lies: its publication, and its bundle's true size and xxh64."""

    publication: int
    size: int
    digest: int
    lists: dict[str, ListEntry] = {}


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


def split_content_key(key: bytes) -> tuple[str, int]:
    return key[:-9].decode(), int.from_bytes(key[-8:], "big")


def definition_key(publication: int, name: str) -> bytes:
    return publication.to_bytes(8, "big") + b"\0" + name.encode()


def list_key(number: int, member: bytes) -> bytes:
    return number.to_bytes(LIST_NUMBER_BYTES, "big") + xxhash.xxh3_128_digest(member)


def read_manifest(transaction: Any, databases: dict[str, Any], name: bytes = b"current") -> Manifest | None:
    """The manifest `name` ("current" or "previous"); None when there is none yet."""
    value = transaction.get(name, db=databases["meta"])
    if value is None:
        return None
    try:
        return msgspec.json.decode(unseal(name, bytes(value), "manifest"), type=Manifest)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the store's manifest can't be read: {error}") from error


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

    def __init__(self, transaction: Any, databases: dict[str, Any], rows: Any | None = None) -> None:
        """`rows`: a transaction of the same snapshot whose values are bytes; rows of lists are found through it in
        half the time that views of them take."""
        self._transaction = transaction
        self._rows = transaction if rows is None else rows
        self._databases = databases
        self._views: dict[tuple[str, int], memoryview] = {}
        manifest = read_manifest(transaction, databases)
        self.manifest = EMPTY if manifest is None else manifest
        self.number = self.manifest.generation
        self._list_prefixes: dict[tuple[str, str], bytes | None] = {}
        self._find_row: Callable[[bytes], bool]
        self._found_row: Callable[[], bytes]

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

    def key(self, key_hash: bytes) -> bytes | None:
        """The encoded record of the key with this SHA-256; None when it is unknown or revoked."""
        if len(key_hash) != HASH_BYTES:
            raise ValueError(f"a key's hash has {HASH_BYTES} bytes, not {len(key_hash)}")
        value = self._open().get(key_hash, db=self._databases["api_keys"])
        if value is None:
            return None
        payload = unseal(key_hash, bytes(value), "key table")
        return None if payload[0] == Origin.REVOKED else payload[1:]

    def stored_keys(self) -> Iterator[StoredKey]:
        """Every stored key, revoked ones too."""
        for key_hash, value in self._open().cursor(self._databases["api_keys"]):
            yield read_key(bytes(key_hash), bytes(value))

    def member(self, environment: str, list_name: str, member: bytes) -> bool:
        """Whether a list segment of the environment holds `member`; False for an unknown list."""
        try:
            prefix = self._list_prefixes[environment, list_name]
        except KeyError:
            return self._first_member(environment, list_name, member)
        if prefix is None:
            return False
        return self._find_row(prefix + xxh3_128_digest(member)) and self._found_row() == member

    def _first_member(self, environment: str, list_name: str, member: bytes) -> bool:
        """Remembers where the rows of every list of the environment begin; empty lists are not looked up."""
        if not self._list_prefixes:
            self._open()
            cursor = self._rows.cursor(self._databases["lists"])
            self._find_row, self._found_row = cursor.set_key, cursor.value
        entry = self.manifest.environments.get(environment)
        for name, rows in {} if entry is None else entry.lists.items():
            prefix = rows.number.to_bytes(LIST_NUMBER_BYTES, "big") if rows.count else None
            self._list_prefixes[environment, name] = prefix
        if (environment, list_name) not in self._list_prefixes:
            return False
        return self.member(environment, list_name, member)

    def members(self, environment: str, list_name: str) -> Iterator[bytes]:
        """Every member of a list segment, in the order of the hashes. Raises StoreError for an unknown list."""
        entry = self.manifest.environments.get(environment)
        if entry is None or list_name not in entry.lists:
            raise StoreError(f"environment {environment} has no list {list_name}")
        start = entry.lists[list_name].number.to_bytes(LIST_NUMBER_BYTES, "big")
        cursor = self._open().cursor(self._databases["lists"])
        if cursor.set_range(start):
            for key, member in cursor:
                if key[:LIST_NUMBER_BYTES] != start:
                    return
                yield bytes(member)

    def check_list(self, rows: ListEntry) -> None:
        """Reads all rows of a list: each is bound to its key by a hash, so a changed byte shows. StoreError."""
        self._open()
        start = rows.number.to_bytes(LIST_NUMBER_BYTES, "big")
        count = 0
        cursor = self._rows.cursor(self._databases["lists"])
        if cursor.set_range(start):
            for key, member in cursor:
                if key != start + xxh3_128_digest(member):
                    if key[:LIST_NUMBER_BYTES] != start:
                        break
                    raise StoreError(f"list {rows.number} is damaged")
                count += 1
        if count != rows.count:
            raise StoreError(f"list {rows.number} has {count} members, not {rows.count}")

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
        if self._list_prefixes:
            self._list_prefixes.clear()
            del self._find_row, self._found_row
        if self._rows is not self._transaction:
            self._rows.abort()
        self._transaction.abort()
        self._transaction = None
        return True

    def _open(self) -> Any:
        if self._transaction is None:
            raise StoreError("this generation was released; take the current one for each request")
        return self._transaction


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
        return StoreError(f"{directory}: too many processes read the store at once")
    if isinstance(error, lmdb.CorruptedError | lmdb.PageNotFoundError | lmdb.InvalidError):
        return StoreError(f"{directory}: the store's file is damaged ({error})")
    return StoreError(f"{directory}: {error}")
