"""Writes list segments: those of a publication, and what `fanion lists` changes without one.

A publication's list is written beside the live one and named by the publish itself. Lists whose members the
definitions don't give, and those whose source is the one that was stored last, are carried over as they are.
A command's change is a generation of its own, in place for single members; it holds wherever the same rows
are named, so rolling back does not undo it unless it goes back past a publish that replaced the list.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from itertools import islice

import msgspec

from fanion._core.list_block import rows_of
from fanion.errors import StoreError
from fanion.store import layout
from fanion.store.database import store_path
from fanion.store.handles import WriteTransaction
from fanion.store.layout import EnvironmentEntry, ListEntry, Manifest
from fanion.store.lists import ROWS_IN_MEMORY, change_rows, checked_rows, write_list
from fanion.store.publication import Publication
from fanion.store.spool import Spool
from fanion.store.transactions import Transactions

Progress = Callable[[str, int], None] | None

GAP_BITS = 32
"""Where lists go to other machines under their numbers: two directories that make one at once give two numbers."""


class ListWriter:
    """The lists of one store. One command at a time changes them: under the publish lock, which is taken once the
    members have been read."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def read_members(
        self, publication: Publication, spools: ExitStack, progress: Progress
    ) -> dict[tuple[str, str], Spool]:
        """(environment, list) -> the members of every list that is new or has another source; before the publish
        lock is taken. `spools` closes them."""
        with self._transactions.reading_manifest() as current:
            environments = current.environments
        found = {}
        for environment, lists in publication.lists.items():
            for name, members in lists.items():
                if self._stored(environments.get(environment), publication, environment, name) is None:
                    spool = Spool(self._transactions.directory, members, progress)
                    found[environment, name] = spools.enter_context(spool)
        return found

    def _stored(
        self, entry: EnvironmentEntry | None, publication: Publication, environment: str, name: str
    ) -> ListEntry | None:
        """The list as it is, when what is published has the same source."""
        source = publication.list_sources.get(environment, {}).get(name, "")
        have = None if entry is None else entry.lists.get(name)
        return have if have is not None and source and have.source == source else None

    def write_publication(
        self, publication: Publication, read: Mapping[tuple[str, str], Spool], progress: Progress
    ) -> dict[str, dict[str, ListEntry]]:
        """The entries of every environment that is published; new rows are under numbers that nothing names yet.
        Under the publish lock."""
        with self._transactions.writing() as transaction:
            current = self._transactions.current(transaction)
        written: dict[str, dict[str, ListEntry]] = {}
        for environment in publication.bundles:
            entry = current.environments.get(environment)
            have = {} if entry is None else entry.lists
            entries = written[environment] = {}
            for name in publication.kept_lists.get(environment, ()):
                entries[name] = have[name] if name in have else self._new_list((), "", None)
            sources = publication.list_sources.get(environment, {})
            for name, members in publication.lists.get(environment, {}).items():
                stored = self._stored(entry, publication, environment, name)
                if stored is None:
                    members = read.get((environment, name), members)
                    stored = self._new_list(members, sources.get(name, ""), progress)
                entries[name] = stored
        return written

    def add(self, environment: str, name: str, members: Iterable[bytes]) -> tuple[int, int]:
        """Adds members; returns the generation and how many were new. Raises StoreError."""
        return self._change(environment, name, members, adding=True)

    def remove(self, environment: str, name: str, members: Iterable[bytes]) -> tuple[int, int]:
        """Takes members out; returns the generation and how many there were. Raises StoreError."""
        return self._change(environment, name, members, adding=False)

    def replace(
        self, environment: str, name: str, members: Iterable[bytes], progress: Progress = None
    ) -> tuple[int, int]:
        """Gives a list new members, all at once; returns the generation and their number. Raises StoreError."""
        store = self._transactions
        with Spool(store.directory, members, progress) as whole, store.publishing():
            with store.writing() as transaction:
                old = self._entry(store.current(transaction), environment, name)
            new = self._new_list(whole, "", progress)
            with store.writing() as transaction:
                number = self._rename(transaction, old, new)
            store.word.raise_to(number)
            store.sweep()
        return number, new.count

    def forget(self, members: list[bytes]) -> int:
        """Takes members out of every list that any kept generation names; returns how many there were. The rows of
        generations that nobody can go back to any more leave with them."""
        store, removed = self._transactions, 0
        with store.publishing():
            store.sweep()
            with store.writing() as transaction:
                keys = (b"current", b"previous")
                kept = [layout.read_manifest(transaction, store.databases, key) for key in keys]
            lists = {
                entry.number: entry
                for manifest in filter(None, kept)
                for environment in manifest.environments.values()
                for entry in environment.lists.values()
            }
            for entry in lists.values():
                rows = sorted(set(rows_of(entry.number, entry.secret, members)))
                removed += self._forget_in(entry, rows)
        return removed

    def _forget_in(self, entry: ListEntry, rows: list[bytes]) -> int:
        store, removed = self._transactions, 0
        while rows:
            with store.writing() as transaction:
                count, done = change_rows(transaction, store.databases["lists"], entry, rows, False)
                number = 0
                if count:
                    left = entry.count - count
                    new = msgspec.structs.replace(entry, count=left, source="", changes=entry.changes + 1)
                    number, entry = self._rename(transaction, entry, new), new
            if number:
                store.word.raise_to(number)
            removed += count
            rows = rows[done:]
        return removed

    def _change(
        self, environment: str, name: str, members: Iterable[bytes], *, adding: bool
    ) -> tuple[int, int]:
        """Many are read at once, since each block that is changed is written whole."""
        store = self._transactions
        changed = number = 0
        with Spool(store.directory, members) as whole, store.publishing():
            rest = iter(whole)
            while (chunk := list(islice(rest, ROWS_IN_MEMORY))) or not number:
                with store.writing() as transaction:
                    entry = self._entry(store.current(transaction), environment, name)
                rows = checked_rows(entry, chunk) if adding else rows_of(entry.number, entry.secret, chunk)
                rows = sorted(set(rows))
                while rows or not number:
                    number, count, done = self._change_some(environment, name, rows, adding)
                    changed += count
                    rows = rows[done:]
        return number, changed

    def _change_some(
        self, environment: str, name: str, rows: list[bytes], adding: bool
    ) -> tuple[int, int, int]:
        """One transaction's worth of a change; its generation, how many members came or went, how many rows are
        done."""
        store = self._transactions
        with store.writing() as transaction:
            entry = self._entry(store.current(transaction), environment, name)
            database = store.databases["lists"]
            count, done = change_rows(transaction, database, entry, rows, adding)
            new = entry  # where nothing came or went, nothing that is answered changes
            if count:
                total = entry.count + (count if adding else -count)
                new = msgspec.structs.replace(entry, count=total, source="", changes=entry.changes + 1)
            number = self._rename(transaction, entry, new)
        store.word.raise_to(number)
        return number, count, done

    def _entry(self, manifest: Manifest, environment: str, name: str) -> ListEntry:
        found = manifest.environments.get(environment)
        if found is None:
            known = ", ".join(sorted(manifest.environments)) or "none yet"
            raise StoreError(f"there is no environment {environment}; there are: {known}")
        if name not in found.lists:
            known = ", ".join(sorted(found.lists)) or "none"
            raise StoreError(f"environment {environment} has no list {name}; it has: {known}")
        return found.lists[name]

    def _rename(self, transaction: WriteTransaction, old: ListEntry, new: ListEntry) -> int:
        """Puts `new` wherever the rows of `old` are named, under a new generation, whose number is returned."""
        store = self._transactions
        current = store.current(transaction)
        number = store.next_number(current)
        for key in (b"current", b"previous"):
            manifest = layout.read_manifest(transaction, store.databases, key)
            if manifest is None:
                continue
            environments = {
                name: renamed(entry, old.number, new) for name, entry in manifest.environments.items()
            }
            changed = msgspec.structs.replace(manifest, environments=environments)
            if key == b"current":
                changed = msgspec.structs.replace(changed, generation=number)
            store.put(transaction, "meta", key, layout.seal(key, msgspec.json.encode(changed)))
        return number

    def _new_list(self, members: Iterable[bytes], source: str, progress: Progress) -> ListEntry:
        store = self._transactions
        with store.writing() as transaction:
            current = store.current(transaction)
            shared = transaction.get(layout.PLACE, db=store.databases["meta"]) is not None
            number = current.lists_made + 1 + (secrets.randbits(GAP_BITS) if shared else 0)
            manifest = msgspec.structs.replace(current, lists_made=number)
            sealed = layout.seal(b"current", msgspec.json.encode(manifest))
            store.put(transaction, "meta", b"current", sealed)
        database = store.databases["lists"]
        scratch = store_path(store.directory)
        entry = ListEntry(number, 0, source, secrets.randbits(64))
        count = write_list(store.writing, database, entry, members, progress, scratch)
        return msgspec.structs.replace(entry, count=count)


def renamed(entry: EnvironmentEntry, number: int, new: ListEntry) -> EnvironmentEntry:
    """With `new` wherever the rows of that number are named."""
    if all(rows.number != number for rows in entry.lists.values()):
        return entry
    lists = {name: new if rows.number == number else rows for name, rows in entry.lists.items()}
    return msgspec.structs.replace(entry, lists=lists)
