"""Conditions and their lowering to leaf tests, for Feather's and the native operators (docs/apis/feather.md:
Context look-up, Operators).

A condition is a tree of leaves under `every`/any groups, or a constant; negation is pushed to the leaves. A
negative leaf is the plain negation of the positive one, so a missing or untestable attribute fails a positive
operator and passes a negative one: `emit` is the one place that says so.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import msgspec

from fanion.definitions.lowering.assembler import Assembler, Exits, Label
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.lowering.values import operand_number, operand_text
from fanion.model.program import Op, Operand, Relation

COUNTRY: Final = "country"
"""Where `geo_country` looks when the named attribute is missing."""


class Leaf(msgspec.Struct, frozen=True, gc=False):
    """One test. `fallback`: the slot that is tested when the first is missing (-1: none). `any_element`: a
    list of texts passes when one of them does."""

    op: Op
    slot: int
    operand: Operand
    negative: bool = False
    relation: Relation = Relation.LT
    fold: bool = False
    fallback: int = -1
    any_element: bool = False


class Group(msgspec.Struct, frozen=True, gc=False):
    """All (`every`) or any of at least two conditions."""

    every: bool
    children: tuple[Leaf | Group, ...]


Tree = bool | Leaf | Group

_TEXTS: Final[dict[str, tuple[Op, bool]]] = {
    "equals": (Op.TEXT_IN, False),
    "not_equals": (Op.TEXT_IN, True),
    "contains": (Op.TEXT_CONTAINS, False),
    "not_contains": (Op.TEXT_CONTAINS, True),
    "starts_with": (Op.TEXT_STARTS, False),
    "ends_with": (Op.TEXT_ENDS, False),
}
_RELATIONS: Final = {"gt": Relation.GT, "gte": Relation.GE, "lt": Relation.LT, "lte": Relation.LE}


@functools.lru_cache(maxsize=4096)
def pattern_error(pattern: str) -> str | None:
    """Why the linear-time engine can't run this pattern as servers do, or None."""
    from fanion.engine.externals import compile_pattern  # most files have no pattern, and RE2 takes its time

    try:
        compile_pattern(pattern)
    except ValueError as error:
        return str(error)
    return None


def lower_test(builder: Builder, attribute: str, operator: str, value: Any) -> Tree:
    """One condition on an attribute. An unknown operator, or a value it can't use, is false
    (docs/apis/feather.md: Operators)."""
    # Text only: 1, 1.0 and true would be one key of the memory.
    if type(value) is str:
        same: str | tuple[str, ...] = value
    elif type(value) is list and all(type(one) is str for one in value):
        same = tuple(value)
    else:
        return _lower_test(builder, attribute, operator, value)
    known = builder.tests.get((attribute, operator, same))
    if known is None:
        known = builder.tests[attribute, operator, same] = _lower_test(builder, attribute, operator, value)
    return known


def _lower_test(builder: Builder, attribute: str, operator: str, value: Any) -> Tree:
    plain = _TEXTS.get(operator)
    if plain is not None:
        op, negative = plain
        if isinstance(value, list):
            return negative
        text = operand_text(value)
        return Leaf(op, builder.named(attribute), (text,) if op is Op.TEXT_IN else text, negative)
    if operator in ("in", "not_in"):
        negative = operator == "not_in"
        texts = tuple(map(operand_text, value)) if isinstance(value, list) else (operand_text(value),)
        return Leaf(Op.TEXT_IN, builder.named(attribute), texts, negative) if texts else negative
    if operator in ("is_set", "is_not_set"):
        return Leaf(Op.PRESENT, builder.named(attribute), None, operator == "is_not_set")
    relation = _RELATIONS.get(operator)
    if relation is not None:
        number = operand_number(value)
        if number is None:
            return False
        return Leaf(Op.ORDER_TEXT, builder.named(attribute), number, relation=relation)
    if operator == "regex":
        return Leaf(Op.TEXT_REGEX, builder.named(attribute), value) if isinstance(value, str) else False
    if operator == "geo_country":
        codes = value if isinstance(value, list) else [value]
        fallback = builder.named(COUNTRY) if attribute != COUNTRY else -1
        texts = tuple(operand_text(code).encode().upper().decode() for code in codes)
        if not texts:
            return False
        return Leaf(Op.TEXT_IN, builder.named(attribute), texts, fold=True, fallback=fallback)
    return False


def negate(tree: Tree) -> Tree:
    """The plain negation."""
    if isinstance(tree, bool):
        return not tree
    if isinstance(tree, Leaf):
        return msgspec.structs.replace(tree, negative=not tree.negative)
    return join_trees(not tree.every, [negate(child) for child in tree.children])


def join_trees(every: bool, trees: list[Tree]) -> Tree:
    """All (an empty list: true) or any (an empty list: false), without constants inside."""
    children: list[Leaf | Group] = []
    for tree in trees:
        if type(tree) is Leaf:
            children.append(tree)
        elif isinstance(tree, bool):
            if tree is not every:
                return tree
        elif isinstance(tree, Group):
            if tree.every is every:
                children += tree.children
            else:
                children.append(tree)
    if not children:
        return every
    return children[0] if len(children) == 1 else Group(every, tuple(children))


def emit(code: Assembler[Any], tree: Leaf | Group, on_true: Label, on_false: Label) -> None:
    """Add the tests of a tree, which lead to `on_true` or `on_false`."""
    if isinstance(tree, Leaf):
        _emit_leaf(code, tree, on_true, on_false)
        return
    *first, last = tree.children
    for child in first:
        following = code.label()
        passed, failed = (following, on_false) if tree.every else (on_true, following)
        emit(code, child, passed, failed)
        code.place(following)
    emit(code, last, on_true, on_false)


def _emit_leaf(code: Assembler[Any], leaf: Leaf, on_true: Label, on_false: Label) -> None:
    if leaf.negative:
        on_true, on_false = on_false, on_true
    ends = Exits(on_true, on_false, on_false, on_false)
    op, operand, relation = leaf.op, leaf.operand, leaf.relation
    any_element, fold = leaf.any_element, leaf.fold
    if leaf.fallback < 0:
        code.test(op, leaf.slot, operand, ends, relation, any_element, fold)
        return
    instead = code.label()
    first = Exits(on_true, on_false, instead, on_false)
    code.test(op, leaf.slot, operand, first, relation, any_element, fold)
    code.place(instead)
    code.test(op, leaf.fallback, operand, ends, relation, any_element, fold)
