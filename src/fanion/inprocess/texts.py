"""Text as the core and JSON have it: whole characters. Python's may hold half a surrogate pair."""

from __future__ import annotations

from typing import Any


def whole(value: Any) -> Any:
    """A JSON value with U+FFFD for lone surrogates, as a body over HTTP reads; two halves that meet are one."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return value
    if isinstance(value, dict):
        return {whole(name): whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [whole(one) for one in value]
    return value
