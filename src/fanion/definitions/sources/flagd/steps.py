"""Rules as steps of a computed slot (`fanion.model.expression`); docs/apis/flagd.md: Operations.

What the evaluators make of too few operands stands here: null where nothing can be computed, null in the place of
what is missing in a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.lowering.expressions import StepAssembler
from fanion.definitions.sources.flagd.targeting import (
    FLAG_KEY,
    NULL,
    TIMESTAMP,
    Constant,
    Items,
    Look,
    Operation,
    Rule,
    Scope,
)
from fanion.engine.expression_text import path_parts
from fanion.model.expression import SPREAD, FractionKind, StepOp
from fanion.model.expression import Constant as StepConstant
from fanion.model.program import Slot, Source

TARGETING_KEY: Final = "targetingKey"
TIME: Final = Slot(Source.MEMBER, TIMESTAMP, dotted=True)
"""No context has a member of the whole name."""
Hashing = Literal["v2", "v3"]
"""What `fractional` hashes: the text, or CBOR of any value."""

COMPARED: Final = {
    "==": StepOp.EQUAL,
    "!=": StepOp.NOT_EQUAL,
    "===": StepOp.SAME,
    "!==": StepOp.NOT_SAME,
    "<": StepOp.LESS,
    "<=": StepOp.LESS_EQUAL,
    ">": StepOp.GREATER,
    ">=": StepOp.GREATER_EQUAL,
}
CHAINED: Final = {
    "+": StepOp.ADD,
    "-": StepOp.SUBTRACT,
    "*": StepOp.MULTIPLY,
    "/": StepOp.DIVIDE,
    "%": StepOp.REMAINDER,
}
ALONE: Final = {"+": StepOp.NUMBER, "-": StepOp.NEGATE, "*": StepOp.NUMBER}
GATHERED: Final = {"min": StepOp.MIN, "max": StepOp.MAX, "cat": StepOp.CAT, "merge": StepOp.MERGE}
LOOPED: Final = {
    "map": StepOp.MAP,
    "filter": StepOp.FILTER,
    "all": StepOp.ALL,
    "some": StepOp.SOME,
    "none": StepOp.NONE,
}
TESTED: Final = {
    "in": (StepOp.IN, 2),
    "starts_with": (StepOp.STARTS, 2),
    "ends_with": (StepOp.ENDS, 2),
    "sem_ver": (StepOp.SEMVER, 3),
}
"""Operations of a fixed number of operands."""


class StepWriter:
    """Writes rules of one flag. `key`: the flag's."""

    def __init__(self, builder: Builder, key: str, hashing: Hashing) -> None:
        self._builder = builder
        self._key = key
        self.hashing = hashing
        self.draws = 0
        """How many `fractional` were made steps, so that nothing tells afterwards that lots were drawn."""
        self._code = StepAssembler()

    def slot(self, rule: Rule, *, truth: bool = False) -> int:
        """The slot that a rule computes, or its truth. Raises ValueError where it breaks a limit of steps."""
        self._code = StepAssembler()
        self._add(rule)
        if truth:
            self._code.add(StepOp.TRUTH)
        return self._builder.computed(self._code.finish())

    def _add(self, rule: Rule) -> None:
        match rule:
            case Constant(value):
                self._code.constant(value)
            case Items(items):
                self._list(items)
            case Look():
                self._look(rule)
            case Operation(name):
                self._operation(name, rule)

    def _list(self, items: Sequence[Rule]) -> None:
        values = constants(items)
        if values is not None:
            self._code.constant(values)
        else:
            self._code.gather(self._adders(items))

    def _adders(self, rules: Sequence[Rule]) -> list[Callable[[], None]]:
        return [lambda rule=rule: self._add(rule) for rule in rules]  # type: ignore[misc]

    # -- looks

    def _look(self, look: Look) -> None:
        code = self._code
        if isinstance(look.path, Constant):
            self._path(str(look.path.value or ""), look.scope)
        else:
            self._scope(look.scope)
            self._add(look.path)
            code.add(StepOp.PATH)
        if look.default is not None:
            end = code.label()
            code.jump(StepOp.KEEP_VALUE, end)
            self._add(look.default)
            code.place(end)

    def _scope(self, scope: Scope) -> None:
        self._code.add(StepOp.ROOT if scope == "context" else StepOp.ITEM)

    def _path(self, path: str, scope: Scope) -> None:
        code = self._code
        if scope == "context" and path == FLAG_KEY:
            code.constant(self._key)
            return
        if scope == "context" and path == TIMESTAMP:
            code.add(StepOp.LOAD, self._builder.slot(TIME))
            return
        parts = path_parts(path)
        if not parts:
            self._scope(scope)
            return
        if scope == "context":
            first, *parts = parts
            source = Source.MEMBER if first == TARGETING_KEY else Source.ATTRIBUTE
            code.add(StepOp.LOAD, self._builder.slot(Slot(source, first)))
        elif scope == "reduce":
            first, *parts = parts
            code.add(StepOp.ITEM if first == "current" else StepOp.ACCUMULATOR)
        else:
            code.add(StepOp.ITEM)
        for part in parts:
            code.field(part)

    # -- operations

    def _operation(self, name: str, rule: Operation) -> None:
        code, operands = self._code, rule.operands
        if name == "if":
            self._if(operands)
        elif name == "and" or name == "or":
            self._junction(StepOp.KEEP_FALSY if name == "and" else StepOp.KEEP_TRUTHY, operands)
        elif name == "!" or name == "!!":
            self._add(operands[0] if operands else NULL)
            code.add(StepOp.NOT if name == "!" else StepOp.TRUTH)
        elif name in COMPARED:
            padded = [*operands, *[NULL] * (2 - len(operands))]
            for one in padded:
                self._add(one)
            code.add(COMPARED[name], len(padded))
        elif name in CHAINED:
            self._arithmetic(name, operands)
        elif name in GATHERED:
            if rule.bare and not isinstance(operands[0], Constant):
                self._add(operands[0])
                code.add(GATHERED[name], SPREAD)
            else:
                code.gather(self._adders(operands), GATHERED[name])
        elif name in TESTED:
            op, count = TESTED[name]
            if len(operands) != count:
                code.constant(False if name == "in" else None)
                return
            for one in operands:
                self._add(one)
            code.add(op)
        elif name == "reduce" or name in LOOPED:
            self._loop(name, operands)
        elif name == "fractional":
            self._fractional(operands)
        else:
            self._rest(name, rule)

    def _if(self, operands: Sequence[Rule]) -> None:
        code = self._code
        end = code.label()
        for number in range(0, len(operands) - 1, 2):
            following = code.label()
            self._add(operands[number])
            code.jump(StepOp.JUMP_FALSY, following)
            self._add(operands[number + 1])
            code.jump(StepOp.JUMP, end)
            code.place(following)
        self._add(operands[-1] if len(operands) % 2 else NULL)
        code.place(end)

    def _junction(self, op: StepOp, operands: Sequence[Rule]) -> None:
        code = self._code
        end = code.label()
        for one in operands[:-1]:
            self._add(one)
            code.jump(op, end)
        self._add(operands[-1] if operands else NULL)
        code.place(end)

    def _arithmetic(self, name: str, operands: Sequence[Rule]) -> None:
        code = self._code
        if len(operands) > 1:
            self._add(operands[0])
            for one in operands[1:]:
                self._add(one)
                code.add(CHAINED[name])
        elif operands and name in ALONE:
            self._add(operands[0])
            code.add(ALONE[name])
        else:
            code.constant(None)

    def _loop(self, name: str, operands: Sequence[Rule]) -> None:
        code = self._code
        padded = [*operands, *[NULL] * (2 - len(operands))]
        self._add(padded[0])
        if name != "reduce":
            code.loop(LOOPED[name], lambda: self._add(padded[1]))
        elif len(padded) > 2:
            self._add(padded[2])
            code.loop(StepOp.REDUCE, lambda: self._add(padded[1]))
        else:
            code.loop(StepOp.REDUCE_FIRST, lambda: self._add(padded[1]))

    def _rest(self, name: str, rule: Operation) -> None:
        """substr, missing, missing_some."""
        code, operands = self._code, rule.operands
        if name == "substr":
            padded = [*operands[:3], *[NULL] * (2 - len(operands))]
            for one in padded:
                self._add(one)
            code.add(StepOp.SUBSTR, len(padded))
        elif name == "missing":
            self._scope(rule.scope)
            if len(operands) == 1:
                self._add(operands[0])
            else:
                self._list(operands)
            code.add(StepOp.MISSING)
        elif len(operands) == 2:
            self._scope(rule.scope)
            self._add(operands[0])
            self._add(operands[1])
            code.add(StepOp.MISSING_SOME)
        else:
            code.constant(())

    # -- fractional

    def _fractional(self, operands: Sequence[Rule]) -> None:
        code = self._code
        self.draws += 1
        given = operands[:1] if operands and not isinstance(operands[0], Items) else ()
        entries = flat_entries(operands[len(given) :])
        if entries is None or not operands:
            code.constant(None)
            return
        kind = FractionKind.TEXT if self.hashing == "v2" else FractionKind.CBOR
        if given:
            self._add(given[0])
        else:
            kind = FractionKind.TEXT if self.hashing == "v2" else FractionKind.CBOR_LIST
            self._somebody()
        self._list(entries)
        code.add(StepOp.FRACTION, kind)

    def _somebody(self) -> None:
        """What the shorthand hashes: the flag's key and the targeting key; null of nobody."""
        code = self._code
        key = self._builder.slot(Slot(Source.MEMBER, TARGETING_KEY))
        nobody, end = code.label(), code.label()
        code.add(StepOp.LOAD, key)
        code.jump(StepOp.JUMP_FALSY, nobody)
        code.constant(self._key)
        code.add(StepOp.LOAD, key)
        code.add(StepOp.CAT if self.hashing == "v2" else StepOp.LIST, 2)
        code.jump(StepOp.JUMP, end)
        code.place(nobody)
        code.constant(None)
        code.place(end)


def constants(items: Sequence[Rule]) -> tuple[StepConstant, ...] | None:
    """The values of constants, lists of them included; None where one has to be computed."""
    values: list[StepConstant] = []
    for item in items:
        if isinstance(item, Constant):
            values.append(item.value)
        elif isinstance(item, Items):
            inner = constants(item.items)
            if inner is None:
                return None
            values.append(inner)
        else:
            return None
    return tuple(values)


def flat_entries(entries: Sequence[Rule]) -> list[Rule] | None:
    """Names and weights of fractional's entries in turn; None where one isn't a list of one or two."""
    flat: list[Rule] = []
    for entry in entries:
        if not isinstance(entry, Items) or not 1 <= len(entry.items) <= 2:
            return None
        flat += entry.items if len(entry.items) == 2 else (entry.items[0], Constant(1.0))
    return flat
