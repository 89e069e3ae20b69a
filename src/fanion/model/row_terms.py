"""What an environment says of its rows, as whoever makes them reads it: a document of the bundle, which is there
only where it says something (docs/rows.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

DOCUMENT: Final = "rows"


class RowTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """`keyed`: whether units are named by keyed digests alone. `keep_days`: days after receipt that rows are kept,
    0: for ever, None: as long as those of others."""

    keyed: bool = False
    keep_days: int | None = None


def read_row_terms(documents: Mapping[str, bytes]) -> RowTerms:
    """Of an environment's documents."""
    said = documents.get(DOCUMENT)
    return RowTerms() if said is None else msgspec.json.decode(said, type=RowTerms)
