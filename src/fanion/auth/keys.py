"""API keys: what they open, how they are hashed, made and written down.

The record itself stands in `model.api_key`, since definitions and store speak of it too. A raw key is made
here once, handed to its owner, and never kept, logged or put into a message.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Sequence

from fanion.model.api_key import KeyKind, KeyRecord, hash_key, show_prefix

__all__ = ["KeyKind", "KeyRecord", "create_key", "hash_key", "random_key", "show_prefix"]

RANDOM_CHARACTERS = 40
"""Of 62 each: 238 bits."""

ALPHABET = string.ascii_letters + string.digits

PREFIXES: dict[str, str] = {"server": "sk_", "client": "pk_", "edge": "ek_"}


def random_key(kind: KeyKind) -> str:
    """A raw key: `sk_`, `pk_` or `ek_`, then what nobody guesses."""
    return PREFIXES[kind] + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))


def create_key(
    *,
    environment: str,
    organisation: str,
    kind: KeyKind = "server",
    dialects: Sequence[str] = (),
    scopes: Sequence[str] = (),
    expires_at: float | None = None,
    name: str = "",
    make_raw: Callable[[KeyKind], str] | None = None,
) -> tuple[str, KeyRecord]:
    """A new random key and its record. `make_raw`: where its clients expect a shape other than `random_key`'s
    (`fanion.model.vocabulary.Vocabulary.key_maker`)."""
    raw = (make_raw or random_key)(kind)
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
