"""Parts of a bundle taken over into another; see `ext/fanion/_core/amending.pyx`."""

from collections.abc import Callable
from typing import Any, final

from fanion._core.bundle import BundleView
from fanion._core.sections import Fragments, Rows

@final
class Copier:
    def __init__(
        self,
        bundle: BundleView,
        decisions: Rows,
        nodes: Rows,
        pieces: Rows,
        ranges: Rows,
        fragments: Fragments,
        needs: list[int],
        reads: list[int],
        outcomes: list[int],
        depths: list[int],
        writer: Any,
    ) -> None: ...
    def decisions_of(self, key: str) -> list[int]: ...
    def copy_decisions(self, first: int, end: int) -> None: ...
    def copy_entries(
        self, table: int, rows: Rows, index: Rows, instead: dict[int, Any], encode: Callable[[str], bytes]
    ) -> None: ...
