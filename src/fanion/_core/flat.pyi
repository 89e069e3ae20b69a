from collections.abc import Callable
from typing import Any, final

from fanion._core.evaluate import Bundle

def address_of(buffer: Any) -> int: ...

@final
class FlatPlan:
    def __init__(
        self,
        name: str,
        subject: str | None,
        unit: str | None,
        members: tuple[tuple[str, str, str | None], ...],
        context_type: str | None,
        keyed: bool,
        nested: tuple[str, ...],
    ) -> None: ...

@final
class FlatReader:
    kept: Any
    def __init__(
        self,
        bundle: Bundle,
        table: int,
        own: str,
        plan: Callable[[str], FlatPlan | None],
        decode: Callable[[bytes], Any],
        kept: object,
    ) -> None: ...
    def ask(self, key: Any, context: Any) -> Any: ...
    def resolve(self, key: Any, context: Any) -> tuple[int, bytes, bytes | None] | None: ...

class FlatFront:
    def watch(self, word: Any, seen: int, idle: list[FlatReader]) -> None: ...
    def due(self) -> bool: ...
    def evaluate(self, key: str, context: Any) -> Any: ...
    def ask_otherwise(self, key: str, context: Any) -> Any: ...
