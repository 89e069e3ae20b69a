"""The table that a native judge goes by; see `ext/fanion/_core/judge_table.pyx`."""

from collections.abc import Callable, Sequence

INTEGER: int
FLOAT: int
TEXT: int
BOOLEAN: int
NULL_VALUE: int
OBJECT: int
LIST: int
MAP: int
CHOICE: int
ANY: int
FIELDS_MAX: int
NO_PATTERN: int
MOMENT: int
DIGEST: int
INT64: int
ABOVE_ZERO: int
FROM_ZERO: int
UP_TO_ONE: int
NO_LIMIT: int

_Type = tuple[int, int, int, int, int, int, int, Sequence[str], int, int]
_Struct = tuple[list[tuple[str, int, int]], str, int, int, bool, list[int]]
_Shape = tuple[str, list[int]]

class JudgeTable:
    def __init__(
        self,
        list_name: str,
        types: list[_Type],
        structs: list[_Struct],
        shapes: list[_Shape],
        count_max: int,
        *,
        notes: int,
        fixed: int,
        open: bool,
        whole: bool,
        text_first: bool,
        quotes_moments: bool,
        bounds: tuple[int, int, int, int, int],
        decode: Callable[[bytes], str],
    ) -> None: ...
