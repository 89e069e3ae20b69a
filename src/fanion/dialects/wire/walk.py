"""Dotted names looked up in JSON that a caller sent: the literal member first, else the walk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fanion.model.json_value import Json

ABSENT: Final = object()


def look_up(context: Mapping[str, Json], field: str) -> object:
    """`a.b` member by member, `a.0` into lists, `a.length` of one; ABSENT where there is nothing."""
    if field in context:
        return context[field]
    found: object = context
    for part in field.split("."):
        if isinstance(found, dict):
            found = found.get(part, ABSENT)
        elif isinstance(found, list) and part == "length":
            found = len(found)
        elif (
            isinstance(found, list) and part.isascii() and part.isdigit() and (part == "0" or part[0] != "0")
        ):
            found = found[int(part)] if len(part) <= 9 and int(part) < len(found) else ABSENT
        else:
            return ABSENT
    return found
