"""The store: bundles and keys in LMDB under DIR/store, published whole, read from the memory map.

Write order of a publish: lists in bounded transactions beside the live ones; one transaction with everything
else, which also switches the names; then the generation word is raised; then `keep_copy` (the commands call it)
writes a verified copy of the store beside it. Killed anywhere before the commit, nothing has happened; killed
after it, servers find the new generation when they next look.

A change of keys is one transaction and waits for no other command's publish lock.

Invariants: the generation only grows, also when rolling back and revoking; a key once revoked stays so; what
the current and the previous generation name is kept, everything else is removed by the next publish. The map
has one size, in the file, that only grows while nothing serves. One LMDB environment a process and directory;
after fork: open again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import msgspec
import xxhash

from fanion.clock.keeper import look_at
from fanion.errors import StoreError
from fanion.model.api_key import KeyRecord
from fanion.store import layout
from fanion.store.database import Database, older_path
from fanion.store.generation import PinnedGeneration
from fanion.store.handles import WriteTransaction
from fanion.store.key_ids import KeyIds
from fanion.store.layout import EnvironmentEntry, Manifest, Origin, StoredKey
from fanion.store.list_writer import ListWriter
from fanion.store.publication import Publication, check_publication
from fanion.store.revocations import note_revocations, noted_revocations
from fanion.store.signing import ensure_signing_keys, rotate_signing_keys
from fanion.store.transactions import Transactions, padded
from fanion.store.unit_keys import ensure_unit_keys

MAP_BYTES = 64 * 1024**3

Progress = Callable[[str, int], None]
"""Told what is being written and how many more of it are done."""


class Store:
    """One data directory's store, as this process has it open."""

    def __init__(self, directory: Path, database: Database, *, write: bool) -> None:
        self.directory = directory
        self.transactions = Transactions(directory, database, write=write)
        self.word = database.word
        self._database = database
        self._key_ids = KeyIds(database.databases["api_keys"])

    @classmethod
    def open(
        cls, directory: Path, *, write: bool = False, create: bool = False, map_bytes: int = MAP_BYTES
    ) -> Store:
        """The store of a data directory. `create`: make what is missing. `map_bytes` counts for a new store, and
        for an old one only when larger than before.

        Raises StoreMissingError, StoreVersionError, StoreError.
        """
        database = Database.take(Path(directory), create=create, map_bytes=map_bytes)
        if write and not database.writable:
            database.give_back()
            raise StoreError(f"{directory}: nothing can be written here: it is read-only for this user")
        return cls(Path(directory), database, write=write or create)

    def generation(self) -> int:
        """The number of the committed generation; 0 before the first publish."""
        return self._committed().generation

    def replaced(self) -> str:
        """Why what lies in the directory now isn't what this process has open, or is an older state of it; empty
        when all is well. Raises StoreError when the store can't be read."""
        problem = self._database.replaced()
        if problem:
            return problem
        announced = self.word.load()  # before the look at what is committed, which is never behind it
        committed = self.generation()
        if committed < announced:
            return f"generation {announced} was announced, and the store holds {committed}: it was put back"
        return ""

    def published_at(self) -> float:
        """When the last publish was, Unix seconds; 0.0 before the first."""
        return self._committed().published_at

    def manifest_environments(self) -> tuple[str, ...]:
        """Ids of the environments that are served, sorted."""
        return tuple(sorted(self._committed().environments))

    def _committed(self) -> Manifest:
        with self.transactions.reading():
            transaction = self._database.begin()
            try:
                return self.transactions.current(transaction)
            finally:
                transaction.abort()

    def pin(self) -> PinnedGeneration:
        """Holds on to the committed generation until released. At most two a process should be alive."""
        with self.transactions.reading():
            transaction = self._database.begin()
            try:
                return PinnedGeneration(transaction, self._database.databases)
            except BaseException:
                transaction.abort()
                raise

    def publish(self, publication: Publication, progress: Progress | None = None) -> int:
        """Stores one publication and returns its generation. All of it or nothing. Raises StoreError."""
        check_publication(publication)
        writer = ListWriter(self.transactions)
        with ExitStack() as spools:
            members = writer.read_members(publication, spools, progress)
            spools.enter_context(self.transactions.publishing())
            entries = writer.write_publication(publication, members, progress)
            with self.transactions.writing() as transaction:
                current = self.transactions.current(transaction)
                number = self.transactions.next_number(current)
                environments = dict(current.environments)
                for name in publication.removed:
                    if environments.pop(name, None) is None:
                        raise StoreError(f"environment {name} can't be removed: the store doesn't hold it")
                for name, bundle in publication.bundles.items():
                    environments[name] = EnvironmentEntry(
                        publication=number,
                        size=len(bundle),
                        digest=xxhash.xxh64_intdigest(bundle),
                        lists=entries.get(name, {}),
                        overrides=publication.overrides.get(name, ""),
                        compiled_from=publication.compiled_from.get(name, ""),
                        amendable=publication.amendable,
                    )
                    self.transactions.put(
                        transaction, "bundles", layout.content_key(name, number), padded(bundle)
                    )
                    self._put_key_set(transaction, name, number, publication.keys)
                    if progress is not None:
                        progress("environments", 1)
                for file, source in publication.definitions.items():
                    key = layout.definition_key(number, file)
                    self.transactions.put(transaction, "definitions", key, layout.seal(key, source))
                self._switch(transaction, current, environments, number)
                ensure_signing_keys(transaction, self._database.databases)
                ensure_unit_keys(transaction, self._database.databases, publication.keyed)
            self.word.raise_to(number)
            self.transactions.sweep()
        return number

    def rollback(self, before_seen: Callable[[], object] = lambda: None) -> int:
        """Serves what was served before the last publish, under a new, higher number, which is returned.

        Keys that were revoked stay revoked, keys made by command stay; rolling back twice returns to where it was.
        `before_seen`: what has to be done to it, under the lock of publishing, before a server sees it. Raises
        StoreError when there is no previous generation.
        """
        with self.transactions.publishing():
            with self.transactions.writing() as transaction:
                current = self.transactions.current(transaction)
                previous = layout.read_manifest(transaction, self._database.databases, b"previous")
                if previous is None:
                    raise StoreError(f"{self.directory}: there is no previous generation to go back to")
                number = self.transactions.next_number(current)
                self._switch(transaction, current, previous.environments, number)
            before_seen()
            number = self.generation()
            self.word.raise_to(number)
        return number

    def succeed_damaged(self) -> int:
        """The same content under a new, higher number, but for keys that were revoked after it was written: after
        a store went back to its copy. Under the publish lock."""
        with self.transactions.writing() as transaction:
            for key_hash, record in noted_revocations(self.directory).items():
                sealed = layout.seal_key(key_hash, Origin.REVOKED, record)
                self.transactions.put(transaction, "api_keys", key_hash, sealed)
            number = self.transactions.renumber(transaction, self.transactions.current(transaction))
        self.word.raise_to(number)
        return number

    def add_key(self, key_hash: bytes, record: KeyRecord) -> int:
        """Stores a key made by command and returns the new generation. Its environment must exist."""
        with self.transactions.writing() as transaction:
            current = self.transactions.current(transaction)
            if record.environment not in current.environments:
                known = ", ".join(sorted(current.environments)) or "none yet"
                raise StoreError(f"there is no environment {record.environment}; there are: {known}")
            sealed = layout.seal_key(key_hash, Origin.CREATED, record)
            if not transaction.put(
                key_hash, sealed, db=self._database.databases["api_keys"], overwrite=False
            ):
                row = transaction.get(key_hash, db=self._database.databases["api_keys"])
                there = layout.read_key(key_hash, bytes(row or b""))
                revoked = ", revoked for good" if there.origin is Origin.REVOKED else ""
                which = f"{there.record.id} of environment {there.record.environment}{revoked}"
                raise StoreError(f"this key is stored already: {which}; a key opens one environment")
            number = self.transactions.renumber(transaction, current)
            done = transaction.id()
        self._key_ids.note(done, StoredKey(key_hash, Origin.CREATED, record))
        self.word.raise_to(number)
        return number

    def revoke_key(self, key_id: str) -> tuple[int, KeyRecord]:
        """Revokes the key with this id for good: neither a publish nor a rollback revives it."""
        with self.transactions.writing() as transaction:
            current = self.transactions.current(transaction)
            named = self._key_ids.find(transaction, key_id)
            found = [key for key in named if key.origin != Origin.REVOKED]
            if named and not found:
                raise StoreError(f"key {key_id} is revoked already")
            if not found:
                raise StoreError(f"there is no key with id {key_id}; `fanion keys list` shows them")
            note_revocations(self.directory, [(key.hash, key.record) for key in found])
            for key in found:
                sealed = layout.seal_key(key.hash, Origin.REVOKED, key.record)
                self.transactions.put(transaction, "api_keys", key.hash, sealed)
            number = self.transactions.renumber(transaction, current)
            done = transaction.id()
        self._key_ids.note(done)
        self.word.raise_to(number)
        return number, found[0].record

    def rotate_signing_key(self) -> int:
        """Signs trace tokens with a new key from the new generation on, which is returned."""
        now = look_at(self.directory).cautious
        with self.transactions.writing() as transaction:
            rotate_signing_keys(transaction, self._database.databases, now)
            number = self.transactions.renumber(transaction, self.transactions.current(transaction))
        self.word.raise_to(number)
        return number

    def stored_keys(self) -> list[StoredKey]:
        """Every stored key, revoked ones too, by environment and id."""
        with self.pin() as pinned:
            return sorted(pinned.stored_keys(), key=lambda key: (key.record.environment, key.record.id))

    def keep_copy(self) -> None:
        """Writes the current store, compacted and verified, beside it: what a damaged store falls back to.

        Raises StoreError; the copy from before then stays.
        """
        self._database.keep_copy()

    def keep_older(self) -> None:
        """The same into a file that no publication writes over, before an upgrade: what the version before goes
        back to. One is kept. Raises StoreError."""
        self._database.keep_copy(older_path(self.directory))

    def check_readers(self) -> int:
        """Frees what processes that died had pinned; returns how many there were."""
        with self.transactions.reading():
            return self._database.check_readers()

    def close(self) -> None:
        """Gives the environment up; the last holder in the process closes it. Pins must be released before."""
        self._database.give_back()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _switch(
        self,
        transaction: WriteTransaction,
        current: Manifest,
        environments: Mapping[str, EnvironmentEntry],
        number: int,
    ) -> None:
        """Makes `environments` the current generation and what was current the previous one."""
        changed = {
            name
            for name in current.environments.keys() | environments.keys()
            if current.environments.get(name) != environments.get(name)
        }
        self._drop_defined_keys(transaction, current, changed)
        for name in sorted(changed & environments.keys()):
            self._take_defined_keys(transaction, name, environments[name].publication)
        manifest = msgspec.structs.replace(
            current, generation=number, published_at=time.time(), environments=dict(environments)
        )
        if current.generation:
            self.transactions.put(
                transaction, "meta", b"previous", layout.seal(b"previous", msgspec.json.encode(current))
            )
        self.transactions.put(
            transaction, "meta", b"current", layout.seal(b"current", msgspec.json.encode(manifest))
        )

    def _key_set(self, transaction: WriteTransaction, name: str, publication: int) -> dict[str, KeyRecord]:
        key = layout.content_key(name, publication)
        value = transaction.get(key, db=self._database.databases["key_sets"])
        if value is None:
            return {}
        return msgspec.json.decode(layout.unseal(key, bytes(value), "key sets"), type=dict[str, KeyRecord])

    def _put_key_set(
        self, transaction: WriteTransaction, name: str, number: int, keys: Mapping[bytes, KeyRecord]
    ) -> None:
        own = {key_hash.hex(): record for key_hash, record in keys.items() if record.environment == name}
        key = layout.content_key(name, number)
        self.transactions.put(transaction, "key_sets", key, layout.seal(key, msgspec.json.encode(own)))

    def _drop_defined_keys(self, transaction: WriteTransaction, current: Manifest, names: set[str]) -> None:
        database = self._database.databases["api_keys"]
        for name in names & current.environments.keys():
            for text in self._key_set(transaction, name, current.environments[name].publication):
                key_hash = bytes.fromhex(text)
                value = transaction.get(key_hash, db=database)
                if value is not None and layout.read_key(key_hash, value).origin == Origin.DEFINED:
                    transaction.delete(key_hash, db=database)

    def _take_defined_keys(self, transaction: WriteTransaction, name: str, publication: int) -> None:
        database = self._database.databases["api_keys"]
        for text, record in self._key_set(transaction, name, publication).items():
            key_hash = bytes.fromhex(text)
            value = transaction.get(key_hash, db=database)
            if value is not None:
                held = layout.read_key(key_hash, value)
                if held.origin == Origin.REVOKED:
                    continue
                raise StoreError(
                    f"key {record.id} of environment {name} is already {held.record.environment}'s"
                )
            self.transactions.put(
                transaction, "api_keys", key_hash, layout.seal_key(key_hash, Origin.DEFINED, record)
            )
