"""What was served of recorded splits, natively; see `ext/fanion/_core/exposures.pyx`."""

from typing import final

from fanion._core.ring import Ring
from fanion._core.shared import SharedFile

MEMBER: int
ATTRIBUTE: int
MEMBER_OR_ATTRIBUTE: int
CONTEXT: int

@final
class MarkTable(SharedFile):
    def __init__(self, path: str, marks: int, *, replace: bool = False) -> None: ...
    def meet(self, id: bytes, day: int) -> bool: ...

@final
class Recorder:
    generation: int
    def __init__(self, marks: MarkTable) -> None: ...
    def lend(self, ring: Ring | None) -> None: ...
    def counts(self) -> dict[str, int]: ...

class Exposing: ...
