"""Which members fill which columns; see `ext/fanion/_core/row_shape.pyx`."""

from typing import final

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
