"""One folder per public API; none imports another. `wire` is what all of them are made from.

A dialect's folder has a module `words` with its WORDS (`fanion.model.vocabulary`), `routes` with its DIALECT
(`wire.dialect`), `canonical` with its CANONICAL (`fanion.model.canonical`), and `description` with its DESCRIPTION
(`wire.described`), of which its OpenAPI document is made; where it answers flags, also `rendering` with its
RENDERING (`wire.rendering`), all of it that a publication needs. The folder and its line in `NAMES` are all that a
new one takes: everything else finds it here, and loads no more of it than is asked for.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from fanion.model.canonical import Canonical
from fanion.model.vocabulary import Vocabulary

if TYPE_CHECKING:
    from fanion.dialects.wire.described import Description
    from fanion.dialects.wire.dialect import Dialect
    from fanion.dialects.wire.flat import FlatDialect
    from fanion.dialects.wire.rendering import Rendering

NAMES: Final = (
    "feather",
    "redpennon",
    "traffical",
    "stitchd",
    "ofrep",
    "neutral",
)
"""The order decides shared paths, and the shape of a path of nobody."""

FLAT: Final = "ofrep"
"""The one whose answers a process reads that evaluates by itself."""


@cache
def vocabulary() -> Vocabulary:
    """What others have to know of the dialects, for configuration, definitions and keys."""
    return Vocabulary(tuple(import_module(f"{__name__}.{name}.words").WORDS for name in NAMES))


@cache
def served() -> tuple[Dialect, ...]:
    """Every API that the server speaks, with its endpoints."""
    return tuple(import_module(f"{__name__}.{name}.routes").DIALECT for name in NAMES)


@cache
def renderings() -> dict[str, Rendering]:
    """Dialect -> what it makes of definitions, of those that answer flags; in the order of `served`, whose
    endpoints aren't loaded."""
    found = [name for name in NAMES if find_spec(f"{__name__}.{name}.rendering") is not None]
    return {name: import_module(f"{__name__}.{name}.rendering").RENDERING for name in found}


def description_of(name: str) -> Description:
    """What a dialect's OpenAPI document says beside its routes."""
    found: Description = import_module(f"{__name__}.{name}.description").DESCRIPTION
    return found


@cache
def canonical_forms() -> dict[str, Canonical]:
    """Dialect -> how its events read, for the journal's readers."""
    return {name: import_module(f"{__name__}.{name}.canonical").CANONICAL for name in NAMES}


@cache
def flat() -> FlatDialect:
    """The answers to flat contexts, for processes that evaluate by themselves."""
    found: FlatDialect = import_module(f"{__name__}.{FLAT}.flat").FLAT
    return found
