"""The properties of an event held against its definition (6.4): violations in the form that SDKs read.

A violation is `{"path": "/properties/total", "message": "must be number", "rule": "type"}`, JSON Schema's words.
What a definition says was checked when it was published, patterns included, which are RE2's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

from fanion.engine.externals import Pattern, compile_pattern

VIOLATIONS_MAX: Final = 20
"""Of one event: the first ones are enough to find the mistake."""

Violation = dict[str, str]

FORMATS: Final = {
    "uuid": re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII),
    "email": re.compile(r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)+"),
    "uri": re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+", re.ASCII),
}


class EventSchemas:
    """Event name -> what its properties have to be."""

    def __init__(self, events: dict[str, Any]) -> None:
        self._known = {
            name: (event["enforcement"] == "reject", Property(event["schema"]))
            for name, event in events.items()
        }

    def __bool__(self) -> bool:
        return bool(self._known)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def check(self, name: str, properties: Any) -> tuple[list[Violation], bool]:
        """The violations, and whether they keep the event out of the pipeline."""
        known = self._known.get(name)
        if known is None:
            return [], False
        rejects, schema = known
        found: list[Violation] = []
        for place, message, rule in schema.violations(
            {} if properties is None else properties, "/properties"
        ):
            found.append({"path": place, "message": message, "rule": rule})
            if len(found) == VIOLATIONS_MAX:
                break
        return found, rejects and bool(found)


class Bound(NamedTuple):
    """A keyword that compares a number or a size."""

    keyword: str
    limit: float
    upper: bool
    words: str


class Property:
    """One schema, ready to be asked."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.type: str | None = schema.get("type")
        self.enum: list[Any] | None = schema.get("enum")
        pattern = schema.get("pattern")
        self.pattern: Pattern | None = None if pattern is None else compile_pattern(pattern)
        self.format: str | None = schema.get("format")
        self.numbers = [
            Bound(keyword, schema[keyword], keyword == "maximum", f"must be {sign} {schema[keyword]:g}")
            for keyword, sign in (("minimum", ">="), ("maximum", "<="))
            if schema.get(keyword) is not None
        ]
        self.lengths = _sizes(schema, "Length", "characters")
        self.counts = _sizes(schema, "Items", "items")
        items = schema.get("items")
        self.items = None if items is None else Property(items)
        self.properties = {name: Property(one) for name, one in schema.get("properties", {}).items()}
        self.required = [name for name, one in schema.get("properties", {}).items() if one.get("required")]
        self.closed = schema.get("additionalProperties") is False

    def violations(self, value: Any, path: str) -> Iterator[tuple[str, str, str]]:
        """(place, message, rule) of everything that is wrong."""
        if self.type is not None and not _is(value, self.type):
            yield path, f"must be {self.type}", "type"
            return
        if self.enum is not None and not any(_same(value, one) for one in self.enum):
            yield path, "must be equal to one of the allowed values", "enum"
        if isinstance(value, str):
            yield from self._text(value, path)
        elif isinstance(value, dict):
            yield from self._object(value, path)
        elif isinstance(value, list):
            for bound in _outside(self.counts, len(value)):
                yield path, bound.words, bound.keyword
            if self.items is not None:
                for number, item in enumerate(value):
                    yield from self.items.violations(item, f"{path}/{number}")
        elif not isinstance(value, bool) and value is not None:
            for bound in _outside(self.numbers, value):
                yield path, bound.words, bound.keyword

    def _text(self, value: str, path: str) -> Iterator[tuple[str, str, str]]:
        for bound in _outside(self.lengths, len(value)):
            yield path, bound.words, bound.keyword
        if self.pattern is not None and self.pattern.search(value) is None:
            yield path, "must match the pattern", "pattern"
        if self.format is not None and not _has_format(value, self.format):
            yield path, f'must match format "{self.format}"', "format"

    def _object(self, value: dict[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
        for name in self.required:
            if name not in value:
                yield path, f"must have required property '{name}'", "required"
        for name, item in value.items():
            known = self.properties.get(name)
            if known is not None:
                yield from known.violations(item, f"{path}/{_pointer(name)}")
            elif self.closed:
                yield path, "must NOT have additional properties", "additionalProperties"


def _sizes(schema: dict[str, Any], what: str, words: str) -> list[Bound]:
    return [
        Bound(f"{end}{what}", limit, end == "max", f"must NOT have {more} than {limit} {words}")
        for end, more in (("min", "fewer"), ("max", "more"))
        if (limit := schema.get(f"{end}{what}")) is not None
    ]


def _outside(bounds: list[Bound], size: float) -> Iterator[Bound]:
    return (bound for bound in bounds if (size > bound.limit if bound.upper else size < bound.limit))


def _is(value: Any, kind: str) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "null":
            return value is None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return kind == "number" or isinstance(value, int) or (math.isfinite(value) and value.is_integer())


def _same(left: Any, right: Any) -> bool:
    """Equal as JSON: true is no number."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _has_format(value: str, format: str) -> bool:
    if format != "date-time":
        return FORMATS[format].fullmatch(value) is not None
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return "T" in value or "t" in value


def _pointer(name: str) -> str:
    """A member's name in a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")
