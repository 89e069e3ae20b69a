"""An API key as the server knows it: its hash and what it opens. Only its owner has the raw key."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

import msgspec

KeyKind = Literal["server", "client", "edge"]

HASH_BYTES = 32
KNOWN_PREFIX = re.compile(r"([a-z]{2,12}_)?(sk|pk|ek)_((live|test)_)?|sdk_((live|test)_)?", re.ASCII)
"""What keys of a kind begin with; it tells nobody anything."""

SHOWN_CHARACTERS = 5
"""What of a raw key may be shown again, in lists and logs, behind a known prefix; three more where none is."""
PREFIX_CHARACTERS_MAX = 26
"""Of the longest known prefix (`abcdefghijkl_sk_live_`) and what is shown behind it."""


class KeyRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a key opens. Nothing is ever read from the raw key's own prefix.

    `dialects`: empty means all. `scopes`: the dialect's own words, empty means all that the kind allows.
    `expires_at`: Unix seconds, None for never. `prefix`: the raw key's first characters, for people.
    """

    id: str
    environment: str
    organisation: str
    kind: KeyKind
    dialects: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    expires_at: float | None = None
    prefix: str = ""
    name: str = ""


def hash_key(raw: bytes) -> bytes:
    """The SHA-256 under which a key is stored and looked up.

    Keys are random and long, so a plain hash can't be reversed; the look-up compares hashes, so how long
    it takes says nothing about a raw key that differs in one byte.
    """
    return hashlib.sha256(raw).digest()


def show_prefix(raw: str) -> str:
    """The part of `raw` that may be shown: a known prefix, and never more than a quarter of what follows."""
    known = KNOWN_PREFIX.match(raw)
    start = known.end() if known else 0
    most = SHOWN_CHARACTERS if known else SHOWN_CHARACTERS + 3
    return raw[: start + min(most, (len(raw) - start) // 4)]
