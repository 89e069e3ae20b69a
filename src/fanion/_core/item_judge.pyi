"""Which items of a batch are right, and what is said of the others; see `ext/fanion/_core/item_judge.pyx`."""

from collections.abc import Callable, Container
from typing import Any, Literal

from fanion._core.judge_table import JudgeTable
from fanion._core.said import Said

_Notes = tuple[str | None, ...]

class ItemJudge(JudgeTable):
    @property
    def within(self) -> bool: ...
    def judge(
        self, body: bytes, fixed: tuple[bytes, ...] = ()
    ) -> list[int | Literal["fine", "unsure"]] | None: ...
    def apart(
        self, body: bytes, ask: Callable[[bytes], tuple[Any, ...] | None]
    ) -> tuple[list[list[Any]], bytes, bool] | None: ...
    def leading(self, body: bytes) -> tuple[list[list[str | None]], int, bytes] | None: ...
    def first(self, body: bytes, fixed: tuple[bytes, ...] = ()) -> tuple[int, int, bytes, bool] | None: ...
    def sort(
        self,
        body: bytes,
        said: Said,
        ask: Callable[[int, bytes], str | _Notes | None],
        fixed: tuple[bytes, ...] = (),
        watched: Container[str | None] | None = None,
        check: Callable[[], object] | None = None,
    ) -> tuple[list[list[str | None]], list[int] | None, bytes | None, int] | None: ...
