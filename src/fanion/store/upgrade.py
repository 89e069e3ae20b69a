"""A store whose bundles have an older format: found when a server starts, compiled again from what it keeps.

The compiling is the caller's (`bundle` imports no definitions); here it is told what is outdated and what the
sources were, and its bundles are put in the place of the old ones, with the same keys and lists, under a new
number. The previous generation stays as it is: rolled back to, it is compiled again at the next start.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

import msgspec
import xxhash

from fanion.bundle.format import VERSION
from fanion.errors import StoreError, StoreVersionError
from fanion.store import generation as layout
from fanion.store.generation import EnvironmentEntry, PinnedGeneration
from fanion.store.handles import Handle, Handles, WriteTransaction
from fanion.store.store import Store
from fanion.store.transactions import padded

Recompile = Callable[[dict[str, bytes]], Mapping[str, bytes]]
"""Sources by file name -> the bundles of every environment in them."""

_VERSION_OFFSET = 8


def outdated(pinned: PinnedGeneration) -> list[str]:
    """Environments whose bundles have an older format. Raises StoreVersionError when one has a newer."""
    found = []
    for name in pinned.environments():
        bundle = pinned.bundle(name)
        assert bundle is not None
        version = struct.unpack_from("<I", bundle, _VERSION_OFFSET)[0] if len(bundle) >= 12 else 0
        if version > VERSION:
            raise StoreVersionError(
                f"the bundle of environment {name} has format {version}, this Fanion knows up to {VERSION}; run "
                f"the newer Fanion, or publish again"
            )
        if version < VERSION:
            found.append(name)
    return found


def upgrade(store: Store, recompile: Recompile) -> int | None:
    """Compiles outdated bundles again; the new generation, or None where nothing was outdated.

    Raises StoreVersionError, StoreError when the kept sources don't give an environment's bundle.
    """
    pinned = store.pin()
    try:
        groups: dict[int, list[str]] = {}
        for name in outdated(pinned):
            groups.setdefault(pinned.manifest.environments[name].publication, []).append(name)
        sources = {publication: pinned.definitions(names[0]) for publication, names in groups.items()}
    finally:
        pinned.release()
    number = None
    for publication, names in groups.items():
        compiled = recompile(sources[publication])
        for name in names:
            if name not in compiled:
                raise StoreError(
                    f"environment {name} can't be compiled from what the store keeps; publish it again"
                )
        number = _replace(store, publication, {name: compiled[name] for name in names})
    return number


def _replace(store: Store, publication: int, bundles: Mapping[str, bytes]) -> int:
    """One publication's environments under a publication of their own: sources, keys and lists as they were."""
    transactions = store.transactions
    with transactions.publishing():
        with transactions.writing() as transaction:
            databases = transactions.databases
            current = transactions.current(transaction)
            number = transactions.next_number(current)
            environments = dict(current.environments)
            for name, bundle in bundles.items():
                entry = environments.get(name)
                if entry is None or entry.publication != publication:
                    raise StoreError(f"environment {name} was published meanwhile; start again")
                environments[name] = _put(transaction, databases, name, entry, bundle, number)
            _copy_definitions(transaction, databases["definitions"], publication, number)
            manifest = msgspec.structs.replace(current, generation=number, environments=environments)
            sealed = layout.seal(b"current", msgspec.json.encode(manifest))
            transaction.put(b"current", sealed, db=databases["meta"])
        store.word.raise_to(number)
    return number


def _put(
    transaction: WriteTransaction,
    databases: Handles,
    name: str,
    entry: EnvironmentEntry,
    bundle: bytes,
    number: int,
) -> EnvironmentEntry:
    old, new = layout.content_key(name, entry.publication), layout.content_key(name, number)
    keys = layout.unseal(old, bytes(transaction.get(old, b"", db=databases["key_sets"])), "key sets")
    transaction.put(new, layout.seal(new, keys), db=databases["key_sets"])
    transaction.put(new, padded(bundle), db=databases["bundles"])
    digest = xxhash.xxh64_intdigest(bundle)
    return msgspec.structs.replace(entry, publication=number, size=len(bundle), digest=digest)


def _copy_definitions(transaction: WriteTransaction, database: Handle, old: int, new: int) -> None:
    start = layout.definition_key(old, "")
    rows = []
    cursor = transaction.cursor(database)
    if cursor.set_range(start):
        for key, value in cursor:
            if not bytes(key).startswith(start):
                break
            rows.append((bytes(key), bytes(value)))
    for key, value in rows:
        moved = layout.definition_key(new, key[len(start) :].decode())
        transaction.put(moved, layout.seal(moved, layout.unseal(key, value, "definitions")), db=database)
