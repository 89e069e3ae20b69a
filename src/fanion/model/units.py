"""A unit's digest, and its keyed one: what tells the rows of one unit from another's (docs/exposures.md).

A digest is the SHA-256 of the id. Where an environment's are keyed, it is HMAC-SHA-256 of that digest by the
environment's key, so whoever has rows alone can't try ids. `fanion_unit_key.h` says the same natively.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from typing import Final

import msgspec

KEY_BYTES: Final = 32
_DIGITS: Final = re.compile("[0-9a-fA-F]{64}")

KeyOf = Callable[[str], bytes | None]
"""environment -> the key of its units' digests; None where they aren't keyed."""


class UnitKeys(msgspec.Struct, frozen=True):
    """All environments' that ever had one, by id."""

    keys: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"UnitKeys(of {len(self.keys)} environments)"


def new_unit_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


def no_key(environment: str) -> None:
    """A `KeyOf` for readers without a store."""


def keyed_digest(key: bytes, digest: bytes) -> bytes:
    """Of a digest of 32 bytes."""
    return hmac.digest(key, digest, "sha256")


def keyed_unit(key: bytes, unit: str, *, hashed: bool) -> str:
    """What stands in a row for a unit that an event names, by its id or by the digest's 64 digits, in any
    case (`hashed`). What isn't written so is taken for an id: it met nobody's before either."""
    if hashed and _DIGITS.fullmatch(unit):
        return keyed_digest(key, bytes.fromhex(unit)).hex()
    return keyed_digest(key, hashlib.sha256(unit.encode()).digest()).hex()
