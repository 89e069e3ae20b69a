"""The compiled core and the plain-Python twin compute the same value of a slot, whatever its steps and the context.

`EXPRESSION_TREES` says how many (tree, context) pairs; a failure names its seed, which
`EXPRESSION_SEED` takes in.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections import Counter
from typing import Any, ClassVar

import pytest

from fanion._core.evaluate import Bundle
from fanion.bundle.compiler import compile_bundle
from fanion.definitions.lowering.builder import Builder
from fanion.engine import expression
from fanion.engine.reference import evaluate
from fanion.model import program as p
from fanion.model.context import EvaluationContext
from fanion.model.expression import ARENA_BYTES_MAX, BUDGET, StepOp
from fanion.model.parts import Piece, PieceKind
from tests.property.expressions import NAMES, ExpressionMaker, draw_attributes
from tests.rounds import rounds

TREES = rounds(1_000, 100_000, "EXPRESSION_TREES")
SEED = int(os.environ.get("EXPRESSION_SEED", "0"))
SLOTS, CONTEXTS = 25, 10
"""Expressions of one program, each run on so many contexts."""


def showing(slot: int) -> list[p.Node]:
    """Nodes whose outcome is the kind of a slot's value, and whose bucket is the hash of its text."""
    text = (Piece(PieceKind.TEXT, slot=slot),)
    kinds = [
        (p.Op.EQ_NULL, None, True),
        (p.Op.EQ_BOOL, True, False),
        (p.Op.ORDER_DOUBLE, 0.0, False),
        (p.Op.EQ_STRING, "", False),
    ]
    nodes: list[p.Node] = [p.Hash(p.HashKind.MURMUR3_32, text, p.Reduction.SCALE32, 2**31, 1, 1)]
    after = len(kinds) + 1
    for number, (op, operand, exact) in enumerate(kinds, 1):
        following = number + 1 if number < len(kinds) else after + 2 * len(kinds)
        yes, no = after + 2 * (number - 1), after + 2 * (number - 1) + 1
        false = following if exact else no
        nodes.append(p.Test(op, slot, operand, yes, false, following, following))  # type: ignore[arg-type]
    return [*nodes, *(p.Outcome(p.Resolution.MATCHED) for _ in range(2 * len(kinds) + 1))]


def a_program(source: random.Random) -> p.Lowered:
    builder = Builder("env")
    for name in NAMES:
        builder.slot(p.Slot(p.Source.ATTRIBUTE, name))
    builder.slot(p.Slot(p.Source.MEMBER_OR_ATTRIBUTE, "text"))
    builder.slot(p.Slot(p.Source.ATTRIBUTE, "deep.a.b", dotted=True))
    builder.slot(p.Slot(p.Source.ATTRIBUTE, "list.length", dotted=True))
    builder.slot(p.Slot(p.Source.CONTEXT_KEYS, ""))
    computed = [builder.computed(ExpressionMaker(source, len(NAMES)).heavy_steps())]
    while len(computed) < SLOTS:
        make = ExpressionMaker(source, len(builder.slots) if source.random() < 0.3 else len(NAMES) + 4)
        with contextlib.suppress(ValueError):  # too high a stack, or loads too deep
            computed.append(builder.computed(make.steps()))
    for slot in computed:
        builder.decision(f"d{slot}", showing(slot))
    return builder.finish()


class Counted(expression.Run):
    """A run that is looked at afterwards."""

    made: ClassVar[list[expression.Run]] = []

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.made.append(self)


@pytest.mark.slow
@pytest.mark.timeout(300 + TREES // 100)
def test_core_and_twin_compute_the_same_of_random_steps_and_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expression, "Run", Counted)
    met: Counter[StepOp] = Counter()
    kinds: Counter[int] = Counter()
    passed: Counter[str] = Counter()
    for seed in range(SEED, SEED + -(-TREES // (SLOTS * CONTEXTS))):
        source = random.Random(seed)
        lowered = a_program(source)
        met.update(step.op for slot in lowered.slots for step in slot.steps)
        bundle = Bundle(compile_bundle(lowered, {}))
        for turn in range(CONTEXTS):
            attributes = draw_attributes(source)
            if turn == 0:
                attributes["list"] = source.choice([list(range(1_000)), ["é" * 300] * 200, [[1] * 999] * 40])
            members = draw_attributes(source) if source.random() < 0.2 else {"targetingKey": "u"}
            question = bundle.ask(members, attributes, ())
            context = EvaluationContext(members, attributes)
            for number in range(len(lowered.decisions)):
                expected = evaluate(lowered, number, context)
                kinds[expected.outcome] += 1
                passed["budget"] += any(run.spent > BUDGET for run in Counted.made)
                passed["arena"] += any(run.used > ARENA_BYTES_MAX for run in Counted.made)
                Counted.made.clear()
                found = question.evaluate(number)
                if found != expected:
                    slot = lowered.decisions[number].nodes[1].slot  # type: ignore[union-attr]
                    pytest.fail(
                        f"EXPRESSION_SEED={seed}: core {found}, twin {expected}\n{lowered.slots[slot].steps}\n"
                        f"{members}\n{attributes}"
                    )
    if TREES >= 10_000:
        assert met.keys() == set(StepOp)
        assert kinds.keys() == {0, 2, 3, 4, 5, 6, 7, 8}, kinds
        assert min(passed.values()) >= TREES // 2_500, passed
