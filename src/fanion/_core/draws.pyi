"""Choosing for many at once; see `ext/fanion/_core/draws.pyx`."""

from collections.abc import Callable
from typing import Any

from fanion._core.evaluate import Bundle

class Way:
    def __init__(self, decision: int, begin: bytes, counted: bool) -> None: ...

def choose_each(
    bundle: Bundle,
    ways: dict[str, Way],
    names: tuple[str, ...],
    columns: list[list[Any]],
    places: bytes,
    end: Callable[[str, int, float, int, Any], bytes],
    bytes_max: int,
) -> bytes | None: ...
