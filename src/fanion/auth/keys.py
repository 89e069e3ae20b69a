"""API keys: what they open, how they are hashed, made and written down.

The record itself stands in `model.api_key`, since definitions and store speak of it too. A raw key is made
here once, handed to its owner, and never kept, logged or put into a message.
"""

from __future__ import annotations

import secrets
import string
import uuid
from collections.abc import Sequence

from fanion.model.api_key import KeyKind, KeyRecord, hash_key, show_prefix

__all__ = ["KeyKind", "KeyRecord", "create_key", "hash_key", "show_prefix"]

RANDOM_CHARACTERS = 40
"""Of 62 each: 238 bits."""

ALPHABET = string.ascii_letters + string.digits

PREFIXES: dict[str, str] = {"server": "sk_", "client": "pk_", "edge": "ek_"}


def create_key(
    *,
    environment: str,
    organisation: str,
    kind: KeyKind = "server",
    dialects: Sequence[str] = (),
    scopes: Sequence[str] = (),
    expires_at: float | None = None,
    name: str = "",
) -> tuple[str, KeyRecord]:
    """A new random key and its record. The raw key has the shape that its kind's clients expect:
    `sk_`, `pk_` or `ek_`; with Traffical as its only dialect `traffical_` before it, with Red Pennon a UUID."""
    if tuple(dialects) == ("redpennon",):
        raw = str(uuid.uuid4())
    else:
        brand = "traffical_" if tuple(dialects) == ("traffical",) else ""
        raw = brand + PREFIXES[kind] + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    record = KeyRecord(
        id=f"key_{secrets.token_hex(8)}",
        environment=environment,
        organisation=organisation,
        kind=kind,
        dialects=tuple(dialects),
        scopes=tuple(scopes),
        expires_at=expires_at,
        prefix=show_prefix(raw),
        name=name,
    )
    return raw, record
