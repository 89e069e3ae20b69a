"""Reads a definition file's text to plain objects: JSON, or YAML by the YAML 1.2 core schema.

The C parser of PyYAML delivers events and the objects are made here, so that `on`, `off`, `yes` and `no` stay
text, keys are always text, times stay text, and duplicate keys, tags, depth, the number of values (an alias counts
all that it repeats) and how many of them are repeated are checked on the way. JSON is held to the same rules: no
duplicate keys, no NaN. A document that breaks them is one `DocumentError` with its line.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn, TypeVar

import msgspec
import yaml

from fanion._core.json_keys import keys_twice
from fanion.definitions.reading.limits import DEPTH_MAX, NODES_MAX, repeated_max
from fanion.definitions.reading.report import brief, shown

T = TypeVar("T")

_Loader: Any = getattr(yaml, "CLoader", None) or yaml.Loader

_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_OCTAL = re.compile(r"0o[0-7]+", re.ASCII)
_HEX = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)
_WORDS: Final[dict[str, Any]] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_DIGITS_MAX: Final = 400
BYTE_ORDER_MARK: Final = "\ufeff"
"""Windows' editors put it before a file; it is passed over."""
_STRING_TAGS: Final = frozenset({"!", "tag:yaml.org,2002:str"})


class DocumentError(Exception):
    """The text is not a document: what was found, what is allowed. The loader turns it into a `Problem`."""

    def __init__(self, place: str, found: str, allowed: str) -> None:
        super().__init__(place, found, allowed)
        self.place, self.found, self.allowed = place, found, allowed


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
    return parse_json(text) if name.lower().endswith(".json") else parse_yaml(text)


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
        raise DocumentError("document", "a very long number", f"at most {_DIGITS_MAX} digits") from None
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


def parse_yaml(text: str) -> Any:
    """One YAML document by the core schema of YAML 1.2."""
    try:
        return _Builder(text).document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark is not None else "document"
        raise DocumentError(
            place, f"not YAML ({getattr(error, 'problem', None) or error})", "YAML 1.2"
        ) from None


class _Builder:
    """Makes objects from the parser's events; one value is `(object, values it holds)`."""

    def __init__(self, text: str) -> None:
        self.parser = _Loader(text)
        self.next = self.parser.get_event
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.written = self.repeated = 0

    def document(self) -> Any:
        self.next()
        event = self.next()
        if isinstance(event, yaml.StreamEndEvent):
            return None
        value, _ = self.value(self.next(), 1)
        self.next()
        event = self.next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise self.error(event, "a second document", "one document in a file")
        return value

    def error(self, event: Any, found: str, allowed: str) -> DocumentError:
        mark = event.start_mark
        return DocumentError(f"line {mark.line + 1}, column {mark.column + 1}", found, allowed)

    def value(self, event: Any, depth: int) -> tuple[Any, int]:
        kind = type(event)
        if kind is yaml.AliasEvent:
            return self.alias(event)
        self.written += 1
        if kind is yaml.ScalarEvent:
            made: tuple[Any, int] = self.scalar(event), 1
        elif depth > DEPTH_MAX:
            raise self.error(event, "nesting too deep", f"at most {DEPTH_MAX} levels")
        elif event.tag is not None:
            raise self.error(event, f"the tag {brief(event.tag)}", "no tags")
        elif kind is yaml.MappingStartEvent:
            made = self.mapping(depth)
        else:
            made = self.sequence(depth)
        if made[1] > NODES_MAX:
            raise self.error(event, "too many values, aliases counted", f"at most {NODES_MAX}")
        if event.anchor is not None:
            self.anchors[event.anchor] = made
        return made

    def alias(self, event: Any) -> tuple[Any, int]:
        """What it repeats. What reads a document walks through it again, so it counts as often as it stands."""
        if event.anchor not in self.anchors:
            raise self.error(event, f"the alias *{brief(event.anchor)}", "an anchor that stands before it")
        found = self.anchors[event.anchor]
        self.repeated += found[1]
        if self.repeated > (most := repeated_max(self.written)):
            raise self.error(
                event, f"{self.repeated:,} values repeated by aliases", f"at most {most:,} so far"
            )
        return found

    def sequence(self, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        count = 1
        while type(event := self.next()) is not yaml.SequenceEndEvent:
            item, size = self.value(event, depth + 1)
            items.append(item)
            count += size
        return items, count

    def mapping(self, depth: int) -> tuple[dict[str, Any], int]:
        members: dict[str, Any] = {}
        count = 1
        while type(event := self.next()) is not yaml.MappingEndEvent:
            if type(event) is not yaml.ScalarEvent:
                raise self.error(event, "a key that is not text", "keys are plain text")
            key = event.value
            if key in members:
                raise self.error(event, f"the key {shown(key)} stands twice", "each key once")
            item, size = self.value(self.next(), depth + 1)
            members[key] = item
            count += size
        return members, count

    def scalar(self, event: Any) -> Any:
        text = event.value
        if event.tag is not None:
            if event.tag in _STRING_TAGS:
                return text
            raise self.error(event, f"the tag {brief(event.tag)}", "no tags but !!str")
        if event.style:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if text[0] in "0123456789.+-" and len(text) <= _DIGITS_MAX:
            if _INT.fullmatch(text):
                return int(text)
            if _FLOAT.fullmatch(text):
                number = float(text)
                if number in (float("inf"), float("-inf")):
                    raise self.error(event, text, "numbers that a double can hold")
                return number
            if _OCTAL.fullmatch(text):
                return int(text[2:], 8)
            if _HEX.fullmatch(text):
                return int(text[2:], 16)
            if _NOT_FINITE.fullmatch(text):
                raise self.error(event, text, "finite numbers")
        return text
