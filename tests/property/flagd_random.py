"""Draws targeting rules and contexts for them: values that JSONLogic's rules of types tell apart come often."""

from __future__ import annotations

import random
from typing import Any

NAMES = ["a", "b", "c", "list", "user", "email"]
TEXTS = [
    "",
    "a",
    "b",
    "ab",
    "abc",
    "on",
    "off",
    "true",
    "false",
    "1",
    "0",
    "2",
    " 1 ",
    "1.5",
    "x@y.z",
    "1.2.3",
    "ü",
    "10",
]
NUMBERS: list[Any] = [0, 1, -1, 2, 10, 0.5, 1.5, -2.5, 100, 1e21]
VERSIONS = ["1.2.3", "v1.2", "1", "2.0.0-rc.1", "1.2.3+build", "x", "2.0.0"]
VARIANTS = ["on", "off", "true", "false", "a", "1"]


class Drawing:
    """One seed."""

    def __init__(self, seed: int) -> None:
        self.pick = random.Random(seed)

    def scalar(self) -> Any:
        return self.pick.choice(
            [None, True, False, self.pick.choice(NUMBERS), *[self.pick.choice(TEXTS)] * 3]
        )

    def value(self, depth: int = 0) -> Any:
        """What a context may hold."""
        roll = self.pick.random()
        if roll < 0.04:
            return self.pick.choice([2**53 + 1, -(2**63), 10**20, 1e300, 1e-7])
        if roll < 0.75 or depth > 2:
            return self.scalar()
        if roll < 0.9:
            return [
                self.value(depth + 1) if roll > 0.85 else self.scalar() for _ in range(self.pick.randrange(4))
            ]
        return {name: self.value(depth + 1) for name in self.pick.sample(NAMES, self.pick.randrange(3))}

    def context(self) -> tuple[str | None, dict[str, Any]]:
        names = self.pick.sample(NAMES, self.pick.randrange(len(NAMES) + 1))
        key = self.pick.choice([None, "", "user-1", f"u{self.pick.randrange(1000)}"])
        return key, {name: self.value() for name in names}

    def look(self, item: bool = False) -> Any:
        if item:
            return {"var": self.pick.choice(["", "a", "b"])}
        path = self.pick.choice(
            [*NAMES, "user.a", "user.b", "list.0", "list.length", "targetingKey", "$flagd.flagKey"]
        )
        given: Any = self.pick.choice([path, [path]])
        return {"var": [path, self.scalar()] if self.pick.random() < 0.1 else given}

    def rule(self, depth: int, item: bool = False) -> Any:
        """An operation, a look or a constant, `depth` deep."""
        pick = self.pick
        if depth <= 0 or pick.random() < 0.1:
            return self.look(item) if pick.random() < 0.6 else self.scalar()
        name = pick.choice([*OPERATIONS, *USUAL])
        return {name: OPERATIONS[name](self, depth - 1, item)}

    def rules(self, depth: int, item: bool, least: int, most: int) -> list[Any]:
        return [self.rule(depth, item) for _ in range(self.pick.randint(least, most))]

    def targeting(self, depth: int = 4) -> dict[str, Any]:
        while True:
            found = self.rule(depth)
            if isinstance(found, dict):
                return found

    def flag(self) -> dict[str, Any]:
        """A whole flag; its values are its variants' names."""
        pick = self.pick
        found = {
            "state": "ENABLED" if pick.random() < 0.95 else "DISABLED",
            "variants": {v: v for v in VARIANTS},
        }
        if pick.random() < 0.8:
            found["defaultVariant"] = pick.choice([*VARIANTS, None])
        return found if pick.random() < 0.05 else {**found, "targeting": self.targeting()}

    # -- operands

    def two(self, depth: int, item: bool) -> list[Any]:
        if self.pick.random() < 0.7:
            pair = [self.look(item), self.scalar()]
            return pair if self.pick.random() < 0.8 else pair[::-1]
        return self.rules(depth, item, 2, 2)

    def some(self, depth: int, item: bool) -> list[Any]:
        return self.rules(depth, item, 1, 4)

    def one(self, depth: int, item: bool) -> Any:
        only = self.rule(depth, item)
        return only if isinstance(only, dict) and self.pick.random() < 0.5 else [only]

    def few(self, depth: int, item: bool) -> list[Any]:
        return self.rules(depth, item, 2, 3)

    def choice(self, depth: int, item: bool) -> list[Any]:
        ends = [*VARIANTS, None, True, False]
        found: list[Any] = []
        for _ in range(self.pick.randint(1, 2)):
            found += [self.rule(depth, item), self.pick.choice(ends)]
        return found + ([self.pick.choice(ends)] if self.pick.random() < 0.7 else [])

    def within(self, depth: int, item: bool) -> list[Any]:
        if self.pick.random() < 0.5:
            return [self.look(item), [self.scalar() for _ in range(self.pick.randrange(4))]]
        return [self.scalar(), self.look(item)] if self.pick.random() < 0.6 else self.rules(depth, item, 2, 2)

    def text_test(self, depth: int, item: bool) -> list[Any]:
        return (
            [self.look(item), self.pick.choice(TEXTS)] if self.pick.random() < 0.8 else self.two(depth, item)
        )

    def version_test(self, _depth: int, item: bool) -> list[Any]:
        left = self.look(item) if self.pick.random() < 0.5 else self.pick.choice(VERSIONS)
        operator = self.pick.choice(["=", "!=", "<", "<=", ">", ">=", "~", "^", "?"])
        return [left, operator, self.pick.choice(VERSIONS)]

    def loop(self, depth: int, item: bool) -> list[Any]:
        return [self.pick.choice([self.look(item), {"var": "list"}]), self.rule(min(depth, 2), True)]

    def reduction(self, depth: int, item: bool) -> list[Any]:
        name = self.pick.choice(["+", "max", "cat"])
        body = {name: [{"var": "current"}, {"var": "accumulator"}]}
        return [self.look(item), body, self.scalar()]

    def part(self, depth: int, item: bool) -> list[Any]:
        return [self.rule(depth, item), *[self.pick.randint(-3, 4) for _ in range(self.pick.randint(1, 2))]]

    def keys(self, _depth: int, _item: bool) -> list[Any]:
        return self.pick.sample([*NAMES, "user.a"], self.pick.randint(1, 3))

    def keys_some(self, depth: int, item: bool) -> list[Any]:
        return [self.pick.randint(0, 2), self.keys(depth, item)]

    def shares(self, depth: int, item: bool) -> list[Any]:
        pick = self.pick
        found: list[Any] = []
        if pick.random() < 0.7:
            parts = [self.look(item), pick.choice(TEXTS), {"var": "$flagd.flagKey"}]
            joined = {"cat": pick.sample(parts, pick.randint(1, 3))}
            found.append(pick.choice([self.look(item), joined, self.rule(depth, item)]))
        constant = pick.random() < 0.7
        for _ in range(pick.randint(1, 4)):
            name = pick.choice([*VARIANTS, True, None]) if constant else self.rule(min(depth, 1), item)
            weight = (
                pick.choice([0, 1, 25, 50, -5])
                if constant
                else pick.choice([1, 10, self.rule(min(depth, 1))])
            )
            found.append([name] if pick.random() < 0.1 else [name, weight])
        return found


USUAL = [
    "if",
    "if",
    "if",
    "==",
    "==",
    "and",
    "or",
    "in",
    "fractional",
    "fractional",
    "starts_with",
    "!",
    "<",
    ">=",
]
OPERATIONS: dict[str, Any] = {
    "if": Drawing.choice,
    "and": Drawing.some,
    "or": Drawing.some,
    "!": Drawing.one,
    "!!": Drawing.one,
    **dict.fromkeys(("==", "===", "!=", "!==", ">", ">=", "<", "<="), Drawing.two),
    "in": Drawing.within,
    "cat": Drawing.some,
    "substr": Drawing.part,
    **dict.fromkeys(("+", "-", "*", "/", "%"), Drawing.few),
    "min": Drawing.some,
    "max": Drawing.some,
    "missing": Drawing.keys,
    "missing_some": Drawing.keys_some,
    "merge": Drawing.some,
    **dict.fromkeys(("map", "filter", "all", "some", "none"), Drawing.loop),
    "reduce": Drawing.reduction,
    "starts_with": Drawing.text_test,
    "ends_with": Drawing.text_test,
    "sem_ver": Drawing.version_test,
    "fractional": Drawing.shares,
}
