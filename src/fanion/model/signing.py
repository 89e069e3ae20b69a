"""The keys that trace tokens are signed with: made with the store's first publish, replaced by a command."""

from __future__ import annotations

import secrets

import msgspec

KEY_BYTES = 32


class SigningKeys(msgspec.Struct, frozen=True):
    """`current` signs. `previous` is still accepted for what was signed until `rotated_at` (Unix seconds)."""

    current: bytes
    previous: bytes | None = None
    rotated_at: float = 0.0

    def __repr__(self) -> str:
        return f"SigningKeys(rotated_at={self.rotated_at})"

    def rotated(self, now: float) -> SigningKeys:
        """A new current key, the present one as previous."""
        return SigningKeys(secrets.token_bytes(KEY_BYTES), self.current, now)


def new_signing_keys() -> SigningKeys:
    """The first key of a store."""
    return SigningKeys(secrets.token_bytes(KEY_BYTES))
