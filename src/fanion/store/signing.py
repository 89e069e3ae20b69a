"""The signing keys in the store: one sealed row of `meta`, with the generations but apart from them.

A rollback doesn't bring an old key back, and a publish only makes the first one.
"""

from __future__ import annotations

import msgspec

from fanion.errors import StoreError
from fanion.model.signing import SigningKeys, new_signing_keys
from fanion.store.handles import Handles, WriteTransaction
from fanion.store.layout import seal, unseal

ROW = b"signing"


def decode_signing_keys(value: bytes | None) -> SigningKeys | None:
    """From the row; None before the first publish, and in a store of an earlier version until the next one."""
    if value is None:
        return None
    try:
        return msgspec.msgpack.decode(unseal(ROW, value, "signing keys"), type=SigningKeys)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the store's signing keys can't be read: {error}") from error


def ensure_signing_keys(transaction: WriteTransaction, databases: Handles) -> None:
    """Makes the first key."""
    if transaction.get(ROW, db=databases["meta"]) is None:
        _write(transaction, databases, new_signing_keys())


def rotate_signing_keys(transaction: WriteTransaction, databases: Handles, now: float) -> None:
    """A new key signs from here on; what the one before signed is accepted until it is too old.

    `now`: Unix seconds, rather too early than too late; what the old key signs later is refused.
    """
    row = transaction.get(ROW, db=databases["meta"])
    known = decode_signing_keys(None if row is None else bytes(row))
    _write(transaction, databases, new_signing_keys() if known is None else known.rotated(now))


def _write(transaction: WriteTransaction, databases: Handles, keys: SigningKeys) -> None:
    transaction.put(ROW, seal(ROW, msgspec.msgpack.encode(keys)), db=databases["meta"])
