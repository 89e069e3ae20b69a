"""How the store is laid out: its databases, what a row of each holds, and the way back from bytes.

Named databases (LMDB; a key has at most 511 bytes):

    meta          "format" -> version; "current", "previous" -> sealed Manifest; "signing" -> sealed SigningKeys;
                  "overrides" -> sealed Overrides; "weights" NUL environment -> sealed weights;
                  "unit-keys" -> sealed UnitKeys; "place" -> sealed, where the generation came from or goes
                  (`fanion.places.manifest`); "console" -> sealed, the console's tokens (`fanion.store.console`)
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

import msgspec
import xxhash

from fanion._core.list_block import unpack
from fanion.errors import StoreError
from fanion.model.api_key import KeyRecord
from fanion.model.override import Overrides
from fanion.store.handles import AnyTransaction, Handles

STORE_FORMAT = 2

DATABASES = ("meta", "bundles", "api_keys", "key_sets", "definitions", "lists")

BUNDLE_ROOM_MIN = 4096
"""Values up to half a page share pages and are only 2-aligned; the kernel wants 8."""

LIST_NUMBER_BYTES = 8

OVERRIDES = b"overrides"
PLACE = b"place"
CONSOLE = b"console"
OWN_ROWS = (b"format", b"current", b"previous", PLACE, CONSOLE)
"""In `meta`; the last are this store's alone, the others go with what is served."""

WHOLE_BYTES_MAX = 4096
"""A sealed payload up to here is joined with its key, which takes less than a digest in two steps."""

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
    """Where an environment's content lies: its publication, and its bundle's true size and xxh64. `overrides`:
    what was laid over it (`fanion.model.weights.laid_with`). `compiled_from`: a digest of all that decides its
    bytes, by whoever published it; empty where nobody said. `amendable`: by what the bundle may be made anew
    from a change of its publication's definitions, by whoever published it; empty where it may not."""

    publication: int
    size: int
    digest: int
    lists: dict[str, ListEntry] = {}
    overrides: str = ""
    compiled_from: str = ""
    amendable: str = ""


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
    return _checksum(key, payload) + payload


def unseal(key: bytes, value: bytes | memoryview, what: str) -> bytes:
    """The payload. Raises StoreError when a byte has changed since it was sealed."""
    payload = value[8:]
    if len(value) < 8 or _checksum(key, payload) != value[:8]:
        raise StoreError(
            f"the store's {what} is damaged; `fanion serve` goes back to the copy beside the store"
        )
    return bytes(payload)


def _checksum(key: bytes, payload: bytes | memoryview) -> bytes:
    """Of both in turn; a large payload isn't copied for it."""
    if len(payload) < WHOLE_BYTES_MAX:
        return xxhash.xxh64_digest(key + payload)
    digest = xxhash.xxh64(key)
    digest.update(payload)
    return digest.digest()


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


def prefix_of(value: memoryview | bytes) -> int:
    """Of a sealed block."""
    return int.from_bytes(value[16:24], "little")


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
