"""Writing to the store: one transaction at a time, and the manifest that each of them reads and replaces.

`Transactions` is what a store, its lists and its upgrade share. Whoever changes more than one transaction's worth
holds `publishing` around all of it; the generation word is raised by them, after the last commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import lmdb
import msgspec

from fanion.errors import StoreError
from fanion.store import layout
from fanion.store.database import Database, store_path
from fanion.store.handles import AnyTransaction, WriteTransaction, translate
from fanion.store.layout import BUNDLE_ROOM_MIN, EMPTY, Manifest
from fanion.store.lists import sweep_lists
from fanion.store.pins import Pinned
from fanion.store.verify import DATA_FILE


def padded(bundle: bytes) -> bytes:
    """As it is stored: on pages of its own, and so 16-aligned."""
    return bundle if len(bundle) >= BUNDLE_ROOM_MIN else bundle.ljust(BUNDLE_ROOM_MIN, b"\0")


class Transactions:
    """`write`: whether this process may change anything."""

    def __init__(self, directory: Path, database: Database, *, write: bool) -> None:
        self.directory = directory
        self.database = database
        self.databases = database.databases
        self.word = database.word
        self._write_allowed = write

    def publishing(self) -> AbstractContextManager[None]:
        """One writer at a time, from its first list block to its last sweep."""
        return self.database.publishing()

    @contextmanager
    def reading_manifest(self) -> Iterator[Manifest]:
        """The current manifest, in a read transaction."""
        with self.reading():
            transaction = self.database.begin()
            try:
                yield self.current(transaction)
            finally:
                transaction.abort()

    def current(self, transaction: AnyTransaction) -> Manifest:
        return layout.read_manifest(transaction, self.databases) or EMPTY

    def next_number(self, current: Manifest) -> int:
        """Above the committed one, and above the word: a store that went back to its copy doesn't reuse numbers."""
        return max(current.generation, self.word.load()) + 1

    def renumber(self, transaction: WriteTransaction, current: Manifest) -> int:
        """A new number for a change of keys alone; what rolling back goes to stays."""
        number = self.next_number(current)
        manifest = msgspec.structs.replace(current, generation=number)
        self.put(transaction, "meta", b"current", layout.seal(b"current", msgspec.json.encode(manifest)))
        return number

    def sweep(self) -> None:
        """Removes what neither the current nor the previous generation names; bundles that are read stay."""
        pinned = Pinned(store_path(self.directory) / DATA_FILE)
        with pinned, self.writing() as transaction:
            manifests = [self.current(transaction)]
            manifests += filter(None, [layout.read_manifest(transaction, self.databases, b"previous")])
            entries = [
                (name, entry) for manifest in manifests for name, entry in manifest.environments.items()
            ]
            contents = {layout.content_key(name, entry.publication) for name, entry in entries}
            publications = {entry.publication.to_bytes(8, "big") for _, entry in entries}
            self.delete(transaction, "key_sets", lambda key: key not in contents)
            self.delete(
                transaction,
                "bundles",
                lambda key: key not in contents and not pinned.holds(layout.publication_of(key)),
            )
            self.delete(transaction, "definitions", lambda key: key[:8] not in publications)
            lists = {rows.number for _, entry in entries for rows in entry.lists.values()}
        sweep_lists(self.writing, self.databases["lists"], lists)
        self.database.check_readers()

    def delete(self, transaction: WriteTransaction, database: str, unwanted: Callable[[bytes], bool]) -> None:
        cursor = transaction.cursor(self.databases[database])
        for key in [key for key in map(bytes, cursor.iternext(values=False)) if unwanted(key)]:
            transaction.delete(key, db=self.databases[database])

    def put(self, transaction: WriteTransaction, database: str, key: bytes, value: bytes) -> None:
        transaction.put(key, value, db=self.databases[database])

    @contextmanager
    def writing(self) -> Iterator[WriteTransaction]:
        """One write transaction: committed at the end, undone by any exception."""
        if not self._write_allowed:
            raise StoreError(f"{self.directory}: the store was opened for reading")
        with self.reading(), self.database.begin_write() as transaction:
            yield transaction
        self.database.check_in_place()

    @contextmanager
    def reading(self) -> Iterator[None]:
        self.database.check()
        try:
            yield
        except lmdb.Error as error:
            raise translate(error, str(self.directory)) from error
