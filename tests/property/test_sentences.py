"""Rules as sentences say what the program does: read from the top, the first that holds is where a run ends."""

from __future__ import annotations

import os
import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fanion.bundle.sentences import DRAWN, NAMES, Sentences
from fanion.engine.reference import evaluate, trace
from fanion.model.context import EvaluationContext
from fanion.model.program import Hash, Lowered, Outcome, Resolution
from fanion.model.program import Test as Asked
from tests.property.programs import Maker, answer_external

PROGRAMS = int(os.environ.get("SENTENCES_PROGRAMS", "300"))
CONTEXTS = 10
ENDS = tuple(Outcome(Resolution.MATCHED) for _ in NAMES)


def exit_of(lowered: Lowered, decision: int, number: int, context: EvaluationContext) -> str:
    """The one that a node takes, asked by itself."""
    node = lowered.decisions[decision].nodes[number]
    if isinstance(node, Asked):
        node, names = msgspec.structs.replace(node, on_true=1, on_false=2, on_missing=3, on_mismatch=4), NAMES
    else:
        assert isinstance(node, Hash)
        node, names = (
            msgspec.structs.replace(node, on_done=1, on_missing=2 if node.on_missing >= 0 else -1),
            DRAWN,
        )
    alone = msgspec.structs.replace(lowered.decisions[decision], nodes=(node, *ENDS))
    decisions = (*lowered.decisions[:decision], alone)
    changed = msgspec.structs.replace(lowered, decisions=decisions)
    return names[evaluate(changed, decision, context, answer_external).outcome]


def read(lowered: Lowered, decision: int, context: EvaluationContext) -> None:
    """As a person does, beside the run itself."""
    nodes = lowered.decisions[decision].nodes
    _, path = trace(lowered, decision, context, answer_external)
    visited = [number for where, number in path if where == decision]
    for ways, number in Sentences(lowered, decision, whole=True).statements():
        holds = any(
            all(exit_of(lowered, decision, at, context) in exits for at, exits in way.literals)
            for way in ways
        )
        if not holds or (number not in visited and was_drawn(visited, number, nodes)):
            continue
        assert number in visited, (nodes, ways, number, visited)
        if isinstance(nodes[number], Outcome):
            assert number == visited[-1]
            return
        if isinstance(nodes[visited[visited.index(number) + 1]], Outcome):
            return
    raise AssertionError(f"no sentence holds: {nodes}, {visited}")


def was_drawn(visited: list[int], number: int, nodes: tuple[object, ...]) -> bool:
    """A draw that goes on to several places: which of them is not in the sentences' conditions."""
    return any(not isinstance(nodes[one], Asked | Hash | Outcome) and one < number for one in visited)


@settings(max_examples=PROGRAMS)
@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_the_first_sentence_that_holds_is_where_a_run_ends(source: random.Random) -> None:
    make = Maker(random.Random(source.getrandbits(64)))
    lowered = make.lowered()
    for _ in range(CONTEXTS):
        context = make.context()
        for number in range(len(lowered.decisions)):
            read(lowered, number, context)


@settings(max_examples=PROGRAMS)
@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_every_program_has_sentences(source: random.Random) -> None:
    lowered = Maker(random.Random(source.getrandbits(64))).lowered()
    for number in range(len(lowered.decisions)):
        for sentence in Sentences(lowered, number).all():
            assert sentence.ways
            assert all(isinstance(text, str) and text for way in sentence.ways for text in way)
            assert (sentence.outcome is None) is bool(sentence.shares)
