"""Types, values and variants as OFREP's clients expect them (docs/apis/ofrep.md: Values, Variants).

A client asks with one of five types, and refuses a value of another: so a flag whose numbers have a fraction
anywhere writes all of them with one, and every value is sent with a variant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from fanion.model.program import Parameter, Resolution

FlagType = Literal["boolean", "string", "integer", "float", "object"]

BOOLEANS: Final = {"true": "on", "false": "off"}
FRACTION: Final = frozenset(".eE")
VARIANT_CHARACTERS_MAX: Final = 64
"""A scalar value of more is named by its digest."""


def type_of(values: Iterable[str]) -> FlagType:
    """The type of a flag whose values these JSON texts are. Values of several types: that of the first but for
    numbers, of which one with a fraction makes all floats."""
    found: FlagType | None = None
    for value in values:
        one = type_of_text(value)
        if one == "float" and found in (None, "integer"):
            return "float"
        found = found or one
    return found or "object"


def type_of_text(value: str) -> FlagType:
    """The type of one JSON text."""
    first = value[:1]
    if first == '"':
        return "string"
    if value in BOOLEANS:
        return "boolean"
    if first == "-" or first.isdigit():
        return "float" if FRACTION & set(value) else "integer"
    return "object"


def written(value: str, kind: FlagType) -> bytes:
    """A value as an answer has it: a float flag's number with a fraction."""
    if kind == "float" and type_of_text(value) == "integer":
        value += ".0"
    return value.encode()


def variant_of(value: str) -> str:
    """A name for a value that has none: `on` or `off`, the value itself where it is short, else its digest."""
    known = BOOLEANS.get(value)
    if known is not None:
        return known
    kind = type_of_text(value)
    text: str = msgspec.json.decode(value) if kind == "string" else value
    if kind != "object" and 0 < len(text) <= VARIANT_CHARACTERS_MAX:
        return text
    return f"value-{hashlib.sha256(value.encode()).hexdigest()[:8]}"


def default_of(parameter: Parameter) -> str | None:
    """What the flag is where no rule applies: its last value, since the default's outcome is laid last. None where
    that has none, as the caller's own counts then."""
    if parameter.answers[-1].resolution is Resolution.NO_VALUE:
        return None
    values = [one.value for one in parameter.answers if one.value is not None and one.variant != ""]
    return values[-1] if values else None
