"""Broken stitchd definitions are refused with problems, or compile and answer; nothing else ever happens."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fanion.model.context import TypedContext
from tests.fuzz.document_mutants import mutate
from tests.property.test_stitchd_lowering import FLAGS, Maker
from tests.rounds import rounds
from tests.unit.stitchd_worlds import World

MUTANTS = rounds(200, 1_000, "PROPERTY_PROGRAMS") // 2
JUNK: list[Any] = [
    None,
    True,
    0,
    -1,
    2**63,
    10**400,
    1.5,
    "",
    "x",
    "user",
    [],
    {},
    [[]],
    {"op": "Eq"},
    {"op": []},
]
JUNK += [{"Leaf": {"Eq": None}}, {"And": {}}, {"op": "And", "children": None}, "\ud800", "x" * 70_000]


@settings(max_examples=MUTANTS)
@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_mutated_definitions_are_refused_or_answer(source: random.Random) -> None:
    chance = random.Random(source.getrandbits(64))
    make = Maker(chance)
    flags: Any = [make.flag(key, FLAGS[:number]) for number, key in enumerate(FLAGS)]
    document: dict[str, Any] = {"flags": flags, **make.segments()}
    for _ in range(chance.randrange(1, 4)):
        mutate(chance, document, JUNK)
    world = World(document)
    assert all("\n" not in problem and len(problem) < 2_000 for problem in world.problems)
    if not world.problems:
        contexts = [TypedContext(*context) for context in make.contexts()]
        for decision in range(len(world.lowered.decisions)):
            world.decide(decision, *contexts)
