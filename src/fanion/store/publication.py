"""What one publish brings, and what the store's layout can't hold of it, said before anything is written."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from fanion.errors import StoreError
from fanion.model.api_key import HASH_BYTES, KeyRecord
from fanion.store.layout import NAME_BYTES_MAX


class Publication(msgspec.Struct, frozen=True):
    """What one publish replaces: each environment in `bundles`, whole; all others stay.

    `bundles`: environment -> compiled bundle. `keys`: SHA-256 -> record; they replace the keys that these
    environments' earlier definitions named, while keys made by command stay. `definitions`: file name -> source.
    `lists`: environment -> list name -> members; one whose digest in `list_sources` is the stored one is not
    written again. `kept_lists`: environment -> lists that stay as the store has them (empty when it has none).
    `overrides`: environment -> what is laid over it (`model.weights.laid_with`). `compiled_from`: environment -> a
    digest of all that decides its bundle's bytes. `amendable`: by what these bundles may be made anew from their
    definitions' changes, empty: not at all. `removed`: environments to serve no longer. `keyed`: those whose
    units' digests are keyed.
    """

    bundles: dict[str, bytes]
    keys: dict[bytes, KeyRecord] = {}
    definitions: dict[str, bytes] = {}
    lists: dict[str, dict[str, Iterable[bytes]]] = {}
    list_sources: dict[str, dict[str, str]] = {}
    kept_lists: dict[str, tuple[str, ...]] = {}
    overrides: dict[str, str] = {}
    compiled_from: dict[str, str] = {}
    amendable: str = ""
    removed: tuple[str, ...] = ()
    keyed: tuple[str, ...] = ()


def check_publication(publication: Publication) -> None:
    """Raises StoreError."""
    if not publication.bundles and not publication.removed:
        raise StoreError("nothing to publish: no environment is named")
    for name in (*publication.bundles, *publication.definitions):
        if not name or len(name.encode()) > NAME_BYTES_MAX or "\0" in name:
            raise StoreError(
                f"{name[:60]!r} can't be a name here: 1 to {NAME_BYTES_MAX} bytes without NUL are allowed"
            )
    for key_hash, record in publication.keys.items():
        if len(key_hash) != HASH_BYTES:
            raise StoreError(f"key {record.id}: a hash has {HASH_BYTES} bytes, not {len(key_hash)}")
        if record.environment not in publication.bundles:
            raise StoreError(
                f"key {record.id} is for environment {record.environment}, which isn't published here"
            )
    for name in (publication.lists.keys() | publication.kept_lists.keys()) - publication.bundles.keys():
        raise StoreError(f"there are lists for environment {name}, which isn't published here")
    for name in publication.bundles.keys() & set(publication.removed):
        raise StoreError(f"environment {name} can't be published and removed at once")
