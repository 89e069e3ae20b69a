"""The quick check of a batch, made from the very struct that its full decoder uses.

A dialect names its struct and which texts matter; `quick_check` lowers the struct's types to `FlatBatch`. What that
takes, a decoder of `{"LIST_NAME": [struct, ...]}` takes too, within every bound of `Limits`: a type or a limit of
which that can't be said makes no kind, and values of it are left to the full decoder.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import inspect

from fanion._core.flat_batch import (
    BOOLEAN,
    CHOICE,
    FRACTION,
    INTEGER,
    LIST,
    MAP,
    MEMBERS_MAX,
    NULL_VALUE,
    NUMBER,
    NUMBER_CHARACTERS_MAX,
    OBJECT,
    TEXT,
    TIME,
    FlatBatch,
    FlatObject,
)

INTEGER_MAX = 10**NUMBER_CHARACTERS_MAX
Kinds = tuple[int, int, Sequence[str], FlatObject | None]
"""Of a value, of its items, a text's choices, an object's fields."""
NO_KINDS: Kinds = 0, 0, (), None


def quick_check(
    list_name: str,
    item: object,
    count_max: int,
    *,
    times: Collection[str] = (),
    order: Sequence[str] = (),
    fixed: Sequence[str] = (),
    grouped: Sequence[str] = (),
    noted: Sequence[str] = (),
    measured: Sequence[str] = (),
) -> FlatBatch:
    """`item`: a struct, or a union of tagged ones. `times`: text members that have to be ISO 8601. `order`: names
    as clients mostly write them. The rest as in `FlatBatch`."""
    made = _Lowering(frozenset(times), order).item(inspect.type_info(item))
    return FlatBatch(
        list_name,
        made,
        count_max,
        fixed=list(fixed),
        grouped=list(grouped),
        noted=list(noted),
        measured=list(measured),
    )


class _Lowering:
    def __init__(self, times: frozenset[str], order: Sequence[str]) -> None:
        self._times = times
        self._order = {name: number for number, name in enumerate(order)}

    def item(self, type: inspect.Type) -> FlatObject:
        """A struct, or several told apart by their tag."""
        given = type.types if isinstance(type, inspect.UnionType) else (type,)
        structs = [struct for struct in given if isinstance(struct, inspect.StructType)]
        assert len(structs) == len(given), type
        fields: dict[str, tuple[str, int, int, Sequence[str], FlatObject | None]] = {}
        types: dict[str, inspect.Type] = {}
        variants: list[tuple[Sequence[str], Sequence[str]]] = []
        for struct in structs:
            for field in struct.fields:
                name = field.encode_name
                if name not in fields:
                    fields[name] = name, *self._kinds(field.type, name)
                # One name with two types would need a field of each.
                assert types.setdefault(name, field.type) == field.type, f"{name} has two types"
            required = [field.encode_name for field in struct.fields if field.required]
            variants.append((required, [field.encode_name for field in struct.fields]))
        tag = structs[0].tag_field
        if tag is not None:
            tags = [str(struct.tag) for struct in structs]
            fields = {tag: (tag, CHOICE, 0, tags, None)} | fields
        listed = sorted(fields.values(), key=lambda field: self._order.get(field[0], len(self._order)))
        return FlatObject(listed, variants, tag)

    def _kinds(self, type: inspect.Type, name: str) -> Kinds:
        match type:
            case inspect.UnionType(types=types):
                kinds = 0
                found = NO_KINDS
                for one in types:
                    made = self._kinds(one, name)
                    kinds |= made[0]
                    if any(made[1:]):
                        found = made  # a union has one map, list or enum here at most
                return kinds, *found[1:]
            case inspect.NoneType():
                return NULL_VALUE, 0, (), None
            case inspect.BoolType():
                return BOOLEAN, 0, (), None
            case inspect.StrType(min_length=None, max_length=None, pattern=None):
                return TIME if name in self._times else TEXT, 0, (), None
            case inspect.LiteralType(values=values) if all(isinstance(value, str) for value in values):
                return CHOICE, 0, [str(value) for value in values], None
            case inspect.IntType(gt=None, lt=None, multiple_of=None, ge=least, le=most):
                holds = (least is None or least <= -INTEGER_MAX) and (most is None or most >= INTEGER_MAX)
                return INTEGER if holds else 0, 0, (), None
            case inspect.FloatType(lt=None, multiple_of=None, gt=above, ge=least, le=most):
                if above is None and least is None and most is None:
                    return NUMBER, 0, (), None
                holds = (above or 0) <= 0 and (least or 0) <= 0 and (most is None or most >= 1)
                return FRACTION if holds else 0, 0, (), None
            case inspect.DictType(key_type=inspect.StrType(), min_length=None, max_length=most):
                items = self._kinds(type.value_type, "")[0]
                plain = not items & (MAP | LIST | OBJECT) and most is not None and most >= MEMBERS_MAX
                return (MAP, items, (), None) if plain else NO_KINDS
            case inspect.ListType(min_length=None, max_length=None):
                items, _, choices, inner = self._kinds(type.item_type, name)
                return NO_KINDS if items & (MAP | LIST) else (LIST, items, choices, inner)
            case inspect.StructType():
                return OBJECT, 0, (), self.item(type)
        return NO_KINDS
