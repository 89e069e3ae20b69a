"""The properties of an event held against its definition (docs/apis/traffical.md: Event answers): violations
in the form that SDKs read.

A violation is `{"path": "/properties/total", "message": "must be number", "rule": "type"}`, JSON Schema's words.
What a definition says was checked when it was published, patterns included, which are RE2's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from fanion.engine.externals import Pattern, compile_pattern
from fanion.model.json_value import Json

VIOLATIONS_MAX: Final = 20
"""Of one event: the first ones are enough to find the mistake."""

LISTED_MAX: Final = 30_000
"""Values inside lists that are looked at of one batch, some 3 µs each; a thousand events with six lines of four
values have fewer."""

Violation = dict[str, str]

if TYPE_CHECKING:
    Choice = Json
else:
    Choice = Any  # the decoder can't read an alias that names itself

FORMATS: Final = {
    "uuid": re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII),
    "email": re.compile(r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)+"),
    "uri": re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+", re.ASCII),
}


class PropertySchema(msgspec.Struct, frozen=True, rename="camel"):
    """What one value has to be, as the definitions left it."""

    type: str | None = None
    required: bool = False
    enum: list[Choice] | None = None
    pattern: str | None = None
    format: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    items: PropertySchema | None = None
    properties: dict[str, PropertySchema] = {}
    additional_properties: bool = True


class EventRule(msgspec.Struct, frozen=True):
    """One event's properties, and whether what is wrong with them keeps it out ("reject")."""

    enforcement: str
    schema: PropertySchema


class TooManyListedError(Exception):
    """The lists of a batch hold more values than are looked at; the sender may send fewer events at a time."""


class Effort:
    """What may still be looked at of one batch: `left` values inside lists."""

    __slots__ = ("left",)

    def __init__(self, left: int = LISTED_MAX) -> None:
        self.left = left

    def take(self, count: int) -> None:
        """Raises TooManyListedError; what is left stays."""
        if count > self.left:
            raise TooManyListedError
        self.left -= count


class EventSchemas:
    """Event name -> what its properties have to be."""

    def __init__(self, events: Mapping[str, EventRule]) -> None:
        self._known = {
            name: (event.enforcement == "reject", Property(event.schema)) for name, event in events.items()
        }

    def __bool__(self) -> bool:
        return bool(self._known)

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def check(
        self, name: str, properties: object, most: int = VIOLATIONS_MAX, effort: Effort | None = None
    ) -> tuple[list[Violation], bool]:
        """The violations, the first `most` of them, and whether they keep the event out of the pipeline. `effort`:
        of the batch that it is in. Raises TooManyListedError."""
        known = self._known.get(name)
        if known is None:
            return [], False
        rejects, schema = known
        found: list[Violation] = []
        for place, message, rule in schema.violations(
            {} if properties is None else properties, "/properties", effort or Effort()
        ):
            found.append({"path": place, "message": message, "rule": rule})
            if len(found) == most:
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

    def __init__(self, schema: PropertySchema) -> None:
        self.type = schema.type
        self.enum = schema.enum
        self.pattern = None if schema.pattern is None else _compiled(schema.pattern)
        self.format = schema.format
        self.numbers = [
            Bound(keyword, limit, keyword == "maximum", f"must be {sign} {limit:g}")
            for keyword, limit, sign in (("minimum", schema.minimum, ">="), ("maximum", schema.maximum, "<="))
            if limit is not None
        ]
        self.lengths = _sizes("Length", schema.min_length, schema.max_length, "characters")
        self.counts = _sizes("Items", schema.min_items, schema.max_items, "items")
        self.items = None if schema.items is None else Property(schema.items)
        self.properties = {name: Property(one) for name, one in schema.properties.items()}
        self.required = [name for name, one in schema.properties.items() if one.required]
        self.closed = not schema.additional_properties

    def violations(
        self, value: object, path: str, effort: Effort, *, listed: bool = False
    ) -> Iterator[tuple[str, str, str]]:
        """(place, message, rule) of everything that is wrong. `listed`: whether it stands in a list."""
        if self.type is not None and not _is(value, self.type):
            yield path, f"must be {self.type}", "type"
            return
        if self.enum is not None and not any(_same(value, one) for one in self.enum):
            yield path, "must be equal to one of the allowed values", "enum"
        if isinstance(value, str):
            yield from self._text(value, path)
        elif isinstance(value, dict):
            yield from self._object(value, path, effort, listed=listed)
        elif isinstance(value, list):
            for bound in _outside(self.counts, len(value)):
                yield path, bound.words, bound.keyword
            if self.items is not None:
                effort.take(len(value))
                for number, item in enumerate(value):
                    yield from self.items.violations(item, f"{path}/{number}", effort, listed=True)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            for bound in _outside(self.numbers, value):
                yield path, bound.words, bound.keyword

    def _text(self, value: str, path: str) -> Iterator[tuple[str, str, str]]:
        for bound in _outside(self.lengths, len(value)):
            yield path, bound.words, bound.keyword
        if self.pattern is not None and self.pattern.search(value) is None:
            yield path, "must match the pattern", "pattern"
        if self.format is not None and not _has_format(value, self.format):
            yield path, f'must match format "{self.format}"', "format"

    def _object(
        self, value: Mapping[str, object], path: str, effort: Effort, *, listed: bool
    ) -> Iterator[tuple[str, str, str]]:
        if listed:
            effort.take(len(value))
        for name in self.required:
            if name not in value:
                yield path, f"must have required property '{name}'", "required"
        for name, item in value.items():
            known = self.properties.get(name)
            if known is not None:
                yield from known.violations(item, f"{path}/{_pointer(name)}", effort, listed=listed)
            elif self.closed:
                yield path, "must NOT have additional properties", "additionalProperties"


def _compiled(pattern: str) -> Pattern | None:
    """None for one that this engine refuses, which another version let through: it asks nothing of anyone, and the
    environment is served."""
    try:
        return compile_pattern(pattern)
    except ValueError:
        return None


def _sizes(what: str, least: int | None, most: int | None, words: str) -> list[Bound]:
    return [
        Bound(f"{end}{what}", limit, end == "max", f"must NOT have {more} than {limit} {words}")
        for end, limit, more in (("min", least, "fewer"), ("max", most, "more"))
        if limit is not None
    ]


def _outside(bounds: list[Bound], size: float) -> Iterator[Bound]:
    return (bound for bound in bounds if (size > bound.limit if bound.upper else size < bound.limit))


def _is(value: object, kind: str) -> bool:
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


def _same(left: object, right: object) -> bool:
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
