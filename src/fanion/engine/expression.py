"""The twin's run of a computed slot: `fanion.model.expression` in its plainest form, on Python's JSON values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fanion.engine.expression_fraction import fraction
from fanion.engine.expression_text import part_of_text, path_parts, satisfies_version, text_units, utf16
from fanion.engine.expression_values import (
    Limits,
    Made,
    Root,
    arithmetic,
    constant,
    extreme,
    is_index,
    is_list,
    truth,
)
from fanion.model.expression import SPREAD, FractionKind, Step, StepOp, Steps, taken

Load = Callable[[int], Any]
"""The value of a slot; None where it is missing. Raises Beyond where it can't be had."""


class _Scope(NamedTuple):
    item: Any = None
    accumulator: Any = None


_ABSENT = object()


def compute(steps: Steps, load: Load, root: Root) -> Any:
    """What the steps leave. Raises Beyond."""
    run = Run(steps, load, root)
    return run.body(0, len(steps), _Scope())


class Run(Limits):
    """One run of one slot's steps."""

    def __init__(self, steps: Steps, load: Load, root: Root) -> None:
        super().__init__()
        self.steps = steps
        self.load = load
        self.root = root

    # -- the loop

    def body(self, at: int, end: int, scope: _Scope) -> Any:
        """Runs steps until `end`: what they leave."""
        stack: list[Any] = []
        while at != end:
            step = self.steps[at]
            op = step.op
            self.spend(1)
            at += 1
            if op is StepOp.JUMP:
                at = step.operand
            elif op is StepOp.JUMP_FALSY or op is StepOp.JUMP_TRUTHY:
                if truth(stack.pop()) is (op is StepOp.JUMP_TRUTHY):
                    at = step.operand
            elif StepOp.KEEP_FALSY <= op <= StepOp.KEEP_VALUE:
                if self.keeps(op, stack[-1]):
                    at = step.operand
                else:
                    stack.pop()
            elif op >= StepOp.MAP:
                initial = stack.pop() if op is StepOp.REDUCE else None
                stack.append(self.loop(op, at, step.operand, stack.pop(), initial))
                at = step.operand
            elif op is StepOp.ITEM:
                stack.append(self.value(scope.item))
            elif op is StepOp.ACCUMULATOR:
                stack.append(scope.accumulator)
            else:
                count = taken(step)
                values = stack[len(stack) - count :]
                del stack[len(stack) - count :]
                stack.append(self.apply(step, values))
        return stack[-1]

    def keeps(self, op: StepOp, value: Any) -> bool:
        if op is StepOp.KEEP_VALUE:
            return value is not None
        return truth(value) is (op is StepOp.KEEP_TRUTHY)

    def loop(self, op: StepOp, at: int, end: int, selector: Any, initial: Any) -> Any:
        items = selector if is_list(selector) else Made()
        if op is StepOp.REDUCE or op is StepOp.REDUCE_FIRST:
            if op is StepOp.REDUCE_FIRST and items:
                initial, items = self.value(items[0]), items[1:]
            for item in items:
                self.spend(1)
                initial = self.body(at, end, _Scope(item, initial))
            return initial
        results: list[Any] = []
        if op is StepOp.MAP or op is StepOp.FILTER:
            self.make(16 * len(items))
        for item in items:
            self.spend(1)
            result = self.body(at, end, _Scope(item))
            if op is StepOp.MAP:
                results.append(result)
            elif op is StepOp.FILTER:
                if truth(result):
                    results.append(self.value(item))
            elif truth(result) is not (op is StepOp.ALL):
                return op is StepOp.SOME
        if op is StepOp.MAP or op is StepOp.FILTER:
            return Made(results)
        return op is StepOp.NONE or (op is StepOp.ALL and len(items) > 0)

    # -- one step

    def apply(self, step: Step, values: list[Any]) -> Any:
        op = step.op
        match op:
            case StepOp.CONSTANT:
                return self.value(constant(step.value))
            case StepOp.LOAD:
                return self.value(self.load(step.operand))
            case StepOp.ROOT:
                return self.root
            case StepOp.FIELD:
                found = self.member(values[0], str(step.value), dynamic=False)
                return None if found is _ABSENT else self.value(found)
            case StepOp.PATH:
                found = self.walk(values[0], values[1])
                return None if found is _ABSENT else self.value(found)
            case StepOp.NOT:
                return not truth(values[0])
            case StepOp.TRUTH:
                return truth(values[0])
            case StepOp.NUMBER:
                return self.number(values[0])
            case StepOp.NEGATE:
                return -self.number(values[0])
            case StepOp.SUBSTR:
                return self.substr(*values)
            case StepOp.IN:
                return self.is_in(*values)
            case StepOp.STARTS | StepOp.ENDS:
                left, right = values
                if not isinstance(left, str) or not isinstance(right, str):
                    return None
                self.spend(min(len(left.encode()), len(right.encode())) >> 8)
                return left.startswith(right) if op is StepOp.STARTS else left.endswith(right)
            case StepOp.SEMVER:
                return satisfies_version(*[self.read_text(value) for value in values])
            case StepOp.MISSING:
                return self.missing(*values)
            case StepOp.MISSING_SOME:
                return self.missing_some(*values)
            case StepOp.FRACTION:
                return fraction(self, FractionKind(step.operand), *values)
        if op <= StepOp.GREATER_EQUAL:
            return self.holds(op, values)
        if op <= StepOp.REMAINDER:
            return arithmetic(op, self.number(values[0]), self.number(values[1]))
        if step.operand == SPREAD and is_list(values[0]):
            values = values[0]
        return self.gather(op, values)

    def gather(self, op: StepOp, values: Sequence[Any]) -> Any:
        """The steps of any number of operands."""
        if op is StepOp.MIN or op is StepOp.MAX:
            self.spend(len(values))
            numbers = [self.number(self.value(value)) for value in values]
            return extreme(numbers, least=op is StepOp.MIN)
        if op is StepOp.CAT:
            return self.made_text("".join(self.join_all(values, "", 0)))
        if op is StepOp.LIST:
            return self.made_list(values)
        items: list[Any] = []
        for value in values:
            one = self.value(value)
            items += one if is_list(one) else [one]
        return self.made_list(items)

    def holds(self, op: StepOp, values: list[Any]) -> bool:
        return all(self.compare(op, left, right) for left, right in itertools.pairwise(values))

    def compare(self, op: StepOp, left: Any, right: Any) -> bool:
        match op:
            case StepOp.EQUAL:
                return self.equal(left, right)
            case StepOp.NOT_EQUAL:
                return not self.equal(left, right)
            case StepOp.SAME:
                return self.same(left, right)
            case StepOp.NOT_SAME:
                return not self.same(left, right)
        if isinstance(left, str) and isinstance(right, str):
            self.spend(min(len(left.encode()), len(right.encode())) >> 8)
            one: Any = utf16(left)
            other: Any = utf16(right)
        else:
            one, other = self.number(left), self.number(right)
        less, more = bool(one < other), bool(one > other)
        match op:
            case StepOp.LESS:
                return less
            case StepOp.LESS_EQUAL:
                return less or bool(one == other)
            case StepOp.GREATER:
                return more
        return more or bool(one == other)

    def same(self, left: Any, right: Any) -> bool:
        if isinstance(left, bool) or isinstance(right, bool) or left is None or right is None:
            return left is right
        if isinstance(left, str) and isinstance(right, str):
            return self.equal_texts(left, right)
        if isinstance(left, float) and isinstance(right, float):
            return left == right
        if isinstance(left, str | float) or isinstance(right, str | float):
            return False
        return left is right and not isinstance(left, Made | Root)

    def equal(self, left: Any, right: Any) -> bool:
        """Loosely. Null equals null, 0 and false; text equals a number or truth value by its number."""
        if isinstance(left, str) and isinstance(right, str):
            return self.equal_texts(left, right)
        if left is None or right is None:
            other = right if left is None else left
            return other is None or (isinstance(other, bool | float) and other == 0)
        if not isinstance(left, str | float | bool) and not isinstance(right, str | float | bool):
            return self.same(left, right)
        return self.number(left) == self.number(right)

    def equal_texts(self, left: str, right: str) -> bool:
        size = len(left.encode())
        if size != len(right.encode()):
            return False
        self.spend(size >> 8)
        return left == right

    def is_in(self, item: Any, place: Any) -> bool:
        if isinstance(place, str):
            if not place:  # as if it were an empty list
                return False
            self.read(place)
            return self.text(item) in place
        if not is_list(place):
            return False
        for one in place:
            self.spend(1)
            other = self.value(one)
            if self.same(item, other) or (item != item and other != other):
                return True
        return False

    def substr(self, source: Any, start: Any, *length: Any) -> str:
        text = self.text(source)
        self.read(text)
        bounds = [self.number(one) for one in (start, *length)]
        return self.made_text(part_of_text(text, *bounds))

    # -- paths

    def member(self, value: Any, name: str, *, dynamic: bool) -> Any:
        """One step down. `dynamic`: the core has no ready key, and goes through the members."""
        if isinstance(value, Root):
            for values in (value.members, value.attributes):
                if dynamic:
                    self.spend(len(values))
                if name in values:
                    return values[name]
            return _ABSENT
        if isinstance(value, dict):
            if dynamic:
                self.spend(len(value))
            return value.get(name, _ABSENT)
        if isinstance(value, str):
            self.read(value)
            size = text_units(value)
        elif is_list(value):
            size = len(value)
        else:
            return _ABSENT
        if name == "length":
            return size
        index = int(name) if is_index(name) else size
        if index >= size:
            return _ABSENT
        return self.made_text(part_of_text(value, index, 1)) if isinstance(value, str) else value[index]

    def walk(self, value: Any, path: Any) -> Any:
        if path is None or path == "":
            return value
        found = value
        for part in path_parts(self.read_text(path)):
            found = self.member(self.value(found), part, dynamic=True)
            if found is _ABSENT:
                return _ABSENT
        return found

    def missing(self, scope: Any, keys: Any) -> Made:
        keys = keys if is_list(keys) else [keys]
        self.make(16 * len(keys))
        absent = Made()
        for one in keys:
            self.spend(1)
            key = self.value(one)
            if not self.has(scope, key):
                absent.append(key)
        return absent

    def has(self, scope: Any, key: Any) -> bool:
        found = scope
        for part in path_parts(self.read_text(key)):
            if found == "" and isinstance(found, str):  # nothing is behind it, not even its length
                return False
            found = self.member(found, part, dynamic=True)
            if found is _ABSENT:
                return False
            found = self.value(found)
        return True

    def missing_some(self, scope: Any, need: Any, keys: Any) -> Made:
        absent = self.missing(scope, keys)
        count = len(keys) if is_list(keys) else 1
        return Made() if count - len(absent) >= self.number(need) else absent
