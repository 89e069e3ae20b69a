"""Values as a run of steps has them, what it may spend and make, and how values become numbers and texts.

A list of the context is a `list`, one that a run made a `Made`; the context itself is a `Root`. What the core
counts is counted here at the same places: `Limits.spend` the budget, `Limits.make` the arena.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

from fanion.engine.expression_text import decimal_text, number_in
from fanion.model.expression import ARENA_BYTES_MAX, BUDGET, LIST_MAX, TEXT_DEPTH_MAX, StepOp
from fanion.model.program import TEXT_BYTES_MAX


class Beyond(Exception):  # noqa: N818 - no error, an answer
    """A run went beyond a limit: its value is OTHER."""


class Made(list[Any]):
    """A list that a run made, or a constant: never the same as another."""


class Root(NamedTuple):
    """The context as an object: members first, then attributes."""

    members: dict[str, Any]
    attributes: dict[str, Any]


class Limits:
    """What one run has spent and made so far."""

    def __init__(self) -> None:
        self.spent = 0
        self.used = 0

    def spend(self, cost: int) -> None:
        self.spent += cost
        if self.spent > BUDGET:
            raise Beyond

    def make(self, size: int) -> None:
        self.used += size
        if self.used > ARENA_BYTES_MAX:
            raise Beyond

    def made_text(self, text: str) -> str:
        size = len(text.encode())
        self.make(size + 8 & ~7)
        if size > TEXT_BYTES_MAX:
            raise Beyond
        return text

    def made_list(self, items: Sequence[Any]) -> Made:
        if len(items) > LIST_MAX:
            raise Beyond
        self.make(16 * len(items))
        self.spend(len(items))
        return Made(items)

    def read(self, text: str) -> None:
        self.spend(len(text.encode()) >> 8)

    def read_text(self, value: Any) -> str:
        text = self.text(value)
        self.read(text)
        return text

    def value(self, found: Any) -> Any:
        """A value of the context, or of a constant, as steps see it."""
        if isinstance(found, bool) or found is None:
            return found
        if isinstance(found, int | float):
            try:
                return float(found)
            except OverflowError:
                return math.inf if found > 0 else -math.inf
        if isinstance(found, str):
            if len(found.encode()) > TEXT_BYTES_MAX:
                raise Beyond
        elif isinstance(found, list) and len(found) > LIST_MAX:
            raise Beyond
        return found

    def number(self, value: Any) -> float:
        if isinstance(value, bool) or value is None:
            return 1.0 if value else 0.0
        if isinstance(value, float):
            return value
        if not isinstance(value, str):
            return math.nan
        self.read(value)
        return number_in(value)

    def text(self, value: Any) -> str:
        """Text that is not there yet takes its place in the arena."""
        if isinstance(value, float):
            return self.made_text(decimal_text(value))
        if is_list(value):
            return self.made_text("".join(self.join_all(value, ",", 0)))
        return plain_text(value)

    def join_all(self, items: Sequence[Any], comma: str, depth: int) -> list[str]:
        """The texts of a list's items; null has none."""
        if depth == TEXT_DEPTH_MAX:
            raise Beyond
        parts: list[str] = []
        for number, item in enumerate(items):
            self.spend(1)
            if number:
                parts.append(comma)
            value = self.value(item)
            if is_list(value):
                parts += self.join_all(value, ",", depth + 1)
            elif isinstance(value, float):
                parts.append(decimal_text(value))
            elif value is not None:
                parts.append(plain_text(value))
        return parts


def is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def is_index(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) <= 9 and (name == "0" or name[0] != "0")


def constant(value: Any) -> Any:
    return Made(constant(one) for one in value) if isinstance(value, tuple) else value


def truth(value: Any) -> bool:
    if isinstance(value, float):
        return value == value and value != 0
    if isinstance(value, Root) or not isinstance(value, bool | str | list | dict | None):
        return True
    return bool(value)


def plain_text(value: Any) -> str:
    """Of what has its text ready."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true" if value else "false"
    return "[object Object]"


def extreme(numbers: Sequence[float], *, least: bool) -> float:
    found = math.nan if not numbers else numbers[0]
    for number in numbers[1:]:
        if number != number or found != found:
            found = math.nan
        elif number < found if least else number > found:
            found = number
    return found


def arithmetic(op: StepOp, left: float, right: float) -> float:
    match op:
        case StepOp.ADD:
            return left + right
        case StepOp.SUBTRACT:
            return left - right
        case StepOp.MULTIPLY:
            return left * right
        case StepOp.DIVIDE:
            if right != 0:
                return left / right
            if left == 0 or left != left:
                return math.nan
            return math.copysign(math.inf, left) * math.copysign(1.0, right)
    if right == 0 or left != left or right != right or math.isinf(left):
        return math.nan
    return math.fmod(left, right)
