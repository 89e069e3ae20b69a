"""The console's tokens: one sealed row of `meta`, this store's own, so that no place takes it to another machine.

Of a token only its SHA-256 is kept. A change is no generation: no worker reads the row.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from fanion.errors import StoreError
from fanion.store.generation import PinnedGeneration
from fanion.store.layout import CONSOLE, seal, unseal
from fanion.store.store import Store

TOKENS_MAX: Final = 32


class ConsoleToken(msgspec.Struct, frozen=True):
    """`hash`: SHA-256 of the raw token, in hex. Times are Unix seconds; `expires_at` None: never."""

    id: str
    hash: str
    made_at: float
    expires_at: float | None = None
    name: str = ""

    def over(self, now: float) -> bool:
        return self.expires_at is not None and self.expires_at <= now


def hash_token(raw: str) -> str:
    """Tokens have 256 random bits, so a plain hash can't be reversed."""
    return hashlib.sha256(raw.encode()).hexdigest()


def read_tokens(pinned: PinnedGeneration) -> tuple[ConsoleToken, ...]:
    """In the order in which they were made. Raises StoreError when the row is damaged."""
    return _decode(pinned.meta(CONSOLE))


def add_token(store: Store, token: ConsoleToken, now: float) -> None:
    """Those that are over go. Raises StoreError where there are `TOKENS_MAX`."""
    with store.transactions.writing() as transaction:
        row = transaction.get(CONSOLE, db=store.transactions.databases["meta"])
        kept = [one for one in _decode(None if row is None else bytes(row)) if not one.over(now)]
        if len(kept) >= TOKENS_MAX:
            raise StoreError(f"there are {TOKENS_MAX} console tokens; revoke some")
        value = msgspec.json.encode([*kept, token])
        store.transactions.put(transaction, "meta", CONSOLE, seal(CONSOLE, value))


def revoke_token(store: Store, token_id: str) -> None:
    """Raises StoreError where there is none with this id."""
    with store.transactions.writing() as transaction:
        row = transaction.get(CONSOLE, db=store.transactions.databases["meta"])
        found = _decode(None if row is None else bytes(row))
        kept = [one for one in found if one.id != token_id]
        if len(kept) == len(found):
            raise StoreError(f"there is no console token {token_id}; `fanion console tokens` shows them")
        store.transactions.put(transaction, "meta", CONSOLE, seal(CONSOLE, msgspec.json.encode(kept)))


def _decode(value: bytes | None) -> tuple[ConsoleToken, ...]:
    if value is None:
        return ()
    try:
        return msgspec.json.decode(unseal(CONSOLE, value, "console tokens"), type=tuple[ConsoleToken, ...])
    except msgspec.MsgspecError as error:
        raise StoreError(f"the store's console tokens can't be read: {error}") from None
