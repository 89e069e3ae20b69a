"""Outcomes that are told apart by the splits before them: the same answers, and the splits that a run met."""

from __future__ import annotations

import contextlib
import random
from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fanion.definitions.lowering.spread import Crowded, spread
from fanion.engine.reference import trace
from fanion.model import program as p
from fanion.model.context import EvaluationContext
from tests.property.programs import Maker, answer_external
from tests.rounds import rounds


def met(
    nodes: tuple[p.Node, ...], path: list[int], marks: dict[int, int], bucket: int
) -> tuple[p.Reached, ...] | None:
    """What the path met; None where a step can't be read from it: a range and none of them lead to one node."""
    found: dict[int, bool] = {}
    for at, to in pairwise(path):
        node = nodes[at]
        if at not in marks:
            continue
        inside = True
        if isinstance(node, p.Ranges):
            inside = to in {one.target for one in node.ranges}
            if inside and to == node.on_none:
                return None
        elif isinstance(node, p.KeyedWeights):
            if to == node.on_none and to in node.targets:
                return None
            if to == node.on_none:
                continue
        found[marks[at]] = inside or found.get(marks[at], False)
    return tuple(p.Reached(split, found[split]) for split in sorted(found))


@settings(max_examples=rounds(80, 400))
@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_a_decision_that_is_spread_answers_the_same_and_says_which_splits_were_met(
    source: random.Random,
) -> None:
    make = Maker(random.Random(source.getrandbits(64)))
    lowered = make.lowered()
    for number, decision in enumerate(lowered.decisions):
        plain = p.Decision(decision.key, tuple(without(node) for node in decision.nodes))
        marks = {at: make.r.randrange(3) for at in make.draws(plain)}
        with contextlib.suppress(Crowded):
            check(make, replaced(lowered, number, plain), number, marks)


def without(node: p.Node) -> p.Node:
    return msgspec.structs.replace(node, reached=()) if isinstance(node, p.Outcome) else node


def replaced(lowered: p.Lowered, number: int, decision: p.Decision) -> p.Lowered:
    decisions = list(lowered.decisions)
    decisions[number] = decision
    return msgspec.structs.replace(lowered, decisions=tuple(decisions))


def check(make: Maker, lowered: p.Lowered, number: int, marks: dict[int, int]) -> None:
    decision = lowered.decisions[number]
    nodes, origins = spread(list(decision.nodes), marks)
    doubled = replaced(lowered, number, p.Decision(decision.key, tuple(nodes)))
    for _ in range(10):
        context: EvaluationContext = make.context()
        result, path = trace(lowered, number, context, answer_external)
        found, way = trace(doubled, number, context, answer_external)
        own = [at for one, at in path if one == number]
        copies = [at for one, at in way if one == number]
        assert [origins[at] for at in copies] == own
        assert found.bucket == result.bucket
        end = nodes[copies[-1]]
        assert isinstance(end, p.Outcome)
        assert without(end) == decision.nodes[own[-1]]
        expected = met(decision.nodes, own, marks, result.bucket)
        assert expected is None or end.reached == expected


def test_out_of_the_bucket_and_unmatched_are_two_outcomes_though_one_node_answers_both() -> None:
    nodes: list[p.Node] = [
        p.Test(p.Op.PRESENT, 0, None, 1, 3, 3, 3),
        p.Ranges((p.Range(0, 4, 2), p.Range(5, 6, 3)), 3),
        p.Outcome(p.Resolution.SPLIT, 1),
        p.Outcome(p.Resolution.DEFAULT, 0),
    ]
    made, origins = spread(nodes, {1: 0})
    assert origins == [0, 1, 2, 3, 3, 3]
    ends = [node.reached for node in made if isinstance(node, p.Outcome)]
    assert ends == [(p.Reached(0, True),), (), (p.Reached(0, True),), (p.Reached(0, False),)]
    assert spread(nodes, {}).nodes == nodes
