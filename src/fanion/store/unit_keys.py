"""The keys of units' digests in the store: one sealed row of `meta`, beside the generations.

Every generation has the same ones: an environment's is made with the first publication that wants one, and neither
a rollback, nor a publication without, nor one that removes the environment takes it away: its rows couldn't be met
any more.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from fanion.errors import StoreError
from fanion.model.units import KEY_BYTES, UnitKeys, new_unit_key
from fanion.store.handles import Handles, WriteTransaction
from fanion.store.layout import seal, unseal

ROW = b"unit-keys"


def decode_unit_keys(value: bytes | None) -> UnitKeys:
    """From the row, where there is one yet."""
    if value is None:
        return UnitKeys()
    try:
        found = msgspec.msgpack.decode(unseal(ROW, value, "unit keys"), type=UnitKeys)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the store's unit keys can't be read: {error}") from None
    if any(len(key) != KEY_BYTES for key in found.keys.values()):
        raise StoreError(f"the store's unit keys can't be read: one hasn't {KEY_BYTES} bytes")
    return found


def ensure_unit_keys(transaction: WriteTransaction, databases: Handles, environments: Iterable[str]) -> None:
    """Makes those that are missing."""
    row = transaction.get(ROW, db=databases["meta"])
    known = decode_unit_keys(None if row is None else bytes(row)).keys
    made = {name: new_unit_key() for name in environments if name not in known}
    if made:
        value = msgspec.msgpack.encode(UnitKeys(known | made))
        transaction.put(ROW, seal(ROW, value), db=databases["meta"])
