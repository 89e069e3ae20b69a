"""Broken stitchd definitions are refused with problems, or compile and answer; nothing else ever happens."""

from __future__ import annotations

import copy
import os
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fanion.model.context import TypedContext
from tests.property.test_stitchd_lowering import FLAGS, Maker
from tests.unit.stitchd_worlds import World

MUTANTS = int(os.environ.get("PROPERTY_PROGRAMS", "1000")) // 2
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


def places(document: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    found: list[tuple[Any, Any]] = []
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        found.append((document, key))
        if isinstance(value, dict | list):
            found += places(value)
    return found


def mutate(chance: random.Random, document: Any) -> None:
    container, key = chance.choice(places(document))
    pick = chance.randrange(5)
    if pick == 0 and isinstance(container, dict):
        del container[key]
    elif pick == 1 and isinstance(container, dict):
        container[f"{key}x"] = container.pop(key)
    elif pick == 2:
        other, other_key = chance.choice(places(document))
        container[key] = copy.deepcopy(other[other_key])
    else:
        container[key] = copy.deepcopy(chance.choice(JUNK))


@settings(max_examples=MUTANTS, deadline=None, print_blob=True)
@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_mutated_definitions_are_refused_or_answer(source: random.Random) -> None:
    chance = random.Random(source.getrandbits(64))
    make = Maker(chance)
    flags: Any = [make.flag(key, FLAGS[:number]) for number, key in enumerate(FLAGS)]
    document: dict[str, Any] = {"flags": flags, **make.segments()}
    for _ in range(chance.randrange(1, 4)):
        mutate(chance, document)
    world = World(document)
    assert all("\n" not in problem and len(problem) < 2_000 for problem in world.problems)
    if not world.problems:
        contexts = [TypedContext(*context) for context in make.contexts()]
        for decision in range(len(world.lowered.decisions)):
            world.decide(decision, *contexts)
