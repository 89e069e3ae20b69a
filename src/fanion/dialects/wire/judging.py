"""A batch's items told apart natively, each right or wrong in itself, by a table made from the very struct that
their decoder uses.

A dialect names its struct, what its decoder does beyond types, and which texts it wants; `judge_of` lowers the
struct's types to an `ItemJudge`. What a type takes but the judge can't know is unsure: the decoder is asked. The
words are the decoder's in any case, asked once for all items that are wrong in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec
from msgspec import inspect

from fanion._core import json_scan, judge_table
from fanion._core.item_judge import ItemJudge
from fanion._core.judge_table import NO_LIMIT
from fanion.config import Limits
from fanion.dialects.wire.json_bounds import is_within

Type = tuple[int, int, int, int, int, int, int, Sequence[str], int, int]
Struct = tuple[list[tuple[str, int, int]], str, int, int, bool, list[int]]
Shape = tuple[str, list[int]]
"""As the judge takes them: `ext/fanion/_core/judge_table.pyx`."""

T = TypeVar("T")
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
NOT_NAMED: Final = -1
_decode_text = msgspec.json.Decoder(str).decode


@dataclass(frozen=True, slots=True)
class Rules:
    """What a struct's types don't say of its items.

    `moments`: text members of an item that have to be times, in the order in which they are looked at; `quoted`:
    whether the words of one that isn't end with it. `patterns`: regular expressions that the judge knows, and as
    what. `exactly_one`: of a struct's members that have to be one. `fixed`: texts that have to be the caller's
    where they are there; `noted`: texts, numbers and raw values that are wanted, the last of them the one that may
    be watched. `open`: whether other members may stand beside the list. `whole`: whether a batch is left alone of
    which an item isn't surely right. `text_first`: whether an item that isn't UTF-8 is only that.
    """

    noted: Sequence[str]
    fixed: Sequence[str] = ()
    moments: Sequence[str] = ()
    quoted: bool = False
    patterns: Mapping[str, int] = field(default_factory=dict)
    exactly_one: Mapping[type, Sequence[str]] = field(default_factory=dict)
    open: bool = False
    whole: bool = False
    text_first: bool = False


def judge_of(
    list_name: str, item: object, count_max: int, limits: Limits, rules: Rules, *, batch: bool
) -> ItemJudge:
    """`item`: a struct, or a union of tagged ones. `batch`: whether an item may hold as many tokens as a batch."""
    made = _Lowering(rules)
    made.type(inspect.type_info(item), "")
    tokens_max = limits.ingest_json_tokens_max if batch else limits.json_tokens_max
    return ItemJudge(
        list_name,
        made.types,
        made.structs,
        made.shapes,
        count_max,
        notes=len(rules.fixed) + len(rules.noted),
        fixed=len(rules.fixed),
        open=rules.open,
        whole=rules.whole,
        text_first=rules.text_first,
        quotes_moments=rules.quoted,
        bounds=(
            limits.json_depth_max,
            limits.json_keys_max,
            limits.json_integer_digits_max,
            tokens_max,
            limits.ingest_json_tokens_max,
        ),
        decode=_decode_text,
    )


def surely_within(
    judge: ItemJudge, ask: Callable[[bytes], T | None], body: bytes, limits: Limits
) -> T | None:
    """What the judge, asked by `ask`, finds of a body of ASCII that surely keeps every bound of a batch; None of
    others. Only a body that may hold too many tokens, or of which the judge is in doubt, is scanned."""
    most = limits.ingest_json_tokens_max
    judged_first = len(body) <= most or json_scan.tokens_at_most(body, most) <= most  # a token has a byte
    if not body.isascii() or not (judged_first or is_within(body, limits, batch=True)):
        return None
    found = ask(body)
    if found is None or not judged_first or judge.within:
        return found
    return found if is_within(body, limits, batch=True) else None


@dataclass(slots=True)
class _Taken:
    """What a type takes, gathered from the members of a union."""

    kinds: int = 0
    unsure: int = 0
    pattern: int = judge_table.NO_PATTERN
    bounds: int = 0
    shortest: int = 0
    longest: int = NO_LIMIT
    most: int = NO_LIMIT
    choices: Sequence[str] = ()
    items: int = NOT_NAMED
    shape: int = NOT_NAMED


class _Lowering:
    def __init__(self, rules: Rules) -> None:
        self.types: list[Type] = []
        self.structs: list[Struct] = []
        self.shapes: list[Shape] = []
        self._rules = rules
        self._notes = {path: number for number, path in enumerate([*rules.fixed, *rules.noted])}

    def type(self, type: inspect.Type, path: str) -> int:
        """The type's number. `path`: of the member that it is of, with a dot behind; "" for the item itself."""
        number = len(self.types)
        self.types.append((0, 0, 0, 0, 0, 0, 0, (), NOT_NAMED, NOT_NAMED))
        taken = _Taken()
        structs = []
        for one in type.types if isinstance(type, inspect.UnionType) else (type,):
            if isinstance(one, inspect.StructType):
                structs.append(one)
            else:
                self._take(one, taken, path)
        if structs:
            taken.kinds |= judge_table.OBJECT
            taken.shape = self._shape(structs, path)
        self.types[number] = (
            taken.kinds,
            taken.unsure,
            taken.pattern,
            taken.bounds,
            taken.shortest,
            taken.longest,
            taken.most,
            taken.choices,
            taken.items,
            taken.shape,
        )
        return number

    def _take(self, type: inspect.Type, taken: _Taken, path: str) -> None:
        match type:
            case inspect.AnyType() | inspect.RawType():
                taken.kinds |= judge_table.ANY
            case inspect.NoneType():
                taken.kinds |= judge_table.NULL_VALUE
            case inspect.BoolType():
                taken.kinds |= judge_table.BOOLEAN
            case inspect.StrType():
                self._take_text(type, taken)
            case inspect.LiteralType(values=values) if all(isinstance(value, str) for value in values):
                taken.kinds |= judge_table.CHOICE
                taken.choices = [str(value) for value in values]
            case inspect.IntType() | inspect.FloatType():
                self._take_number(type, taken)
            case inspect.DictType(
                key_type=inspect.StrType(min_length=None, max_length=None, pattern=None)
            ) if not type.min_length:
                taken.kinds |= judge_table.MAP
                taken.most = NO_LIMIT if type.max_length is None else type.max_length
                taken.items = self.type(type.value_type, f"{path}*.")
            case inspect.ListType(min_length=None, max_length=None) if not _is_list(type.item_type) and (
                "[" not in path
            ):  # a fault has one number of an item
                taken.kinds |= judge_table.LIST
                taken.items = self.type(type.item_type, f"{path}[].")
            case _:
                taken.unsure |= _kind_of(type)

    def _take_text(self, type: inspect.StrType, taken: _Taken) -> None:
        taken.kinds |= judge_table.TEXT
        taken.shortest = type.min_length or 0
        taken.longest = NO_LIMIT if type.max_length is None else type.max_length
        if type.pattern is not None:
            if type.pattern in self._rules.patterns:
                taken.pattern = self._rules.patterns[type.pattern]
            else:
                taken.unsure |= judge_table.TEXT

    def _take_number(self, type: inspect.IntType | inspect.FloatType, taken: _Taken) -> None:
        whole = isinstance(type, inspect.IntType)
        kind = judge_table.INTEGER if whole else judge_table.FLOAT
        taken.kinds |= kind
        given = {name: getattr(type, name) for name in ("gt", "ge", "lt", "le", "multiple_of")}
        given = {name: value for name, value in given.items() if value is not None}
        if whole and given == {"ge": INT64_MIN, "le": INT64_MAX}:
            taken.bounds |= judge_table.INT64
            return
        known = {
            ("gt", 0): judge_table.ABOVE_ZERO,
            ("ge", 0): judge_table.FROM_ZERO,
            ("le", 1): judge_table.UP_TO_ONE,
        }
        bounds = [0 if whole else known.get(bound, 0) for bound in given.items()]
        if all(bounds):
            taken.bounds |= sum(bounds)
        else:
            taken.unsure |= kind

    def _shape(self, structs: list[inspect.StructType], path: str) -> int:
        number = len(self.shapes)
        self.shapes.append(("", []))
        numbers = [self._struct(struct, path) for struct in structs]
        self.shapes[number] = structs[0].tag_field or "", numbers
        return number

    def _struct(self, struct: inspect.StructType, path: str) -> int:
        number = len(self.structs)
        self.structs.append(([], "", 0, 0, False, []))
        names = [field.encode_name for field in struct.fields]
        one_of = self._rules.exactly_one.get(struct.cls, ())
        self.structs[number] = (
            [
                (
                    field.encode_name,
                    self.type(field.type, f"{path}{field.encode_name}."),
                    self._notes.get(f"{path}{field.encode_name}", NOT_NAMED),
                )
                for field in struct.fields
            ],
            "" if struct.tag is None else str(struct.tag),
            sum(1 << place for place, field in enumerate(struct.fields) if field.required),
            sum(1 << names.index(name) for name in one_of),
            struct.forbid_unknown_fields,
            [] if path else [names.index(name) for name in self._rules.moments if name in names],
        )
        return number


def _is_list(type: inspect.Type) -> bool:
    given = type.types if isinstance(type, inspect.UnionType) else (type,)
    return any(isinstance(one, inspect.ListType) for one in given)


def _kind_of(type: inspect.Type) -> int:
    """The kind of value that a type takes some of."""
    match type:
        case inspect.DictType():
            return judge_table.OBJECT
        case inspect.ListType():
            return judge_table.LIST
    raise TypeError(f"no kind of value is known of {type}")
