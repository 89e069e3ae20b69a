"""Which keys have an id: the store finds a key by its hash alone, and who revokes it names its id.

The rows of `api_keys` are gone through for the id's letters, 0.4 µs each. A process that changes key after key with
nobody else writing in between keeps what each id stands for meanwhile; it counts for exactly one transaction, the
next one after its own, so whatever another process or another part of this one wrote makes it void.

Decision, 2026-11. Not a database of the store by id: it would be one more layout to verify and to convert, written
with every publication, for a look-up that one command makes once, beside a process that takes longer to start.
"""

from __future__ import annotations

import msgspec

from fanion.errors import StoreError
from fanion.store import layout
from fanion.store.handles import Handle, WriteTransaction
from fanion.store.layout import StoredKey

NOBODY = -1


class KeyIds:
    """By the handle of `api_keys`; of one open store."""

    def __init__(self, rows: Handle) -> None:
        self._rows = rows
        self._next = NOBODY
        """The transaction that would come right after the last noted one."""
        self._hashes: dict[str, list[bytes]] | None = None
        """Id -> the hashes of its keys, revoked ones too, as that transaction finds them; None: not gathered."""

    def find(self, transaction: WriteTransaction, key_id: str) -> list[StoredKey]:
        """Every key with this id, revoked ones too. Raises StoreError where one may be damaged."""
        if transaction.id() != self._next:
            self._hashes = None
        elif self._hashes is None:
            self._hashes = self._gathered(transaction)
        if self._hashes is None:
            # To read a hundred thousand rows takes half a second, so only those that name the id are.
            named = self.through_rows(transaction, key_id, msgspec.json.encode(key_id))
        else:
            found = self._hashes.get(key_id, ())
            read = ((key_hash, transaction.get(key_hash, db=self._rows)) for key_hash in found)
            named = [layout.read_key(key_hash, row) for key_hash, row in read if row is not None]
        return named or self.through_rows(transaction, key_id, b"")  # all, which tells a row that is damaged

    def note(self, number: int, added: StoredKey | None = None) -> None:
        """A transaction was committed which found the keys as `find` did, but for the one that it added."""
        if self._hashes is not None and number != self._next:
            self._hashes = None
        if self._hashes is not None and added is not None:
            self._hashes.setdefault(added.record.id, []).append(added.hash)
        self._next = number + 1

    def _gathered(self, transaction: WriteTransaction) -> dict[str, list[bytes]] | None:
        """None where a row is damaged: then each look-up reads what it needs."""
        hashes: dict[str, list[bytes]] = {}
        try:
            for key_hash, row in transaction.cursor(self._rows):
                key = layout.read_key(bytes(key_hash), bytes(row))
                hashes.setdefault(key.record.id, []).append(key.hash)
        except StoreError:
            return None
        return hashes

    def through_rows(self, transaction: WriteTransaction, key_id: str, letters: bytes) -> list[StoredKey]:
        """Keys with this id. Only rows that hold the letters are read; others may be damaged."""
        rows = transaction.cursor(self._rows)
        read = (
            layout.read_key(bytes(key_hash), bytes(row)) for key_hash, row in rows if letters in bytes(row)
        )
        return [key for key in read if key.record.id == key_id]
