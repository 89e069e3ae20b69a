"""What a shape of rows may hold (`_core.row_shape.Shape`): at the bounds, and one beyond."""

from __future__ import annotations

from typing import Any

import pytest

from fanion._core.row_shape import MEMBERS_MAX, PART_MEMBERS_MAX, Shape
from fanion.model.rows import KINDS

OTHER = (None, "metric", frozenset[str](), False)
FOUR = ("unit", "flag", "variant", "metric", "reason", "event_id")


def members(count: int) -> list[tuple[str, str, int, str | None, bool]]:
    return [(f"m{n}", FOUR[n // 4], 0, None, False) for n in range(count)]


def shape(
    sent: list[Any], variants: list[Any] | None = None, tag: str = "", parts: list[Any] | None = None
) -> Shape:
    given = variants or [OTHER]
    flags = {"units_hashed": False, "traced": False, "resolves": False}
    return Shape(sent, tag, given, "parts" if parts else "", parts or [], KINDS, **flags)


def test_shapes_are_taken_up_to_their_bounds() -> None:
    shape(members(MEMBERS_MAX))
    shape(members(MEMBERS_MAX - 2), tag="type", parts=members(PART_MEMBERS_MAX))
    shape([], [*((f"t{n}", "metric", frozenset[str](), False) for n in range(7)), OTHER], tag="type")
    shape(
        [("a.x", "unit", 0, None, False), ("b.x", "flag", 0, None, False), ("a.y", "unit", 0, "kind", True)]
    )


@pytest.mark.parametrize(
    ("sent", "more"),
    [
        ([*members(MEMBERS_MAX), ("last", "parameter", 0, None, False)], {}),
        (members(MEMBERS_MAX), {"tag": "type"}),
        (members(MEMBERS_MAX), {"parts": members(1)}),
        ([], {"parts": members(PART_MEMBERS_MAX + 1)}),
        ([], {"parts": [("a.b", "flag", 0, None, False)]}),
        ([], {"parts": [("a", "unit", 0, "kind", False)]}),
        ([], {"parts": [("a", "unit", 0, None, True)]}),
        ([], {"variants": [*((f"t{n}", "metric", frozenset(), False) for n in range(8)), OTHER]}),
        ([], {"variants": [(None, "metric", frozenset({"unit"}), False)]}),
        ([], {"variants": [(None, "nothing", frozenset(), False)]}),
        ([(f"m{n}", "flag", 0, None, False) for n in range(5)], {}),
        ([(f"{n}.x", "flag", 0, None, False) for n in range(3)], {}),
        ([("a", "no column", 0, None, False)], {}),
    ],
)
def test_shapes_beyond_them_are_refused(sent: list[Any], more: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - some of Python's own words
        shape(sent, **more)
