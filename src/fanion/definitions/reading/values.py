"""Checks values against the type that a flag or variable has, numbers that conditions compare with, and
percentages; names what is allowed."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from fanion.definitions.reading.limits import DEPTH_MAX, VALUE_BYTES_MAX
from fanion.definitions.reading.report import shown
from fanion.definitions.reading.structure import BROKEN

_TYPES: Final[dict[Any, frozenset[type]]] = {
    "boolean": frozenset({bool}),
    "string": frozenset({str}),
    "number": frozenset({int, float}),
    "json": frozenset({dict, list}),
}
_WORDS: Final = {
    "boolean": "true or false",
    "string": "text",
    "number": "a number",
    "json": "an object or a list",
}
_PLAIN: Final = frozenset({bool, type(None)})


WHOLE_MAX: Final = 2**53
"""Up to here each whole number is a double of its own; above, a double is several."""
_WHOLE: Final = re.compile(r"[+-]?[0-9]{16,400}", re.ASCII)


def operand_defect(value: Any) -> tuple[str, str] | None:
    """(found, allowed) for a number that would match its neighbours, as numbers are compared by their text as
    doubles have it."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) > WHOLE_MAX:
        return shown(value), f"at most {WHOLE_MAX}: larger numbers match their neighbours; ids stand as text"
    return None


def order_defect(value: Any) -> tuple[str, str] | None:
    """(found, allowed) for a whole number that no double is: `gt` and its kin would take it for its neighbour."""
    whole = int(value) if isinstance(value, str) and _WHOLE.fullmatch(value.strip()) else value
    if not isinstance(whole, int) or isinstance(whole, bool):
        return None
    try:
        return None if int(float(whole)) == whole else (shown(value), "a whole number that a double can hold")
    except OverflowError:
        return None  # no number at all, and said elsewhere


def percentage_defect(percentage: float) -> tuple[str, str] | None:
    """(found, allowed) for a percentage that its buckets of 0.01 % can't hold."""
    points = round(percentage * 100)
    lost = (points == 0 and percentage > 0) or (points == 10_000 and percentage < 100)
    if lost or abs(percentage * 100 - points) > 1e-6:
        return shown(percentage), "per cent with two decimals"
    return None


def value_defect(value: Any, kind: Any) -> tuple[str, str] | None:
    """(found, allowed) where a value is not of type `kind` or can't be rendered; None when it is fine.

    BROKEN values and types have been reported already.
    """
    if value is BROKEN:
        return None
    allowed = _TYPES.get(kind) if isinstance(kind, str) else None
    if allowed is not None and type(value) not in allowed:
        return shown(value), f"{_WORDS[kind]}, as the type is {kind}"
    return None if type(value) is bool else _content_defect(value, 1)


def _content_defect(value: Any, depth: int) -> tuple[str, str] | None:
    kind = type(value)
    if kind is str:
        if len(value) > VALUE_BYTES_MAX // 4 and len(value.encode()) > VALUE_BYTES_MAX:
            return "a longer text", f"at most {VALUE_BYTES_MAX} bytes"
        return None
    if kind is int:
        return None if -(2**63) <= value < 2**63 else (shown(value), "whole numbers of 64 bits")
    if kind is float:
        return None if math.isfinite(value) else (shown(value), "finite numbers")
    if kind in _PLAIN:
        return None
    if depth > DEPTH_MAX:
        return "nesting too deep", f"at most {DEPTH_MAX} levels"
    for child in value.values() if kind is dict else value:
        defect = _content_defect(child, depth + 1)
        if defect is not None:
            return defect
    return None
