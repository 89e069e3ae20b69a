"""Reads a definition file's text to plain objects: JSON, or YAML by the YAML 1.2 core schema (`yaml_documents`).

JSON is held to the rules of YAML: no duplicate keys, no NaN. A document that breaks them is one `DocumentError`
with its line.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from fanion._core.json_keys import keys_twice
from fanion.definitions.reading.document_error import DIGITS_MAX, DocumentError
from fanion.definitions.reading.limits import DEPTH_MAX
from fanion.definitions.reading.report import shown

__all__ = ["DocumentError", "parse_json", "read_document", "read_struct"]

T = TypeVar("T")

BYTE_ORDER_MARK: Final = "\ufeff"
"""Windows' editors put it before a file; it is passed over."""


def read_document(name: str, data: bytes) -> Any:
    """The plain objects of a file; `.json` is JSON, anything else YAML."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"byte {error.start}", "bytes that are not UTF-8", "definitions are UTF-8"
        ) from None
    if not text.removeprefix(BYTE_ORDER_MARK).strip():
        raise DocumentError("document", "an empty file", "definitions")
    if name.lower().endswith(".json"):
        return parse_json(text)
    from fanion.definitions.reading.yaml_documents import parse_yaml

    return parse_yaml(text)


def read_struct(name: str, data: bytes, kind: type[T]) -> T | None:
    """What `read_document` and a conversion give for a JSON file without a defect, in a fraction of their time and
    memory; None: those have to be asked, if only for what is wrong."""
    if not name.lower().endswith(".json") or keys_twice(data):
        return None
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # a UnicodeDecodeError is the second
        return None


def parse_json(text: str) -> Any:
    """JSON as in RFC 8259, without duplicate keys, lone surrogates, or numbers that JSON can't write.

    Depth is bounded by the interpreter here, and by each format's own check of what may nest.
    """
    try:
        document = json.loads(
            text.removeprefix(BYTE_ORDER_MARK),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
        if "\\ud" in text or "\\uD" in text:
            json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise DocumentError(
            place, f"not JSON ({error.msg})", "the file ends in .json, so it is JSON"
        ) from None
    except UnicodeEncodeError:
        raise DocumentError("document", "a lone surrogate", "text that UTF-8 can hold") from None
    except ValueError:
        raise DocumentError("document", "a very long number", f"at most {DIGITS_MAX} digits") from None
    except RecursionError:
        raise DocumentError("document", "nesting too deep", f"at most {DEPTH_MAX} levels") from None
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DocumentError(
                    f"key {shown(key)}", "the key stands twice in one object", "each key once"
                )
            seen.add(key)
    return members


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise DocumentError("document", shown(text), "numbers that a double can hold")
    return number


def _refuse_constant(text: str) -> NoReturn:
    raise DocumentError("document", text, "finite numbers")
