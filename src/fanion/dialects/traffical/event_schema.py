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
"""Values inside lists that are looked at of one batch, most of them in half a µs; a thousand events with six lines
of four values have fewer. A list's count before the first one is looked at, by what its items may have."""
MATCHED: Final = 4
"""As so many counts a text that has to match a pattern or a format."""

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


TYPES: Final[dict[str, frozenset[type]]] = {
    "string": frozenset({str}),
    "boolean": frozenset({bool}),
    "object": frozenset({dict}),
    "array": frozenset({list}),
    "null": frozenset({type(None)}),
    "number": frozenset({int, float}),
    "integer": frozenset({int, float}),
}
"""Of a decoded value; an integer may be written as a number with a fraction of zero."""


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


class Between(NamedTuple):
    """Two bounds at once."""

    least: float
    most: float

    @classmethod
    def of(cls, least: float | None, most: float | None) -> Between:
        return cls(-math.inf if least is None else least, math.inf if most is None else most)

    def holds(self, size: float) -> bool:
        return self.least <= size <= self.most


class Property:
    """One schema, ready to be asked."""

    def __init__(self, schema: PropertySchema) -> None:
        self.type = schema.type
        self.enum = schema.enum
        self.scalars = {
            (isinstance(one, bool), one) for one in schema.enum or () if not isinstance(one, list | dict)
        }
        self.pattern = None if schema.pattern is None else _compiled(schema.pattern)
        self.format = schema.format
        self.numbers = [
            Bound(keyword, limit, keyword == "maximum", f"must be {sign} {limit:g}")
            for keyword, limit, sign in (("minimum", schema.minimum, ">="), ("maximum", schema.maximum, "<="))
            if limit is not None
        ]
        self.lengths = _sizes("Length", schema.min_length, schema.max_length, "characters")
        self.counts = _sizes("Items", schema.min_items, schema.max_items, "items")
        self.number = Between.of(schema.minimum, schema.maximum)
        self.length = Between.of(schema.min_length, schema.max_length)
        self.count = Between.of(schema.min_items, schema.max_items)
        self.items = None if schema.items is None else Property(schema.items)
        self.properties = {name: Property(one) for name, one in schema.properties.items()}
        self.required = [name for name, one in schema.properties.items() if one.required]
        self.closed = not schema.additional_properties
        own = 1 if self.pattern is None and self.format is None else MATCHED
        self.weight: int = own + sum(one.weight for one in self.properties.values())

    def violations(
        self, value: object, path: str, effort: Effort, *, listed: bool = False
    ) -> Iterator[tuple[str, str, str]]:
        """(place, message, rule) of everything that is wrong. `listed`: whether it stands in a list."""
        if self.type is not None and not _is(value, self.type):
            yield path, f"must be {self.type}", "type"
            return
        if not self.allows(value):
            yield path, "must be equal to one of the allowed values", "enum"
        if isinstance(value, str):
            yield from self._text(value, path)
        elif isinstance(value, dict):
            yield from self._object(value, path, effort, listed=listed)
        elif isinstance(value, list):
            for bound in _outside(self.counts, len(value)):
                yield path, bound.words, bound.keyword
            if self.items is not None:
                effort.take(len(value) * self.items.weight)
                for number, item in enumerate(value):
                    if not self.items.holds(item, effort):
                        yield from self.items.violations(item, f"{path}/{number}", effort, listed=True)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            for bound in _outside(self.numbers, value):
                yield path, bound.words, bound.keyword

    def allows(self, value: object) -> bool:
        """Whether the value is one of those that are allowed; true is no number."""
        if self.enum is None:
            return True
        if isinstance(value, list | dict):
            return value in self.enum
        return (isinstance(value, bool), value) in self.scalars

    def holds(self, value: object, effort: Effort) -> bool:
        """Whether there are no violations of a value that stands in a list: the same, without a word about it."""
        if self.type is not None and type(value) not in TYPES[self.type]:
            return False
        if not self.allows(value):
            return False
        if isinstance(value, str):
            return (
                self.length.holds(len(value))
                and (self.pattern is None or self.pattern.search(value) is not None)
                and (self.format is None or _has_format(value, self.format))
            )
        if isinstance(value, dict):
            return self._holds_object(value, effort)
        if isinstance(value, list):
            return self._holds_list(value, effort)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True
        return self.number.holds(value) and (self.type != "integer" or _is(value, "integer"))

    def _holds_object(self, value: Mapping[str, object], effort: Effort) -> bool:
        effort.take(max(0, len(value) - len(self.properties)))
        if any(name not in value for name in self.required):
            return False
        for name, item in value.items():
            known = self.properties.get(name)
            if self.closed if known is None else not known.holds(item, effort):
                return False
        return True

    def _holds_list(self, value: list[object], effort: Effort) -> bool:
        if not self.count.holds(len(value)):
            return False
        if self.items is None:
            return True
        effort.take(len(value) * self.items.weight)
        return all(self.items.holds(item, effort) for item in value)

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
            effort.take(max(0, len(value) - len(self.properties)))
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
