"""One folder per definition format; none imports another.

A format's folder has a module `source` with its FORMAT (`sources.format` says what that has to offer); the folder
and its line in `NAMES` are all that a new one takes. `native` is not on the list: it is what a publication is
written in, and what `sources` of an environment refer to is on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Final

from fanion.definitions.sources.format import SourceFormat

NAMES: Final = (
    "feather",
    "flagd",
    "redpennon",
    "stitchd",
    "traffical",
)


@cache
def formats() -> Mapping[str, SourceFormat]:
    """The formats that `sources` of an environment may name."""
    found: list[SourceFormat] = [import_module(f"{__name__}.{name}.source").FORMAT for name in NAMES]
    return {one.name: one for one in found}
