"""What a flag of flagd answers by its definition (docs/apis/flagd.md), on plain values; shares nothing with the
lowering. `fractional` is v2.

A list or object that a rule makes is one of Python; those of the context stay what they are, so that `is` tells
them apart. Every number is a float.
"""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

from fanion.engine.murmur import murmur3_32

SPACES = "\t\n\v\f\r \u00a0\ufeff"
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII)


def answer(flag: dict[str, Any], key: str, context: dict[str, Any]) -> tuple[str, str | None]:
    """The reason and the variant; ERROR where the targeting names none."""
    default = flag.get("defaultVariant")
    if flag["state"] == "DISABLED":
        return "DISABLED", None
    if not flag.get("targeting"):
        return ("DEFAULT" if default is None else "STATIC"), default
    found = Interpreter(key, plain(context)).value(flag["targeting"], None)
    if found is None:
        return "DEFAULT", default
    name = found if isinstance(found, str) else text(found) if isinstance(found, bool | float) else None
    return ("TARGETING_MATCH", name) if name in flag["variants"] else ("ERROR", None)


def plain(value: Any) -> Any:
    """A value with every number a float."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def truthy(value: Any) -> bool:
    return bool(value) and value == value


def text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        if value != value or math.isinf(value):
            return "NaN" if value != value else f"{'-' if value < 0 else ''}Infinity"
        return (
            str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value).replace("e-0", "e-")
        )
    if isinstance(value, list):
        return ",".join("" if one is None else text(one) for one in value)
    return value if isinstance(value, str) else "[object Object]"


def number(value: Any) -> float:
    if value is None or isinstance(value, bool | float):
        return float(value or 0)
    if not isinstance(value, str):
        return math.nan
    stripped = value.strip(SPACES)
    return 0.0 if not stripped else float(stripped) if NUMBER.fullmatch(stripped) else math.nan


def same(one: Any, other: Any) -> bool:
    if isinstance(one, list | dict) or isinstance(other, list | dict):
        return one is other
    return type(one) is type(other) and bool(one == other)


def equal(one: Any, other: Any) -> bool:
    if one is None or other is None:
        rest = other if one is None else one
        return rest is None or (isinstance(rest, bool | float) and rest == 0)
    if (isinstance(one, str) and isinstance(other, str)) or all(
        isinstance(v, list | dict) for v in (one, other)
    ):
        return same(one, other)
    return number(one) == number(other)


def compare(name: str, one: Any, other: Any) -> bool:
    if name in ("==", "!="):
        return equal(one, other) is (name == "==")
    if name in ("===", "!=="):
        return same(one, other) is (name == "===")
    left, right = (
        (one, other) if isinstance(one, str) and isinstance(other, str) else (number(one), number(other))
    )
    if name in ("<", "<="):
        return bool(left < right or (name == "<=" and left == right))
    return bool(left > right or (name == ">=" and left == right))


def version(value: Any) -> tuple[Any, ...] | None:
    given = text(value)
    given = given[1:] if given[:1] in "vV" else given
    if re.fullmatch(r"\d+", given, re.ASCII):
        given += ".0.0"
    elif re.fullmatch(r"\d+\.\d+", given, re.ASCII):
        given += ".0"
    found = VERSION.fullmatch(given)
    if found is None or any(len(part) > 1 and part[0] == "0" for part in found.groups()[:3]):
        return None
    numbers = tuple(map(int, found.groups()[:3]))
    before = found[4]
    parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in before.split(".")) if before else ()
    return (*numbers, 0 if before else 1, parts)


def stands(one: Any, operator: Any, other: Any) -> bool | None:
    left, right = version(one), version(other)
    if left is None or right is None:
        return None
    known = {
        "=": left == right,
        "!=": left != right,
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
        "^": left[0] == right[0],
        "~": left[:2] == right[:2],
    }
    return known.get(text(operator))


def over_zero(made: float, zero: float) -> float:
    if made == 0 or made != made:
        return math.nan
    return math.copysign(math.inf, made) * math.copysign(1, zero)


def part_of(source: str, start: float, length: float | None) -> str:
    first = 0 if start != start else int(start)
    first = max(len(source) + first, 0) if first < 0 else first
    if length is None:
        return source[first:]
    count = 0 if length != length else int(length)
    return source[first : first + count] if count >= 0 else source[first : max(len(source) + count, first)]


def step(value: Any, name: str) -> tuple[bool, Any]:
    if isinstance(value, dict):
        return name in value, value.get(name)
    if isinstance(value, list | str):
        if name == "length":
            return True, float(len(value))
        if re.fullmatch(r"0|[1-9]\d*", name, re.ASCII) and int(name) < len(value):
            return True, value[int(name)]
    return False, None


def walk(value: Any, path: str) -> tuple[bool, Any]:
    for name in path.split(".") if path else ():
        found, value = step(value, name)
        if not found:
            return False, None
    return True, value


class Reduced(dict[str, Any]):
    """What the body of `reduce` looks at."""


class Interpreter:
    """One flag in one context; `scope` None is the context, else a list of one: the item of the innermost loop."""

    def __init__(self, key: str, context: dict[str, Any]) -> None:
        self.key = key
        self.context = context

    def value(self, rule: Any, scope: list[Any] | None) -> Any:
        if isinstance(rule, list):
            return [self.value(one, scope) for one in rule]
        if not isinstance(rule, dict):
            return plain(rule)
        ((name, given),) = rule.items()
        rules = given if isinstance(given, list) else [given]
        if name in ("if", "and", "or"):
            return getattr(self, f"of_{name}")(rules, scope)
        if name in ("map", "filter", "all", "some", "none", "reduce"):
            return self.loop(name, rules, scope)
        if name == "fractional":
            return self.fraction(rules, scope)
        operands = [self.value(one, scope) for one in rules]
        if (
            not isinstance(given, list)
            and name in ("min", "max", "cat", "merge")
            and isinstance(operands[0], list)
        ):
            operands = operands[0]
        return self.operation(name, operands, scope)

    def look(self, path: Any, scope: list[Any] | None) -> Any:
        name = "" if path is None else text(path)
        if scope is None and name == "$flagd.flagKey":
            return self.key
        return walk(self.context if scope is None else scope[0], name)[1]

    def of_if(self, rules: list[Any], scope: list[Any] | None) -> Any:
        while len(rules) > 1:
            if truthy(self.value(rules[0], scope)):
                return self.value(rules[1], scope)
            rules = rules[2:]
        return self.value(rules[0], scope) if rules else None

    def of_and(self, rules: list[Any], scope: list[Any] | None) -> Any:
        found = None
        for one in rules:
            found = self.value(one, scope)
            if not truthy(found):
                break
        return found

    def of_or(self, rules: list[Any], scope: list[Any] | None) -> Any:
        found = None
        for one in rules:
            found = self.value(one, scope)
            if truthy(found):
                break
        return found

    def loop(self, name: str, rules: list[Any], scope: list[Any] | None) -> Any:
        given = self.value(rules[0], scope)
        items = given if isinstance(given, list) else []
        if name == "reduce":
            made = self.value(rules[2], scope)
            for item in items:
                made = self.value(rules[1], [Reduced(current=item, accumulator=made)])
            return made
        found = [self.value(rules[1], [item]) for item in items]
        if name == "map":
            return found
        if name == "filter":
            return [item for item, one in zip(items, found, strict=True) if truthy(one)]
        if name == "all":
            return bool(found) and all(map(truthy, found))
        return any(map(truthy, found)) is (name == "some")

    def fraction(self, rules: list[Any], scope: list[Any] | None) -> Any:
        if not rules:
            return None
        if isinstance(rules[0], list):
            who = self.context.get("targetingKey")
            hashed: Any = f"{self.key}{who}" if who else None
            entries = rules
        else:
            hashed, entries = self.value(rules[0], scope), rules[1:]
        shares: list[tuple[Any, int]] = []
        for entry in entries:
            if not isinstance(entry, list) or not 1 <= len(entry) <= 2:
                return None
            name, weight = (self.value(one, scope) for one in (*entry, *[1][: 2 - len(entry)]))
            if isinstance(name, list | dict) or not isinstance(weight, float) or not weight.is_integer():
                return None
            shares.append((name, max(int(weight), 0)))
        total = sum(weight for _, weight in shares)
        if not isinstance(hashed, str) or not 0 < total < 2**31:
            return None
        bucket = murmur3_32(hashed.encode()) * total >> 32
        for name, weight in shares:
            bucket -= weight
            if bucket < 0:
                return name
        return None

    def operation(self, name: str, operands: list[Any], scope: list[Any] | None) -> Any:
        if name == "var":
            found = self.look(operands[0] if operands else None, scope)
            return operands[1] if found is None and len(operands) > 1 else found
        if name in ("!", "!!"):
            return truthy(operands[0] if operands else None) is (name == "!!")
        if name in ("==", "!=", "===", "!==", "<", "<=", ">", ">="):
            padded = [*operands, None, None][: max(len(operands), 2)]
            return all(compare(name, *pair) for pair in itertools.pairwise(padded))
        if name in ("+", "-", "*", "/", "%"):
            return self.arithmetic(name, [number(one) for one in operands])
        if name in ("min", "max"):
            numbers = [number(one) for one in operands]
            if not numbers or any(one != one for one in numbers):
                return math.nan
            return min(numbers) if name == "min" else max(numbers)
        return self.rest(name, operands, scope)

    def arithmetic(self, name: str, numbers: list[float]) -> Any:
        if len(numbers) == 1:
            return {"+": numbers[0], "*": numbers[0], "-": -numbers[0]}.get(name)
        made = numbers[0]
        for one in numbers[1:]:
            if name == "/":
                made = made / one if one else over_zero(made, one)
            elif name == "%":
                made = math.nan if not one or math.isinf(made) else math.fmod(made, one)
            else:
                made = made + one if name == "+" else made - one if name == "-" else made * one
        return made

    def rest(self, name: str, operands: list[Any], scope: list[Any] | None) -> Any:
        match name, operands:
            case "in", [item, place]:
                if isinstance(place, list):
                    return any(same(item, one) for one in place)
                return isinstance(place, str) and place != "" and text(item) in place
            case "cat", _:
                return "".join("" if one is None else text(one) for one in operands)
            case "substr", [source, start]:
                return part_of(text(source), number(start), None)
            case "substr", [source, start, length]:
                return part_of(text(source), number(start), number(length))
            case "merge", _:
                return [inner for one in operands for inner in (one if isinstance(one, list) else [one])]
            case "missing", _:
                only = operands[0] if len(operands) == 1 and isinstance(operands[0], list) else operands
                return [key for key in only if not walk(self.of(scope), text(key))[0]]
            case "missing_some", [need, keys]:
                absent = [key for key in keys if not walk(self.of(scope), text(key))[0]]
                return [] if len(keys) - len(absent) >= need else absent
            case "starts_with" | "ends_with", [str() as given, str() as sought]:
                return given.startswith(sought) if name == "starts_with" else given.endswith(sought)
            case "sem_ver", [left, operator, right]:
                return stands(left, operator, right)
        return None

    def of(self, scope: list[Any] | None) -> Any:
        return self.context if scope is None else scope[0]
