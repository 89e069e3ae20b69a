"""Checks values against the type that a flag or variable has, and names what is allowed."""

from __future__ import annotations

import math
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
