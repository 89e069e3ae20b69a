"""Files that all workers map; see `ext/fanion/_core/shared.pyx`."""

from typing import final

from typing_extensions import disjoint_base

KIND_GENERATION: int
KIND_LIMITER: int
HEADER_BYTES: int

def boottime_ns() -> int: ...

@disjoint_base
class SharedFile:
    path: str
    body_bytes: int
    fresh: bool
    def __init__(
        self,
        path: str,
        kind: int,
        version: int,
        body_bytes: int,
        layout: int = 0,
        *,
        replace: bool = False,
        per_boot: bool = False,
        large: bool = False,
        begin: int = 0,
    ) -> None: ...
    def try_lock(self, number: int) -> bool: ...
    def unlock(self, number: int) -> None: ...
    def is_locked_elsewhere(self, number: int) -> bool: ...
    def close(self) -> None: ...

@final
class GenerationWord(SharedFile):
    def __init__(self, path: str, *, replace: bool = False) -> None: ...
    def load(self) -> int: ...
    def raise_to(self, generation: int) -> None: ...

@final
class LimiterTable(SharedFile):
    def __init__(self, path: str, slots: int, *, replace: bool = False) -> None: ...
    def take(self, scope: int, rate_per_s: float, burst: int, cost: int = 1, now_ns: int = 0) -> float: ...
