"""A quick yes for batches of plain JSON objects; see `ext/fanion/_core/flat_batch.pyx`."""

from collections.abc import Sequence

TEXT: int
CHOICE: int
TIME: int
NUMBER: int
INTEGER: int
FRACTION: int
BOOLEAN: int
NULL_VALUE: int
OBJECT: int
MAP: int
LIST: int
MEMBERS_MAX: int
NUMBER_CHARACTERS_MAX: int

class FlatObject:
    def __init__(
        self,
        fields: list[tuple[str, int, int, Sequence[str], FlatObject | None]],
        variants: list[tuple[Sequence[str], Sequence[str]]],
        tag: str | None = None,
    ) -> None: ...
    @property
    def numbers(self) -> dict[str, int]: ...

class FlatBatch:
    def __init__(
        self,
        list_name: str,
        item: FlatObject,
        count_max: int,
        *,
        fixed: list[str],
        grouped: list[str],
        noted: list[str],
        measured: list[str] | None = None,
    ) -> None: ...
    def check(
        self, body: bytes, fixed: tuple[bytes, ...] = ()
    ) -> tuple[int, list[tuple[str | None, ...]], list[int], list[list[str | None] | None]] | None: ...
    def lengths(self, number: int) -> tuple[int, int, int]: ...
    def both(self, number: int, other: int) -> int: ...
