"""The keys of a batch (docs/apis/redpennon.md: Evaluate many), and lists of them that were asked for before."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from fanion._core.prepared import ListPlace
from fanion.dialects.wire.prepared import PreparedPlace

_encode = msgspec.json.Encoder().encode


class Wanted(NamedTuple):
    """`heads`: the beginning of each key's member of the answer, as it was sent, each once. `sent`: how many, with
    repetitions."""

    heads: list[bytes]
    sent: int


def wanted_of(keys: list[str]) -> tuple[list[str], Wanted, int]:
    """The names to look up, the keys, and what they take about."""
    asked = list(dict.fromkeys(keys))
    folded = [key.lower() for key in asked]
    heads = [
        b'%b:{"key":%b,' % (_encode(key), _encode(name)) for key, name in zip(asked, folded, strict=True)
    ]
    return folded, Wanted(heads, len(keys)), sum(map(len, heads)) + 40 * len(heads)


LISTED: Final = PreparedPlace(ListPlace(b"{", b'"keys":', b"", b"}"), list[str], dict[str, Any], wanted_of)
