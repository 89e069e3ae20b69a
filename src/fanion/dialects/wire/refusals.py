"""What is said of items that are wrong, each by itself, in the answer to their batch.

A batch may hold a thousand of them, and saying what is wrong takes longer than finding out that it is: so the words
are made only as long as the answer has room for them, and once for all items that are wrong in the same way.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from fanion._core.said import Said
from fanion.dialects.wire.ingest import ECHO_BYTES_MAX

KEPT_CHARACTERS_MAX = 300
"""Of a message that is kept in its JSON form; longer ones quote what was sent."""


def refusals(name: str) -> Said:
    """Takes what is wrong with an item as `say(index, message)`, or natively. An entry is `{"index":0,"NAME":"what
    is wrong"}`; those that don't fit into `ECHO_BYTES_MAX` are counted, not named."""
    return Said(name, ECHO_BYTES_MAX, _json)


def _json(message: str) -> bytes:
    return _written(message) if len(message) <= KEPT_CHARACTERS_MAX else msgspec.json.encode(message)


@lru_cache(maxsize=256)
def _written(message: str) -> bytes:
    return msgspec.json.encode(message)
