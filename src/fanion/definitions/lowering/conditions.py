"""Conditions and their lowering to leaf tests, for Feather's and the native operators (contract 4.1, 4.2).

A condition is a tree of leaves under `every`/any groups, or a constant; negation is pushed to the leaves. A
negative leaf is the plain negation of the positive one, so a missing or untestable attribute fails a positive
operator and passes a negative one: `emit` is the one place that says so.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Final

import msgspec
import re2

from fanion.definitions.lowering.builder import Builder
from fanion.model.program import Node, Op, Operand, Relation, Test
from fanion.model.text import ecmascript_number, parse_decimal

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
    """All (`every`) or any of at least two conditions; `nodes` is how many nodes they become."""

    every: bool
    children: tuple[Leaf | Group, ...]
    nodes: int


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


def operand_text(value: bool | int | float | str) -> str:
    """The text form that attributes are compared in (contract 4.2): `true`, numbers as ECMAScript writes
    them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return ecmascript_number(float(value))


def operand_number(value: Any) -> float | None:
    """The number that `gt` and its kin compare with; None where there is none, so the condition is false."""
    if isinstance(value, bool | list) or value is None:
        return None
    try:
        number = parse_decimal(value) if isinstance(value, str) else float(value)
    except OverflowError:
        return None
    return None if number is None or math.isnan(number) else number


@functools.lru_cache(maxsize=4096)
def pattern_error(pattern: str) -> str | None:
    """Why the linear-time engine can't run this pattern, or None."""
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        return str(error.args[0].decode() if isinstance(error.args[0], bytes) else error)
    return None


def lower_test(builder: Builder, attribute: str, operator: str, value: Any) -> Tree:
    """One condition on an attribute. An unknown operator, or a value it can't use, is false (contract
    4.2)."""
    if type(value) is str:
        # Text only: 1, 1.0 and true would be one key of the memory.
        known = builder.tests.get((attribute, operator, value))
        if known is None:
            known = builder.tests[attribute, operator, value] = _lower_test(
                builder, attribute, operator, value
            )
        return known
    return _lower_test(builder, attribute, operator, value)


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
    nodes = 0
    for tree in trees:
        if type(tree) is Leaf:
            children.append(tree)
            nodes += 1 if tree.fallback < 0 else 2
        elif isinstance(tree, bool):
            if tree is not every:
                return tree
        elif isinstance(tree, Group):
            nodes += tree.nodes
            if tree.every is every:
                children += tree.children
            else:
                children.append(tree)
    if not children:
        return every
    return children[0] if len(children) == 1 else Group(every, tuple(children), nodes)


def size(tree: Leaf | Group) -> int:
    """How many nodes `emit` adds."""
    if isinstance(tree, Group):
        return tree.nodes
    return 1 if tree.fallback < 0 else 2


def emit(nodes: list[Node], tree: Leaf | Group, on_true: int, on_false: int) -> None:
    """Append the tests of a tree, which go to `on_true` or `on_false`."""
    if isinstance(tree, Leaf):
        _emit_leaf(nodes, tree, on_true, on_false)
        return
    every = tree.every
    following = len(nodes)
    last = len(tree.children) - 1
    for number, child in enumerate(tree.children):
        following += size(child)
        passed, failed = on_true, on_false
        if number != last:
            if every:
                passed = following
            else:
                failed = following
        if type(child) is Leaf:
            _emit_leaf(nodes, child, passed, failed)
        else:
            emit(nodes, child, passed, failed)


def _emit_leaf(nodes: list[Node], leaf: Leaf, on_true: int, on_false: int) -> None:
    if leaf.negative:
        on_true, on_false = on_false, on_true
    on_missing = on_false
    if leaf.fallback >= 0:
        on_missing = len(nodes) + 1
    op, operand, relation, any_, fold = leaf.op, leaf.operand, leaf.relation, leaf.any_element, leaf.fold
    nodes.append(Test(op, leaf.slot, operand, on_true, on_false, on_missing, on_false, relation, any_, fold))
    if leaf.fallback >= 0:
        nodes.append(
            Test(op, leaf.fallback, operand, on_true, on_false, on_false, on_false, relation, any_, fold)
        )
