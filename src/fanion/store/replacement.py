"""Bundles put in the place of others that were compiled from the same sources: of an older format, or with other
overrides over them. Keys and lists stay, and so does what rolling back goes to.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import xxhash

from fanion.errors import StoreError
from fanion.model.override import Overrides
from fanion.store import layout
from fanion.store.handles import Handle, Handles, WriteTransaction
from fanion.store.layout import OVERRIDES, EnvironmentEntry
from fanion.store.transactions import Transactions, padded


def replace_bundles(
    transactions: Transactions,
    publication: int,
    bundles: Mapping[str, bytes],
    overrides: Overrides | None = None,
    laid: Mapping[str, str] | None = None,
    rows: Mapping[bytes, bytes] | None = None,
) -> int:
    """Environments of one publication under one of their own, whose number is returned; one transaction.
    `overrides`, `rows` of `meta`: kept with it. `laid`: what lies over which bundle. The caller holds the lock of
    publishing, and raises the word. Raises StoreError."""
    with transactions.writing() as transaction:
        databases = transactions.databases
        current = transactions.current(transaction)
        number = transactions.next_number(current)
        environments = dict(current.environments)
        for name, bundle in bundles.items():
            entry = environments.get(name)
            if entry is None or entry.publication != publication:
                raise StoreError(f"environment {name} was published meanwhile; start again")
            put = _put(transaction, databases, name, entry, bundle, number)
            environments[name] = msgspec.structs.replace(put, overrides=(laid or {}).get(name, ""))
        if bundles:
            _copy_definitions(transaction, databases["definitions"], publication, number)
        manifest = msgspec.structs.replace(current, generation=number, environments=environments)
        sealed = layout.seal(b"current", msgspec.json.encode(manifest))
        transaction.put(b"current", sealed, db=databases["meta"])
        if overrides is not None:
            kept = layout.seal(OVERRIDES, msgspec.json.encode(overrides))
            transaction.put(OVERRIDES, kept, db=databases["meta"])
        for key, value in (rows or {}).items():
            transaction.put(key, value, db=databases["meta"])
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
    return msgspec.structs.replace(
        entry, publication=number, size=len(bundle), digest=digest, compiled_from="", amendable=""
    )


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
