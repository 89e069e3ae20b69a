"""Decisions while a bundle is compiled; see `ext/fanion/_core/nodes.pyx`."""

from typing import Any, final

from fanion._core.sections import Rows, Texts

@final
class NodeWriter:
    def __init__(
        self,
        decisions: Rows,
        nodes: Rows,
        pieces: Rows,
        ranges: Rows,
        texts: Texts,
        kinds: tuple[type, type, type, type],
        needs: list[int],
        outcomes: list[int],
        writer: Any,
    ) -> None: ...
    def write(self, key: str, nodes: tuple[Any, ...]) -> int: ...
    def test_row(self, node: Any, number: int, count: int) -> bytes: ...
