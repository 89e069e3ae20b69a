"""What evaluating in process gives back: the members of an answer over HTTP, as Python values."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from fanion.errors import ContextError, EvaluationError, FlagNotFoundError, TargetingKeyError

Metadata = Mapping[str, str | int | float | bool]

NOTHING: Final[Metadata] = MappingProxyType({})

ERRORS: Final[dict[str, type[EvaluationError]]] = {
    "FLAG_NOT_FOUND": FlagNotFoundError,
    "TARGETING_KEY_MISSING": TargetingKeyError,
    "INVALID_CONTEXT": ContextError,
}


class Evaluation(msgspec.Struct, frozen=True, gc=False):
    """One flag's answer. `value` None: the flag gives none, and the caller's own default counts. `reason`,
    `variant` and `metadata` as OpenFeature has them. `type`: "boolean", "string", "integer", "float", "object" or
    ""."""

    key: str
    value: Any
    variant: str | None
    reason: str
    metadata: Metadata
    type: str


TYPES: Final[dict[type, str]] = {
    bool: "boolean",
    str: "string",
    int: "integer",
    float: "float",
    dict: "object",
    list: "object",
    type(None): "",
}


class _Answer(msgspec.Struct):
    key: str = ""
    value: Any = None
    variant: str | None = None
    reason: str = "UNKNOWN"
    metadata: dict[str, str | int | float | bool] = {}
    errorCode: str = ""  # noqa: N815 - the member's name
    errorDetails: str = ""  # noqa: N815


_read = msgspec.json.Decoder(_Answer).decode


def read_answer(answer: bytes) -> Evaluation | EvaluationError:
    """An answer, or the error that it is; that one isn't raised here."""
    one = _read(answer)
    if one.errorCode:
        return ERRORS.get(one.errorCode, EvaluationError)(one.key, one.errorCode, one.errorDetails)
    metadata = MappingProxyType(one.metadata) if one.metadata else NOTHING
    return Evaluation(one.key, one.value, one.variant, one.reason, metadata, TYPES[type(one.value)])


def read_ready(answer: bytes) -> Evaluation | None:
    """As `read_answer`; None for an error."""
    found = read_answer(answer)
    return found if isinstance(found, Evaluation) else None
