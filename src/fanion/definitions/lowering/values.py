"""Values of definitions as a program holds them: their JSON text, what makes two the same, operands of tests."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from fanion.model.text import ecmascript_number, parse_decimal

_encode = msgspec.json.Encoder().encode


def value_text(value: Any) -> str:
    """A value as JSON text; whole and fractional numbers keep their form."""
    if value is True:
        return "true"
    return "false" if value is False else _encode(value).decode()


def identity(value: Any) -> object:
    """What makes two values the same: JSON type and content; 1 and 1.0 are one number, true is none."""
    kind = type(value)
    if kind is bool:
        return (bool, value)
    return value if kind is not dict and kind is not list else (kind, value_text(value))


class Numbers(dict[object, int]):
    """Variant numbers of a flag's values, in order of first use."""

    def of(self, value: Any) -> int:
        same = identity(value)
        number = self.get(same)
        if number is None:
            number = self[same] = len(self)
        return number

    def find(self, value: Any) -> int | None:
        """The number of a value that the flag serves, else None."""
        return self.get(identity(value))


def variant_names(variants: Any) -> dict[object, str]:
    """The name of each value: of several names for one value the first counts (docs/apis/feather.md: Variant
    names)."""
    names: dict[object, str] = {}
    for variant in variants or ():
        names.setdefault(identity(variant.value), variant.key)
    return names


def operand_text(value: bool | int | float | str) -> str:
    """The text form that attributes are compared in (docs/apis/feather.md: Operators): `true`, numbers as
    ECMAScript writes them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return ecmascript_number(float(value))


def operand_number(value: Any) -> float | None:
    """The number that `gt` and its kin compare with; None where there is none, so the condition is false."""
    if isinstance(value, bool | list) or value is None:
        return None
    try:
        number = parse_decimal(value) if isinstance(value, str) else float(value)
    except OverflowError:
        return None
    return None if number is None or math.isnan(number) else number
