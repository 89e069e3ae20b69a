"""Rules as branches of a decision (docs/apis/flagd.md: How rules run): tests on what the context holds, hashes
and ranges, which run at full speed; a computed slot stands wherever no test says exactly what the rule does.

A rule leads somewhere by its value: `Goal` says where each constant leads, and where a value that has to be
computed does. Of a comparison with an attribute the kinds of value that a test decides are tested, and only the
rest (text that may read as a number, lists) is left to the computed slot. So both ways always agree.
"""

from __future__ import annotations

from typing import Final, Protocol

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.limits import OPERANDS_MAX
from fanion.definitions.sources.flagd.graph import Graph, Led
from fanion.definitions.sources.flagd.steps import TARGETING_KEY, TIME, StepWriter, constants, flat_entries
from fanion.definitions.sources.flagd.targeting import (
    FLAG_KEY,
    NULL,
    TIMESTAMP,
    Constant,
    Items,
    Look,
    Operation,
    Rule,
)
from fanion.engine.expression_text import number_in, path_parts
from fanion.engine.expression_values import truth
from fanion.model.expression import Constant as Value
from fanion.model.parts import Piece, PieceKind
from fanion.model.program import Op, Relation, Slot, Source

RELATIONS: Final = {"<": Relation.LT, "<=": Relation.LE, ">": Relation.GT, ">=": Relation.GE}
TURNED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
EQUALITIES: Final = {"==": (False, False), "!=": (False, True), "===": (True, False), "!==": (True, True)}
"""Strict, negative."""
TRUTHS: Final = frozenset({*EQUALITIES, *RELATIONS, "!", "!!", "in", "all", "some", "none"})
"""Operations whose value is true or false."""
WEIGHTS_MAX: Final = 2**31 - 1
ITEMS_MAX: Final = 32
"""Constants of a list that are no texts: each is a test."""


Single = bool | int | float | str | None


class Goal(Protocol):
    """Where a rule's value leads."""

    def constant(self, value: Value) -> int:
        """The node for a value that is known."""

    def computed(self, rule: Rule) -> int:
        """The node that finds the value out."""


class Branches:
    """Makes the nodes of one flag's targeting."""

    def __init__(
        self, builder: Builder, graph: Graph, writer: StepWriter, key: str, failed: int, split: int = -1
    ) -> None:
        self.builder = builder
        self.graph = graph
        self.writer = writer
        self.key = key
        self.failed = failed
        """The node where a limit of computing was passed."""
        self.split = split
        """The recorded one that draws are of."""

    def lead(self, rule: Rule, goal: Goal) -> int:
        """The node at which the rule's way begins."""
        known = self._known(rule)
        if known is not None:
            return goal.constant(known[0])
        if isinstance(rule, Operation):
            match rule.name:
                case "if":
                    return self._if(rule, goal)
                case "and" | "or":
                    return self._junction(rule, goal)
                case "!" | "!!":
                    turned = rule.name == "!"
                    goals = goal.constant(not turned), goal.constant(turned)
                    return self.lead(rule.operands[0] if rule.operands else NULL, self.truth(*goals))
                case "fractional":
                    found = self._fractional(rule, goal)
                case "starts_with" | "ends_with":
                    found = self._text_test(rule, goal)
                case "sem_ver":
                    found = None if len(rule.operands) == 3 else goal.constant(None)
                case _:
                    found = self._comparison(rule, goal)
            if found is not None:
                return found
        return goal.computed(rule)

    def truth(self, true: int, false: int) -> Truth:
        return Truth(self, true, false)

    def _known(self, rule: Rule) -> tuple[Value] | None:
        """The value of a rule that is one for everybody."""
        if isinstance(rule, Items):
            values = constants(rule.items)
            return None if values is None else (values,)
        if isinstance(rule, Constant):
            return (rule.value,)
        if rule == Look(Constant(FLAG_KEY), None, "context"):
            return (self.key,)
        return None

    def slot(self, rule: Rule) -> int | None:
        """The slot of a look at the context; None of anything else."""
        if not isinstance(rule, Look) or rule.scope != "context" or not isinstance(rule.path, Constant):
            return None
        if rule == Look(Constant(TIMESTAMP), None, "context"):
            return self.builder.slot(TIME)
        if rule.default is None:
            parts = path_parts(str(rule.path.value or ""))
            if len(parts) == 1:
                source = Source.MEMBER if parts[0] == TARGETING_KEY else Source.ATTRIBUTE
                return self.builder.slot(Slot(source, parts[0]))
        return self.writer.slot(rule)

    # -- ways through

    def _if(self, rule: Operation, goal: Goal) -> int:
        *pairs, last = rule.operands if len(rule.operands) % 2 else (*rule.operands, NULL)
        node = self.lead(last, goal)
        for number in range(len(pairs) - 2, -1, -2):
            node = self.lead(pairs[number], self.truth(self.lead(pairs[number + 1], goal), node))
        return node

    def _junction(self, rule: Operation, goal: Goal) -> int:
        *before, last = rule.operands or (NULL,)
        either = rule.name == "or"
        node = self.lead(last, goal)
        for one in reversed(before):
            if isinstance(goal, Truth):
                decided = goal.constant(either)
                node = self.lead(one, self.truth(decided, node) if either else self.truth(node, decided))
            else:
                node = self.lead(one, Kept(self, goal, node, either))
        return node

    # -- tests

    def _comparison(self, rule: Operation, goal: Goal) -> int | None:
        if rule.name not in EQUALITIES and rule.name not in RELATIONS and rule.name != "in":
            return None
        if len(rule.operands) != 2:
            return None
        true, false = goal.constant(True), goal.constant(False)
        left, right = rule.operands
        if rule.name == "in":
            return self._in(rule, left, right, true, false)
        known = self._known(right)
        slot, name = self.slot(left), rule.name
        if known is None or slot is None:
            known, slot, name = self._known(left), self.slot(right), TURNED.get(rule.name, rule.name)
        value = None if known is None else known[0]
        if known is None or slot is None or isinstance(value, tuple):
            return None
        if name in RELATIONS:
            return self._order(rule, slot, name, value, true, false)
        strict, negative = EQUALITIES[name]
        if negative:
            true, false = false, true
        if strict:
            return self.same(slot, value, true, false)
        return self._equal(rule, slot, value, true, false)

    def same(self, slot: int, value: Single, true: int, false: int) -> int:
        """Strictly equal."""
        if value is None:
            return self.graph.test(Op.EQ_NULL, slot, None, Led(true, false, false, true))
        led = Led(true, false, false, false)
        if isinstance(value, bool):
            return self.graph.test(Op.EQ_BOOL, slot, value, led)
        if isinstance(value, str):
            return self.graph.test(Op.EQ_STRING, slot, value, led)
        return self.graph.test(Op.EQ_NUMBER, slot, value, led)

    def _equal(self, rule: Rule, slot: int, value: Single, true: int, false: int) -> int | None:
        """Loosely equal: null equals null, 0 and false; text equals what its number equals."""
        graph = self.graph
        if isinstance(value, str):
            if number_in(value) == number_in(value):
                return None
            return self.same(slot, value, true, false)
        if value is None:
            node = graph.test(Op.EQ_NUMBER, slot, 0.0, Led(true, false, false, false))
            node = graph.test(Op.EQ_BOOL, slot, False, Led(true, false, node, false))
            return graph.test(Op.EQ_NULL, slot, None, Led(true, node, node, true))
        number = float(value) if isinstance(value, bool | float) else 0.0
        nothing = true if number == 0 else false
        negative = isinstance(rule, Operation) and EQUALITIES[rule.name][1]
        rest = self.truth(false, true) if negative else self.truth(true, false)
        node = graph.test(Op.EQ_NULL, slot, None, Led(nothing, rest.computed(rule), self.failed, nothing))
        flag = Led(true, false, node, nothing)
        if number in (0.0, 1.0):
            node = graph.test(Op.EQ_BOOL, slot, bool(number), flag)
        else:
            node = graph.test(Op.EQ_BOOL, slot, True, Led(false, false, node, nothing))
        return graph.test(Op.EQ_NUMBER, slot, number, Led(true, false, node, nothing))

    def _order(self, rule: Rule, slot: int, name: str, value: Single, true: int, false: int) -> int | None:
        """Of two texts their order is one of UTF-16 units, which no test knows."""
        if isinstance(value, str):
            return None
        number = float(value) if isinstance(value, bool | float) else 0.0
        timed = self.builder.slots[slot] == TIME  # a number, always
        rest = self.failed if timed else self.truth(true, false).computed(rule)
        return self.graph.test(
            Op.ORDER_NUMBER, slot, number, Led(true, false, rest, rest), relation=RELATIONS[name]
        )

    def _in(self, rule: Rule, item: Rule, place: Rule, true: int, false: int) -> int | None:
        known = self._known(place)
        if known is not None:
            slot = self.slot(item)
            if slot is None or not isinstance(known[0], tuple):
                return None
            values = [one for one in known[0] if not isinstance(one, tuple)]
            return self._one_of(slot, values, true, false)
        sought, slot = self._known(item), self.slot(place)
        if sought is None or slot is None or not isinstance(sought[0], str) or not sought[0]:
            return None
        rest = self.truth(true, false).computed(rule)
        node = self.graph.test(Op.EQ_STRING, slot, sought[0], Led(true, false, rest, false), any_element=True)
        return self.graph.test(Op.STRING_CONTAINS, slot, sought[0], Led(true, false, node, false))

    def _one_of(self, slot: int, values: list[Single], true: int, false: int) -> int | None:
        texts = tuple(dict.fromkeys(value for value in values if isinstance(value, str)))
        others = [value for value in values if not isinstance(value, str)]
        if len(texts) > OPERANDS_MAX or len(others) > ITEMS_MAX:
            return None
        node = false
        for value in reversed(others):
            node = self.same(slot, value, true, node)
        if not texts:
            return node
        return self.graph.test(Op.STRING_IN, slot, texts, Led(true, node, node, node))

    def _text_test(self, rule: Operation, goal: Goal) -> int | None:
        if len(rule.operands) != 2:
            return goal.constant(None)
        slot, known = self.slot(rule.operands[0]), self._known(rule.operands[1])
        if slot is None or known is None:
            return None
        null = goal.constant(None)
        if not isinstance(known[0], str):
            return null
        op = Op.STRING_STARTS if rule.name == "starts_with" else Op.STRING_ENDS
        led = Led(goal.constant(True), goal.constant(False), null, null)
        return self.graph.test(op, slot, known[0], led)

    # -- fractional

    def _fractional(self, rule: Operation, goal: Goal) -> int | None:
        """Names and weights that are constants; what is hashed is text, made of constants and looks."""
        operands = rule.operands
        if self.writer.hashing != "v2" or not operands:
            return None
        given = operands[0] if not isinstance(operands[0], Items) else None
        flat = flat_entries(operands if given is None else operands[1:])
        values = None if flat is None else constants(flat)
        if values is None or any(isinstance(value, tuple) for value in values):
            return None
        null = goal.constant(None)
        weights = values[1::2]
        if not all(isinstance(one, float) and one.is_integer() for one in weights):
            return null
        widths = [int(max(one, 0)) for one in weights if isinstance(one, float)]
        total = sum(widths)
        if not 0 < total <= WEIGHTS_MAX:
            return null
        parts = self._hashed(given)
        if parts is None:
            return None
        pieces = tuple(
            Piece(PieceKind.LITERAL, part) if isinstance(part, str) else Piece(PieceKind.TEXT, slot=part)
            for part in parts
        )
        shares = [(width, goal.constant(name)) for width, name in zip(widths, values[::2], strict=True)]
        node = self.graph.draw(pieces, total, shares, null, split=self.split)
        if given is None:
            key = self.builder.slot(Slot(Source.MEMBER, TARGETING_KEY))
            return self.graph.test(Op.STRING_IN, key, ("",), Led(null, node, null, null))
        slots = dict.fromkeys(part for part in parts if isinstance(part, int))
        if slots and not isinstance(given, Look):  # of what has no text of its own, the list's is joined
            draws = self.writer.draws
            rest = goal.computed(rule)
            self.writer.draws = draws  # of usual keys the draw is seen
            for slot in slots:
                node = self.graph.test(Op.TEXT_STARTS, slot, "", Led(node, rest, rest, node))
        for slot in slots if isinstance(given, Look) else ():
            node = self.graph.test(Op.STRING_STARTS, slot, "", Led(node, null, null, null))
        return node

    def _hashed(self, given: Rule | None) -> list[str | int] | None:
        """Texts and slots whose texts are joined and hashed; None where it can't be said so."""
        if given is None:
            return [self.key, self.builder.slot(Slot(Source.MEMBER, TARGETING_KEY))]
        joined: tuple[Rule, ...] = (given,)
        if isinstance(given, Operation) and given.name == "cat":
            if given.bare and not isinstance(given.operands[0], Constant):  # joins the items of a list
                return None
            joined = given.operands
        parts: list[str | int] = []
        for one in joined:
            known = self._known(one)
            slot = self.slot(one) if known is None else None
            if known is not None and isinstance(known[0], str):
                parts.append(known[0])
            elif slot is not None:
                parts.append(slot)
            else:
                return None
        return parts


class Truth:
    """A goal that only asks whether the value is truthy."""

    def __init__(self, branches: Branches, true: int, false: int) -> None:
        self._branches = branches
        self._true, self._false = true, false

    def constant(self, value: Value) -> int:
        return self._true if truth(list(value) if isinstance(value, tuple) else value) else self._false

    def computed(self, rule: Rule) -> int:
        at, failed = self._branches, self._branches.failed
        own = isinstance(rule, Operation) and rule.name in TRUTHS
        slot = at.writer.slot(rule, truth=not own)
        node = at.graph.test(Op.EQ_BOOL, slot, True, Led(self._true, self._false, failed, failed))
        looked = at.slot(rule) if isinstance(rule, Look) else None
        if looked is None:
            return node
        return at.graph.test(Op.EQ_BOOL, looked, True, Led(self._true, self._false, node, self._false))


class Kept:
    """A goal of all operands of `and` and `or` but the last: a value that decides is the rule's own, another leads
    on."""

    def __init__(self, branches: Branches, goal: Goal, on: int, kept: bool) -> None:
        self._branches = branches
        self._goal = goal
        self._on = on
        self._kept = kept

    def constant(self, value: Value) -> int:
        found = truth(list(value) if isinstance(value, tuple) else value)
        return self._goal.constant(value) if found is self._kept else self._on

    def computed(self, rule: Rule) -> int:
        own = self._goal.computed(rule)
        true, false = (own, self._on) if self._kept else (self._on, own)
        return self._branches.truth(true, false).computed(rule)
