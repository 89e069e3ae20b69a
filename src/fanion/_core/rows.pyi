"""Records to columns, natively; see `ext/fanion/_core/rows.pyx`."""

from collections.abc import Callable, Iterable
from typing import Any, final

from fanion._core.columns import Columns
from fanion._core.record_table import RecordTable
from fanion._core.row_shape import Shape

@final
class RowBuilder:
    rows: int
    text_bytes: int
    def __init__(
        self,
        *,
        kinds: tuple[str, ...],
        dispositions: tuple[str, ...],
        times: tuple[str, ...],
        age_max_us: int,
        ahead_max_us: int,
        own: str | None = None,
    ) -> None: ...
    def take(self) -> list[Columns]: ...
    def expand(
        self,
        buffer: Any,
        table: RecordTable,
        machine: str,
        writer: int,
        epoch: int,
        dialects: list[str],
        environments: list[str],
        keys: list[bytes | None],
        shapes: dict[str, Shape],
        plain: Callable[[int, int], Iterable[Any]],
        flag_of: Callable[[str, str, str], str | None],
    ) -> None: ...
