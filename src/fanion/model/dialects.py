"""The public APIs that the server speaks, by name, and the scopes that their endpoints ask a key for.

Definitions, keys and commands name these and no other; `app.dialects` serves exactly these, which a test holds.
An API joins the list when it is served, a scope when an endpoint asks for it: a key limited to another word would
open nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

Dialect = Literal["feather", "redpennon", "traffical", "stitchd", "ofrep"]
DIALECTS: Final[tuple[str, ...]] = get_args(Dialect)

Scope = Literal["evaluate", "events", "sdk:read", "sdk:write"]
SCOPES: Final[Mapping[str, tuple[Scope, ...]]] = {
    "feather": ("evaluate", "events"),
    "redpennon": ("evaluate", "events"),
    "traffical": ("sdk:read", "sdk:write"),
    "stitchd": ("evaluate", "events"),
    "ofrep": ("evaluate",),
}
"""Dialect -> its scopes, in its own words. An endpoint that asks for none is open to every key of its dialect."""


LITERAL_KEYS: Final[frozenset[str]] = frozenset({"ofrep"})
"""Dialects whose published clients put a flag's key into a path as it is, whatever stands in it."""


def scopes_of(dialects: Sequence[str]) -> list[str]:
    """The scopes that a key of these dialects (none: all of them) may be limited to, each once."""
    return list(dict.fromkeys(scope for dialect in (dialects or DIALECTS) for scope in SCOPES[dialect]))
