"""Traffical's fourteen operators (docs/apis/traffical.md: Conditions, Where SDKs differ): what is odd about a
condition, and its leaf tests.

Strictly typed: nothing is coerced, a missing field and one of another type fail every operator but `neq`,
`nin` and `notExists`. Objects and arrays equal nothing. A value that was left out counts as null.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from msgspec import UNSET

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.lowering.conditions import Leaf, Tree, join_trees, negate, pattern_error
from fanion.definitions.reading import limits
from fanion.definitions.reading.report import shown
from fanion.definitions.sources.traffical.files import Condition
from fanion.definitions.sources.traffical.pattern import InvalidPattern, UnsupportedPattern, translate
from fanion.model.program import Op, Profile, Relation, Slot, Source

PATTERN_CHARS_MAX: Final = 4_096
"""Of one pattern; RE2's own memory bound comes on top."""

RELATIONS: Final = {"gt": Relation.GT, "gte": Relation.GE, "lt": Relation.LT, "lte": Relation.LE}
TEXTS: Final = {"contains": Op.STRING_CONTAINS, "startsWith": Op.STRING_STARTS, "endsWith": Op.STRING_ENDS}
OPERATORS: Final = frozenset(
    {"eq", "neq", "in", "nin", "regex", "exists", "notExists", *RELATIONS, *TEXTS},
)

Defect = tuple[bool, str, str, str]
"""(refused, member, what was found, what is allowed or what it means)."""


def check_condition(condition: Condition) -> Defect | None:
    """The first thing that is odd about a condition."""
    op, value = condition.op, condition.value
    if op not in OPERATORS:
        return (False, "op", shown(op), "unknown, so the condition is false")
    if op in ("in", "nin"):
        if not isinstance(condition.values, list):
            meaning = "never in it" if op == "in" else "always out of it"
            return (False, "values", "no list", f"the field is {meaning}")
        if len(condition.values) > limits.OPERANDS_MAX:
            return (True, "values", f"{len(condition.values)} values", f"at most {limits.OPERANDS_MAX}")
        return next((one for one in map(_operand_defect, condition.values) if one is not None), None)
    if op in ("exists", "notExists"):
        return None
    if value is UNSET:
        equal = op in ("eq", "neq")
        return (False, "value", "nothing", "compared with null" if equal else "the condition is false")
    if op in RELATIONS:
        return (
            None if is_number(value) else (False, "value", shown(value), "no number: the condition is false")
        )
    if op in TEXTS or op == "regex":
        if not isinstance(value, str):
            return (False, "value", shown(value), "no text, so the condition is false")
        if op == "regex":
            return _pattern_defect(value)
    return _operand_defect(value)


def _operand_defect(value: Any) -> Defect | None:
    if isinstance(value, str) and len(value.encode()) > limits.TEXT_BYTES_MAX:
        return (True, "value", "a longer text", f"at most {limits.TEXT_BYTES_MAX} bytes")
    if isinstance(value, dict | list):
        return (False, "value", shown(value), "objects and lists equal nothing")
    return None


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_double(value: int | float) -> float:
    """A JSON number as a double, as ECMAScript reads it: what is too large is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _pattern_defect(value: str) -> Defect | None:
    pattern = compiled(value)
    if isinstance(pattern, str):
        return None
    return (False, "value", f"the pattern {shown(value)} ({pattern})", "the condition is false")


def compiled(value: str) -> str | Exception:
    """The pattern for the linear-time engine, or why there is none."""
    if len(value) > PATTERN_CHARS_MAX:
        return UnsupportedPattern(f"more than {PATTERN_CHARS_MAX} characters")
    try:
        pattern = translate(value)
    except (InvalidPattern, UnsupportedPattern) as error:
        return error
    reason = pattern_error(pattern)
    return pattern if reason is None else UnsupportedPattern(reason)


def field_slot(builder: Builder, field: str) -> int:
    """A condition's field: the literal key first, then the dotted walk."""
    return builder.slot(Slot(Source.ATTRIBUTE, field, dotted="." in field, profile=Profile.DOUBLES))


def top_slot(builder: Builder, key: str) -> int:
    """A context member that is looked up plainly: units, entities, coefficients."""
    return builder.slot(Slot(Source.ATTRIBUTE, key, profile=Profile.DOUBLES))


def lower_condition(builder: Builder, condition: Condition) -> Tree:
    """One condition; a constant where no context can change it."""
    op = condition.op
    value = None if condition.value is UNSET else condition.value
    if op in ("eq", "neq"):
        tree = _equal(builder, condition.field, [value])
        return tree if op == "eq" else negate(tree)
    if op in ("in", "nin"):
        values = condition.values if isinstance(condition.values, list) else []
        tree = _equal(builder, condition.field, values)
        return tree if op == "in" else negate(tree)
    if op in ("exists", "notExists"):
        return Leaf(Op.PRESENT, field_slot(builder, condition.field), None, op == "notExists")
    if op in RELATIONS:
        if value is None or not is_number(value):
            return False
        slot = field_slot(builder, condition.field)
        return Leaf(Op.ORDER_NUMBER, slot, as_double(value), relation=RELATIONS[op])
    if op in TEXTS and isinstance(value, str):
        return Leaf(TEXTS[op], field_slot(builder, condition.field), value)
    if op == "regex" and isinstance(value, str):
        pattern = compiled(value)
        if isinstance(pattern, str):
            return Leaf(Op.STRING_REGEX, field_slot(builder, condition.field), pattern)
    return False


def _equal(builder: Builder, field: str, values: list[Any]) -> Tree:
    """Whether the field equals one of the values, by JSON type and content."""
    slot = field_slot(builder, field)
    texts = tuple(value for value in values if isinstance(value, str))
    leaves: list[Tree] = [Leaf(Op.STRING_IN, slot, texts)] if texts else []
    leaf: Callable[..., Leaf] = Leaf
    for value in values:
        if value is None:
            leaves.append(leaf(Op.EQ_NULL, slot, None))
        elif isinstance(value, bool):
            leaves.append(leaf(Op.EQ_BOOL, slot, value))
        elif is_number(value):
            leaves.append(leaf(Op.EQ_NUMBER, slot, as_double(value)))
    return join_trees(False, leaves)
