from collections.abc import Callable
from typing import Any

from fanion._core.bundle import BundleView

class Bundle(BundleView):
    environment: str
    identifiers: dict[str, dict[str, str]]
    def __init__(self, buffer: Any, external: Callable[[int, str, str], bool] | None = None) -> None: ...
    def table(self, name: str) -> int: ...
    def document(self, name: str) -> bytes | None: ...
    def keys(self, table: int) -> list[str]: ...
    def emit_one(
        self,
        table: int,
        key: str,
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
        client: bool,
        prefix: bytes,
        suffix: bytes,
        holes: tuple[bytes, ...] = (),
    ) -> bytes: ...
    def emit_map(
        self,
        table: int,
        keys: list[str],
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
        client: bool,
        prefix: bytes,
        entry_open: bytes,
        entry_close: bytes,
        suffix: bytes,
    ) -> bytes: ...
    def resolve(
        self,
        table: int,
        key: str,
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
        client: bool,
    ) -> tuple[int, int, int, int] | None: ...
    def evaluate(
        self,
        decision: int,
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
    ) -> tuple[int, int]: ...
    def evaluate_many(
        self,
        decisions: tuple[int, ...],
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
    ) -> list[tuple[int, int]]: ...
    def chosen(self) -> tuple[int, float, int]: ...
    def vector(self, number: int) -> tuple[str, list[float], str]: ...
    def repeat(
        self,
        decision: int,
        count: int,
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
    ) -> int: ...

def parts_of(name: str) -> list[tuple[str, int] | None]: ...
