"""Holds plain objects against the definition structs and reports every place that doesn't fit.

msgspec stops at the first error, so it is asked first for the whole (the fast path) and, when it refuses,
once for every leaf. What could be read is still made into structs, with `BROKEN` where a required part
could not: the checks of meaning go on with the rest, so that one round shows all defects of both kinds.
"""

from __future__ import annotations

from functools import cache
from types import UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from fanion.definitions.reading.limits import CONDITION_DEPTH_MAX, DEPTH_MAX
from fanion.definitions.reading.report import Report, join, reason, shown
from fanion.model.nearest import nearest


class Broken:
    """The type of BROKEN."""

    def __repr__(self) -> str:
        return "BROKEN"


BROKEN: Final[Any] = Broken()
"""Stands where a value without a default could not be read; that has been reported."""

_T = TypeVar("_T")
_STRUCTURE_DEPTH_MAX = DEPTH_MAX + CONDITION_DEPTH_MAX


def build(document: Any, kind: type[_T], file: str, path: str, report: Report) -> _T:
    """A struct of type `kind` from plain objects; BROKEN when nothing of it can be read."""
    try:
        return msgspec.convert(document, kind)
    except (msgspec.ValidationError, RecursionError):
        before = len(report.problems)
        built: _T = _Collector(file, report).build(document, kind, path, 0)
        if len(report.problems) == before:
            report.problem(file, path or "document", "an object that can't be read", f"a {kind.__name__}")
        return built


@cache
def _fields(struct: type[Any]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(struct)


class _Collector:
    """Walks one document; `build` returns the value or BROKEN after reporting why."""

    def __init__(self, file: str, report: Report) -> None:
        self.file = file
        self.report = report

    def refuse(self, path: str, found: str, allowed: str) -> Any:
        self.report.problem(self.file, path or "document", found, allowed)
        return BROKEN

    def build(self, value: Any, kind: Any, path: str, depth: int) -> Any:
        if depth > _STRUCTURE_DEPTH_MAX:
            return self.refuse(path, "nesting too deep", f"at most {DEPTH_MAX} levels")
        origin = get_origin(kind)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self.struct(value, kind, path, depth)
        if origin is dict:
            key_kind, item_kind = get_args(kind)
            return self.mapping(value, key_kind, item_kind, path, depth)
        if origin is list:
            return self.sequence(value, get_args(kind)[0], path, depth)
        if origin in (Union, UnionType):
            return self.union(value, kind, path, depth)
        return self.leaf(value, kind, path)

    def struct(self, value: Any, kind: Any, path: str, depth: int) -> Any:
        fields = _fields(kind)
        known = {field.encode_name for field in fields}
        if not isinstance(value, dict):
            members = ", ".join(sorted(known - {"$schema"}))
            allowed = f"an object ({kind.__name__.lower()})" if path else f"an object of {members}"
            return self.refuse(path, shown(value), allowed)
        for name in value:
            if name not in known:
                allowed = f"one of {', '.join(sorted(known))}{nearest(str(name), known)}"
                self.refuse(join(path, name), "an unknown field", allowed)
        made: dict[str, Any] = {}
        for field in fields:
            place = join(path, field.encode_name)
            if field.encode_name in value:
                built = self.build(value[field.encode_name], field.type, place, depth + 1)
                if built is not BROKEN or field.required or field.default is msgspec.UNSET:
                    made[field.name] = built
            elif field.required:
                made[field.name] = self.refuse(place, "nothing", "the field is required")
        return kind(**made)

    def mapping(self, value: Any, key_kind: Any, item_kind: Any, path: str, depth: int) -> Any:
        if not isinstance(value, dict):
            return self.refuse(path, shown(value), "an object")
        made = {}
        for key, item in value.items():
            place = join(path, key)
            if key_kind is not str and self.leaf(key, key_kind, place) is BROKEN:
                continue
            built = self.build(item, item_kind, place, depth + 1)
            if built is not BROKEN:
                made[key] = built
        return made

    def sequence(self, value: Any, item_kind: Any, path: str, depth: int) -> Any:
        if not isinstance(value, list):
            return self.refuse(path, shown(value), "a list")
        return [self.build(item, item_kind, f"{path}[{n}]", depth + 1) for n, item in enumerate(value)]

    def union(self, value: Any, kind: Any, path: str, depth: int) -> Any:
        """The member that the value's JSON type picks; text, numbers and the like are msgspec's to judge."""
        members = [member for member in get_args(kind) if member is not msgspec.UnsetType]
        if value is None and type(None) in members:
            return None
        for member in members:
            origin = get_origin(member)
            if isinstance(value, dict) and (
                (isinstance(member, type) and issubclass(member, msgspec.Struct)) or origin is dict
            ):
                return self.build(value, member, path, depth)
            if isinstance(value, list) and origin is list:
                return self.build(value, member, path, depth)
        plain = [member for member in members if member is not type(None)]
        if len(plain) == 1:
            return self.build(value, plain[0], path, depth)
        return self.leaf(value, Union[tuple(members)], path)  # noqa: UP007 - made at run time

    def leaf(self, value: Any, kind: Any, path: str) -> Any:
        try:
            return msgspec.convert(value, kind)
        except (msgspec.ValidationError, RecursionError) as error:
            found = "a key" if _extra(kind, "secret") else shown(value)
            return self.refuse(path, found, _allowed(kind, reason(error)))


def _extra(kind: Any, name: str) -> Any:
    """What a type's own notes say under a name; None where they say nothing."""
    notes = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    extras = (note.extra or {} for note in notes if isinstance(note, msgspec.Meta))
    return next((extra[name] for extra in extras if name in extra), None)


def _allowed(kind: Any, message: str) -> str:
    """What would have been right, in words: the type's own, the words of a Literal, or msgspec's message."""
    own = _extra(kind, "allowed")
    if own is not None:
        return str(own)
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        words = [str(word) for word in get_args(kind)]
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    expected = message.partition(" - at ")[0].partition(", got ")[0]
    types = {"`str`": "text", "`bool`": "true or false", "`int`": "a whole number", "`float`": "a number"}
    for word, plain in types.items():
        expected = expected.replace(word, plain)
    return expected.replace("Expected ", "").replace("`array`", "a list").replace("`object`", "an object")
