from collections.abc import Callable
from typing import Any, final

from fanion._core.bundle import BundleView
from fanion._core.exposures import Recorder

ABSENT: int

class Bundle(BundleView):
    environment: str
    identifiers: dict[str, dict[str, str]]
    def __init__(self, buffer: Any, external: Callable[[int, str, str], bool] | None = None) -> None: ...
    def table(self, name: str) -> int: ...
    def document(self, name: str) -> bytes | None: ...
    def expose(
        self,
        table: int,
        recorder: Recorder,
        dialect: str,
        places: tuple[tuple[int, str, str, bool], ...],
        *,
        assigned: bool,
        anonymous: bool,
        carried: Callable[[Any, Any, Any], bytes | None] | None,
        key: bytes | None = None,
    ) -> None: ...
    def ask(
        self,
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
    ) -> Question: ...
    def put_one(
        self,
        table: int,
        key: str,
        client: bool,
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
        prefix: bytes,
        suffix: bytes,
    ) -> bytes: ...
    def put_map(
        self,
        table: int,
        keys: list[str],
        client: bool,
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
        prefix: bytes,
        suffix: bytes,
    ) -> bytes: ...
    def resolve(
        self,
        table: int,
        key: str,
        client: bool,
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
    ) -> tuple[int, bytes, bytes | None]: ...
    def evaluate(
        self,
        decision: int,
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
    ) -> tuple[int, int]: ...
    def choose(
        self,
        decision: int,
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
    ) -> tuple[int, float, int]: ...
    def decision(self, table: int, key: str) -> int: ...
    def vector(self, number: int) -> tuple[str, list[float], str]: ...
    def repeat(
        self,
        decision: int,
        count: int,
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
    ) -> int: ...

@final
class Question:
    def put_each(
        self, table: int, keys: list[str], client: bool
    ) -> list[tuple[int, bytes, bytes | None]]: ...
    def put_list(self, table: int, keys: list[str], client: bool) -> bytes: ...
    def put_map(self, table: int, keys: list[str], client: bool, prefix: bytes, suffix: bytes) -> bytes: ...
    def evaluate(self, decision: int) -> tuple[int, int]: ...
    def choose(self, decision: int) -> tuple[int, float, int]: ...
