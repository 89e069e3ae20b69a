from collections.abc import Callable
from typing import Any

from fanion._core.evaluate import Bundle

LIST_BYTES_MAX: int
TOTAL_BYTES_MAX: int
OWN_BYTES_MAX: int

def counts() -> tuple[int, int, int, int, int]: ...
def bound(total_bytes: int, own_bytes: int) -> None: ...

class ListPlace:
    def __init__(self, before: bytes, member: bytes, after: bytes, ends: bytes) -> None: ...
    def find(self, body: bytes) -> tuple[bytes, bytes] | None: ...

class PreparedList:
    names: list[str] | None
    extra: Any
    def put_map(
        self,
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
        prefix: bytes,
        suffix: bytes,
    ) -> bytes: ...
    def put_each(
        self,
        members: dict[str, Any] | None,
        attributes: dict[str, Any] | None,
        contexts: tuple[tuple[str, str, dict[str, Any]], ...] | None,
    ) -> list[tuple[int, bytes, bytes | None]]: ...

class PreparedLists:
    def __init__(
        self,
        bundle: Bundle,
        table: int,
        place: ListPlace,
        make: Callable[[bytes], tuple[list[str], Any, int] | None],
        *,
        mapped: bool,
    ) -> None: ...
    def take(self, body: bytes, client: bool) -> tuple[PreparedList, bytes] | None: ...
