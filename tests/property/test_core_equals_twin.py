"""The compiled core and the plain-Python twin give the same outcome and bucket, whatever the program."""

from __future__ import annotations

import os
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from fanion._core.evaluate import Bundle
from fanion.bundle.compiler import compile_bundle
from fanion.engine.reference import choose
from tests.property.programs import Maker, answer_external

PROGRAMS = int(os.environ.get("PROPERTY_PROGRAMS", "1000"))
CONTEXTS = 25
"""Per program: 1,000 × 25 = 25,000 contexts, each run through every decision of its program."""


@settings(max_examples=PROGRAMS, deadline=None, print_blob=True)
@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_core_and_twin_agree_on_random_programs_and_contexts(source: random.Random) -> None:
    make = Maker(random.Random(source.getrandbits(64)))
    lowered = make.lowered()
    bundle = Bundle(compile_bundle(lowered, {}), answer_external)
    for _ in range(CONTEXTS):
        context = make.context()
        typed = tuple((c.type, c.key, c.attributes) for c in context.contexts)
        for number in range(len(lowered.decisions)):
            expected, chosen = choose(lowered, number, context, answer_external)
            found = bundle.evaluate(number, context.members, context.attributes, typed)
            assert found == expected, (lowered.decisions, context)
            choice, probability, vector = bundle.chosen()
            assert (choice, repr(probability)) == (chosen.choice, repr(chosen.probability)), lowered.decisions
            if vector < 0:
                assert chosen.vector is None
            else:
                assert chosen.vector is not None
                weights = list(chosen.vector.weights)
                assert bundle.vector(vector) == (chosen.vector.key, weights, chosen.vector.note)
