"""Membership of segments, asked for many at once; see `ext/fanion/_core/membership.pyx`."""

from collections.abc import Callable

from fanion._core.evaluate import Bundle
from fanion._core.list_block import ListReader

class Membership:
    def __init__(self, bundle: Bundle, decision: int, outcome: int, name: str, kind: str) -> None: ...
    def holds(self, key: str) -> bool: ...

class Asked: ...

class Answers:
    def __init__(
        self,
        body: bytes,
        names: tuple[bytes, bytes, bytes],
        answers: tuple[bytes, bytes],
        text_max: int,
        extras: bool,
    ) -> None: ...
    def take(
        self,
        find: Callable[[str, str], Membership | tuple[ListReader | None, ListReader | None]],
        decided_max: int,
    ) -> bool | None: ...
    def list(self) -> bytes: ...
