"""What definitions have to know of the APIs that a server speaks: their names, and the scopes of their keys.

`definitions` imports no dialect, so whoever loads hands this in; `SERVED` is what this server speaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from fanion.model.dialects import LITERAL_KEYS, SCOPES


class Vocabulary(msgspec.Struct, frozen=True):
    """`scopes`: dialect -> the scopes that a key of it may be limited to, in its own words. `literal_keys`:
    dialects whose clients put a flag's key into a path as it is."""

    scopes: Mapping[str, tuple[str, ...]]
    literal_keys: frozenset[str] = frozenset()

    @property
    def dialects(self) -> tuple[str, ...]:
        return tuple(self.scopes)

    def scopes_of(self, dialects: Iterable[str]) -> list[str]:
        """The scopes of these dialects (none: of all of them), each once."""
        named = [dialect for dialect in dialects if dialect in self.scopes] or self.dialects
        return list(dict.fromkeys(scope for dialect in named for scope in self.scopes[dialect]))


SERVED: Final = Vocabulary(SCOPES, LITERAL_KEYS)
