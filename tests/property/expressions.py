"""Random expressions and contexts that they are about, drawn so that every step, limit and kind is met often."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from fanion.definitions.lowering.expressions import StepAssembler
from fanion.model.expression import (
    COMPARISONS,
    LOOPS,
    LOOPS_MAX,
    REDUCING,
    SPREAD,
    Constant,
    FractionKind,
    StepOp,
    Steps,
)
from tests.property.texts import NUMBERS, TEXTS

S = StepOp
NAMES = [
    "text",
    "number",
    "list",
    "deep",
    "users",
    "nothing",
    "a.b",
    "length",
    "0",
    "2",
    "Überall",
    "a\\.b",
    "",
]
PATHS = [
    *NAMES,
    "deep.list.1",
    "users.0.name",
    "text.length",
    "text.1",
    "list.0.x",
    "deep.a.b.c",
    ".",
    "..",
    "x\\",
]
WORDS = [
    *TEXTS,
    "a🚀b🚀",
    "\U0010ffff",
    "\uffff",
    "é",
    "null",
    "[object Object]",
    " \u00a012\ufeff",
    "0b101",
    "0o17",
    "0XfF",
    "-Infinity",
    "1.",
    "v1.2.3",
    "V1.2",
    "1",
    "1.2.3-rc.1+b",
    "2.0",
    "=",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "^",
    "~",
    "text",
    "deep.a",
    "users.length",
    "1,2",
    "x" * 5_000,
]
EDGES: list[Any] = [
    *NUMBERS,
    math.nan,
    math.inf,
    -math.inf,
    2**53,
    2**64,
    -(2**64),
    -(10**400),
    3,
    2,
    0.5,
    65504.0,
]
PLACES = [0, 1, 2, 3, -1, -2, -9, 1.7, -1.7, 100, None, math.nan, math.inf]
VERSIONS = [word for word in WORDS if word[:1].isdigit() or word[:1] in ("v", "V")]
OPERATORS = ["=", "!=", "<", "<=", ">", ">=", "^", "~", "==", "<\0"]
BINARY = [S.ADD, S.SUBTRACT, S.MULTIPLY, S.DIVIDE, S.REMAINDER, S.IN, S.IN, S.STARTS, S.ENDS, S.PATH]
UNARY = [S.NOT, S.TRUTH, S.NUMBER, S.NEGATE]
GATHERING = [S.MIN, S.MAX, S.CAT, S.CAT, S.LIST, S.MERGE]
JOINING = [S.KEEP_FALSY, S.KEEP_TRUTHY, S.KEEP_VALUE]
LISTS = NAMES.index("list")
"""The slot that more loops than others are about."""
HEIGHT_MAX = 20
"""Of the stack where another tree still begins: what one takes beside it fits."""


class Where:
    """What stands around a tree: loops, whether the innermost reduces, the height of the stack."""

    def __init__(self, loops: int = 0, reduces: bool = False, height: int = 0) -> None:
        self.loops = loops
        self.reduces = reduces
        self.height = height

    def above(self, values: int = 1) -> Where:
        return Where(self.loops, self.reduces, self.height + values)


class ExpressionMaker:
    """Draws from one source of randomness. `loads`: the slots that steps may load."""

    def __init__(self, source: random.Random, loads: int) -> None:
        self.r = source
        self.loads = loads
        self.code = StepAssembler()

    def steps(self) -> Steps:
        self.code = StepAssembler()
        self.tree(self.r.randrange(5), Where())
        return self.code.finish()

    def heavy_steps(self) -> Steps:
        """What passes a limit on a long list."""
        self.code = StepAssembler()
        self.heavy(1, Where())
        return self.code.finish()

    # -- values

    def scalar(self) -> Constant:
        pick = self.r.randrange(9)
        if pick < 4:
            return self.r.choice(WORDS)
        if pick < 7:
            return float(self.r.choice([n for n in EDGES if not isinstance(n, int) or abs(n) < 10**300]))
        return self.r.choice([True, False, None])

    def constant(self) -> Constant:
        if self.r.random() < 0.2:
            return tuple(self.scalar() for _ in range(self.r.randrange(5)))
        if self.r.random() < 0.02:
            return tuple([1, (self.scalar(), ("x",))] * self.r.choice([1, 300, 500]))
        return self.scalar()

    # -- trees; each leaves one value

    def tree(self, deep: int, where: Where) -> None:
        if deep <= 0 or where.height > HEIGHT_MAX:
            self.leaf(where)
            return
        kinds = [self.field, self.unary, self.binary, self.binary, self.compare, self.compare, self.gather]
        kinds += [self.substr, self.semver, self.missing, self.fraction, self.choose, self.join, self.loop]
        self.r.choice([*kinds, self.loop])(deep - 1, where)

    def leaf(self, where: Where) -> None:
        pick = self.r.randrange(12)
        if where.loops and pick < 4:
            self.code.add(S.ACCUMULATOR if where.reduces and pick < 2 else S.ITEM)
        elif pick < 8:
            self.code.add(S.LOAD, self.r.randrange(self.loads))
        elif pick == 8:
            self.scope(where)
        else:
            self.code.constant(self.constant())

    def scope(self, where: Where) -> None:
        self.code.add(S.ITEM if where.loops and self.r.random() < 0.5 else S.ROOT)

    def field(self, deep: int, where: Where) -> None:
        self.tree(deep, where)
        self.code.field(self.r.choice(NAMES))

    def unary(self, deep: int, where: Where) -> None:
        self.tree(deep, where)
        self.code.add(self.r.choice(UNARY))

    def binary(self, deep: int, where: Where) -> None:
        op = self.r.choice(BINARY)
        if op is S.PATH:
            self.scope(where)
            if self.r.random() < 0.7:
                self.code.constant(self.r.choice(PATHS))
            else:
                self.tree(deep, where.above())
        else:
            self.tree(deep, where)
            self.tree(deep, where.above())
        self.code.add(op)

    def compare(self, deep: int, where: Where) -> None:
        count = self.r.choice([2, 2, 2, 3])
        for number in range(count):
            self.tree(deep, where.above(number))
        self.code.add(S(self.r.choice(sorted(COMPARISONS))), count)

    def gather(self, deep: int, where: Where) -> None:
        op = self.r.choice(GATHERING)
        if op is not S.LIST and self.r.random() < 0.3:
            self.tree(deep, where)
            self.code.add(op, SPREAD)
            return
        count = self.r.randrange(5)
        for number in range(count):
            self.tree(deep if number < 2 else 0, where.above(number))
        self.code.add(op, count)

    def substr(self, deep: int, where: Where) -> None:
        count = self.r.choice([2, 3])
        self.tree(deep, where)
        for number in range(1, count):
            self.mostly(PLACES, where.above(number))
        self.code.add(S.SUBSTR, count)

    def semver(self, deep: int, where: Where) -> None:
        for number, choices in enumerate((VERSIONS, OPERATORS, VERSIONS)):
            self.mostly(choices, where.above(number))
        self.code.add(S.SEMVER)

    def mostly(self, choices: Sequence[Constant], where: Where) -> None:
        if self.r.random() < 0.8:
            self.code.constant(self.r.choice(choices))
        else:
            self.tree(0, where)

    def missing(self, deep: int, where: Where) -> None:
        some = self.r.random() < 0.5
        self.scope(where)
        if some:
            self.code.constant(self.r.choice([0, 1, 2, "1", None]))
        if self.r.random() < 0.7:
            self.code.constant(tuple(self.r.choices([*PATHS, 0.0, None], k=self.r.randrange(5))))
        else:
            self.tree(deep, where.above(1 + some))
        self.code.add(S.MISSING_SOME if some else S.MISSING)

    def fraction(self, deep: int, where: Where) -> None:
        self.tree(deep, where)
        weights = [0, 1, 50, 100, -3, 2**31 - 1]
        entries: list[Constant] = []
        for _ in range(self.r.randrange(4)):
            entries += [self.scalar(), self.r.choice(weights)]
        if self.r.random() < 0.1:
            entries.append(self.r.choice([1.5, "1", None]))
        if self.r.random() < 0.7:
            self.code.constant(tuple(entries))
        else:
            self.tree(deep, where.above())
        self.code.add(S.FRACTION, self.r.choice(list(FractionKind)))

    def choose(self, deep: int, where: Where) -> None:
        other, end = self.code.label(), self.code.label()
        self.tree(deep, where)
        self.code.jump(self.r.choice([S.JUMP_FALSY, S.JUMP_TRUTHY]), other)
        self.tree(deep, where)
        self.code.jump(S.JUMP, end)
        self.code.place(other)
        self.tree(deep, where)
        self.code.place(end)

    def join(self, deep: int, where: Where) -> None:
        end = self.code.label()
        for _ in range(self.r.randrange(1, 3)):
            self.tree(deep, where)
            self.code.jump(self.r.choice(JOINING), end)
        self.tree(deep, where)
        self.code.place(end)

    def heavy(self, deep: int, where: Where) -> None:
        """What grows with the list: a loop in a loop, or a text that each turn makes longer."""
        self.code.add(S.LOAD, LISTS % self.loads)
        if self.r.random() < 0.5:
            inner = Where(where.loops + 2, False, where.height)
            body = functools.partial(self.tree, min(deep, 1), inner)
            self.code.loop(S.MAP, lambda: self._loop_over_list(body))
            return
        self.code.constant(self.r.choice(["x", "x" * 60]))
        self.code.loop(S.REDUCE, self._append_item)

    def _loop_over_list(self, body: Callable[[], None]) -> None:
        self.code.add(S.LOAD, LISTS % self.loads)
        self.code.loop(self.r.choice([S.MAP, S.FILTER, S.ALL, S.SOME]), body)

    def _append_item(self) -> None:
        self.code.add(S.ACCUMULATOR)
        self.code.add(S.ITEM)
        self.code.add(S.CAT, 2)

    def loop(self, deep: int, where: Where) -> None:
        if where.loops == LOOPS_MAX:
            self.leaf(where)
            return
        op = S(self.r.choice(sorted(LOOPS)))
        if self.r.random() < 0.6:
            self.code.add(
                S.LOAD, self.r.randrange(self.loads) if self.r.random() < 0.5 else LISTS % self.loads
            )
        else:
            self.tree(deep, where)
        if op is S.REDUCE:
            self.tree(0, where.above())
        inner = Where(where.loops + 1, op in REDUCING, where.height)
        self.code.loop(op, lambda: self.tree(deep, inner))


def draw_attributes(r: random.Random) -> dict[str, Any]:
    """What the names of slots and paths find: values of every kind, some beyond a limit."""

    def scalar() -> Any:
        pick = r.randrange(9)
        return r.choice(WORDS) if pick < 4 else r.choice(EDGES) if pick < 7 else r.choice([True, False, None])

    def value(deep: int = 2) -> Any:
        pick = r.randrange(10)
        if deep and pick < 3:
            return [value(deep - 1) for _ in range(r.randrange(4))]
        if deep and pick == 3:
            return {name: value(deep - 1) for name in r.sample(NAMES, r.randrange(4))}
        return scalar()

    found: dict[str, Any] = {name: value() for name in NAMES if r.random() < 0.4}
    found["text"] = r.choice(WORDS)
    found["number"] = r.choice(EDGES)
    found["list"] = [value(1) for _ in range(r.randrange(6))]
    found["deep"] = {"a": {"b": value()}, "list": [scalar(), scalar()], "length": scalar()}
    found["users"] = [{"name": r.choice(WORDS), "age": r.choice(EDGES)} for _ in range(r.randrange(4))]
    if r.random() < 0.1:
        found[r.choice(["list", "list", "list", *NAMES[:6]])] = r.choice(LARGE)
    for name in NAMES[:6]:
        if r.random() < 0.15:
            found.pop(name, None)
    return found


def nested_list(deep: int) -> list[Any]:
    made: list[Any] = ["x"]
    for _ in range(deep):
        made = [made]
    return made


LARGE: list[Any] = [
    list(range(1_000)),
    list(range(1_000)),
    list(range(150)),
    ["ab"] * 100,
    [1] * 1_001,
    [{"name": "x"}] * 40,
    [list(range(40))] * 40,
    "x" * 65_536,
    "x" * 65_537,
    "🚀" * 16_384,
    ["é" * 300] * 200,
    nested_list(14),
    nested_list(15),
    nested_list(16),
    {f"k{n}": n for n in range(180)},
    {f"k{n}": n for n in range(200)},
    {1: 2, "a": 3},
    ("a", "tuple"),
    {"set"},
    b"bytes",
]
"""At and beyond the limits, and what no JSON holds but a caller in process may bring."""
