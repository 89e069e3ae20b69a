"""Records to columns, natively; see `ext/fanion/_core/rows.pyx`."""

from collections.abc import Callable, Iterable
from typing import Any, final

from fanion._core.columns import Columns
from fanion._core.record_table import RecordTable

MEMBERS_MAX: int
PART_MEMBERS_MAX: int
TARGETS: tuple[str, ...]

@final
class Shape:
    def __init__(
        self,
        members: list[tuple[str, str, int, str | None, bool]],
        tag: str,
        variants: list[tuple[str | None, str, frozenset[str], bool]],
        parts: str,
        part_members: list[tuple[str, str, int, str | None, bool]],
        kinds: tuple[str, ...],
        *,
        units_hashed: bool,
        traced: bool,
        resolves: bool,
    ) -> None: ...

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
    ) -> None: ...
    def take(self) -> Columns: ...
    def expand(
        self,
        buffer: Any,
        table: RecordTable,
        machine: str,
        writer: int,
        epoch: int,
        dialects: list[str],
        environments: list[str],
        shapes: dict[str, Shape],
        plain: Callable[[int, int], Iterable[Any]],
        flag_of: Callable[[str, str, str], str | None],
    ) -> None: ...
