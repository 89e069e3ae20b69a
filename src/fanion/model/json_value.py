"""JSON as a decoder gives it, where a shape is not known or left to the caller."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for bytes that are not what they should be: a text with a flipped bit is no UTF-8 any more,
which comes as Python's own error."""
