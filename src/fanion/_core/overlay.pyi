from typing import Any

from fanion._core.evaluate import Bundle
from fanion._core.prepared import PreparedList

class Overlay:
    def __init__(self, bundle: Bundle, table: int) -> None: ...
    def run(
        self,
        keys: list[str] | None,
        guests: dict[str, bytes] | None,
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
        assigned: bool = False,
    ) -> tuple[int, ...]: ...
    def run_prepared(
        self,
        asked: PreparedList,
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
        assigned: bool = False,
    ) -> tuple[int, ...]: ...
    def text(self, slot: int) -> bytes: ...
    def emit(self, heads: tuple[bytes, ...], unasked: bytes, chance: bytes) -> bytes: ...
