"""Questions that were asked before: a dialect says where its list of keys stands, and how one is read.

What a list resolved to is kept by what the dialect has at hand of one environment and generation, and found by its
bytes (`fanion._core.prepared`), so that a long list is neither decoded nor looked up again. A handler asks `take`
for a body above `LISTED_BYTES_MIN`: what that leaves of the body is decoded by a type that takes no list and no
member that it doesn't know. Where anything isn't as expected the body is read as a whole, as if nothing was
prepared; answers are the same to the byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from fanion._core.evaluate import Bundle
from fanion._core.prepared import ListPlace, PreparedList, PreparedLists
from fanion.dialects.wire.bodies import REFUSED

T = TypeVar("T")

LISTED_BYTES_MIN: Final = 384
"""A body up to this size is decoded as quickly as its list is found: some ten keys."""


def distinct(keys: list[str]) -> tuple[list[str], None, int]:
    """Names of a map are its keys, each once."""
    return list(dict.fromkeys(keys)), None, 0


class PreparedPlace(Generic[T]):
    """`kind`: the type of a list. `rest`: of a body without it. `derive`: from a list's keys the names to look up,
    what is kept with them, and how many bytes that takes, about."""

    def __init__(
        self,
        place: ListPlace,
        kind: object,
        rest: type[T],
        derive: Callable[[list[str]], tuple[list[str], object, int]] = distinct,
        *,
        mapped: bool = False,
    ) -> None:
        self._place = place
        self._decode: Callable[[bytes], list[str]] = msgspec.json.Decoder(kind).decode
        self._decode_rest: Callable[[bytes], T] = msgspec.json.Decoder(rest).decode
        self._derive = derive
        self._mapped = mapped

    def open(self, bundle: Bundle, table: int) -> PreparedLists:
        return PreparedLists(bundle, table, self._place, self._make, mapped=self._mapped)

    def _make(self, text: bytes) -> tuple[list[str], object, int] | None:
        try:
            return self._derive(self._decode(text))
        except REFUSED:
            return None

    def take(self, lists: PreparedLists, body: bytes, *, client: bool) -> tuple[PreparedList, T] | None:
        """A list and the rest of its body; None: read the body."""
        found = lists.take(body, client)
        if found is None:
            return None
        try:
            return found[0], self._decode_rest(found[1])
        except REFUSED:
            return None
