"""Traffical's words outside its folder (docs/apis/traffical.md: Keys and scopes)."""

from __future__ import annotations

from typing import Final

from fanion.auth.keys import random_key
from fanion.model.api_key import KeyKind
from fanion.model.vocabulary import Words

NAME: Final = "traffical"
READ: Final = "sdk:read"
WRITE: Final = "sdk:write"
BRAND: Final = "traffical_"


def make_key(kind: KeyKind) -> str:
    return BRAND + random_key(kind)


WORDS: Final = Words(NAME, (READ, WRITE), make_key=make_key, named_environment=True)
