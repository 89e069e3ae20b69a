"""YAML by the core schema of YAML 1.2, to plain objects (`documents`).

The C parser of PyYAML delivers events and the objects are made here, so that `on`, `off`, `yes` and `no` stay
text, keys are always text, times stay text, and duplicate keys, tags, depth, the number of values (an alias counts
all that it repeats) and how many of them are repeated are checked on the way. Loaded where a file is YAML."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from fanion.definitions.reading.document_error import DIGITS_MAX, DocumentError
from fanion.definitions.reading.limits import DEPTH_MAX, NODES_MAX, repeated_max
from fanion.definitions.reading.report import brief, shown

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
_STRING_TAGS: Final = frozenset({"!", "tag:yaml.org,2002:str"})


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
        if text[0] in "0123456789.+-" and len(text) <= DIGITS_MAX:
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
