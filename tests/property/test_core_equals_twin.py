"""The compiled core and the plain-Python twin give the same outcome and bucket, whatever the program."""

from __future__ import annotations

import itertools
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from fanion._core.evaluate import Bundle
from fanion.bundle.compiler import compile_bundle
from fanion.engine.reference import bind, choose, trace
from fanion.model import program as p
from fanion.model.context import EvaluationContext
from fanion.model.parts import Piece, PieceKind
from tests.property.programs import Maker, answer_external
from tests.rounds import rounds

PROGRAMS = rounds(150, 1_000, "PROPERTY_PROGRAMS")
CONTEXTS = 25
"""Per program: 1,000 × 25 = 25,000 contexts, each run through every decision of its program."""


@settings(max_examples=PROGRAMS)
@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_core_and_twin_agree_on_random_programs_and_contexts(source: random.Random) -> None:
    make = Maker(random.Random(source.getrandbits(64)))
    lowered = make.lowered()
    bundle = Bundle(compile_bundle(lowered, {}), answer_external)
    for _ in range(CONTEXTS):
        context = make.context()
        typed = tuple((c.type, c.key, c.attributes) for c in context.contexts)
        question = bundle.ask(context.members, context.attributes, typed)
        for number in range(len(lowered.decisions)):
            expected, chosen = choose(lowered, number, context, answer_external)
            assert question.evaluate(number) == expected, (lowered.decisions, context)
            choice, probability, vector = question.choose(number)
            assert (choice, repr(probability)) == (chosen.choice, repr(chosen.probability)), lowered.decisions
            if vector < 0:
                assert chosen.vector is None
            else:
                assert chosen.vector is not None
                weights = list(chosen.vector.weights)
                assert bundle.vector(vector) == (chosen.vector.key, weights, chosen.vector.note)


ENDS = (p.Outcome(p.Resolution.MATCHED), p.Outcome(p.Resolution.DEFAULT))
KEYS = (p.Source.CONTEXT_KEY, p.Source.CONTEXT_KEYS)
"""Sources that look nothing up by a slot's name."""


def slot_kind(slot: p.Slot) -> tuple[p.Source, str, bool, p.Profile]:
    if slot.source in KEYS:
        return slot.source, "none", False, slot.profile
    return slot.source, "dots" if "." in slot.name else "word", slot.dotted, slot.profile


def way_found(slot: p.Slot, context: EvaluationContext) -> str:
    """Whether a slot's value is missing, stands under the whole name, or was walked to."""
    if bind(slot, context).kind is p.Kind.MISSING:
        return "missing"
    plain = p.Slot(slot.source, slot.name, slot.context_type, dotted=False, profile=slot.profile)
    return "walked" if bind(plain, context).kind is p.Kind.MISSING else "whole"


SEEDS, SEEDS_THAT_READ_EVERY_KIND = rounds(250, 2_000), 2_000


def test_random_programs_read_every_kind_of_slot_and_the_core_agrees_on_each() -> None:
    """Counts, over fixed seeds, the slots that runs really read: source × path × look-up × profile × way found."""
    read: Counter[tuple[tuple[p.Source, str, bool, p.Profile], str]] = Counter()
    for seed in range(SEEDS):
        make = Maker(random.Random(seed))
        lowered = make.lowered()
        bundle = Bundle(compile_bundle(lowered, {}), answer_external)
        for _ in range(3):
            context = make.context()
            typed = tuple((c.type, c.key, c.attributes) for c in context.contexts)
            for number in range(len(lowered.decisions)):
                expected, path = trace(lowered, number, context, answer_external)
                assert bundle.evaluate(number, context.members, context.attributes, typed) == expected
                for decision, at in path:
                    node = lowered.decisions[decision].nodes[at]
                    if isinstance(node, p.Test) and node.slot >= 0:
                        slot = lowered.slots[node.slot]
                        if slot.source is p.Source.COMPUTED:
                            continue
                        read[slot_kind(slot), way_found(slot, context)] += 1
    looked_up = [source for source in p.Source if source not in (*KEYS, p.Source.COMPUTED)]
    kinds = set(itertools.product(looked_up, ("word", "dots"), (False, True), p.Profile))
    kinds |= {(source, "none", False, profile) for source in KEYS for profile in p.Profile}
    expected_ways = {(kind, way) for kind in kinds for way in ("missing", "whole")}
    expected_ways |= {(kind, "walked") for kind in kinds if kind[1] == "dots" and kind[2]}
    assert read.keys() <= expected_ways
    if SEEDS >= SEEDS_THAT_READ_EVERY_KIND:
        assert read.keys() == expected_ways
        assert min(read.values()) >= 2, read.most_common()[-3:]


def test_a_dotted_slot_of_a_member_walks_into_it() -> None:
    for source in (p.Source.MEMBER, p.Source.MEMBER_OR_ATTRIBUTE):
        slots = (p.Slot(source, "a.b", dotted=True), p.Slot(source, "a.b"))
        present = tuple(
            p.Decision(f"d{n}", (p.Test(p.Op.PRESENT, n, None, 1, 2, 2, 2), *ENDS)) for n in range(2)
        )
        bundle = Bundle(compile_bundle(p.Lowered("env", slots, present), {}))
        assert [bundle.evaluate(n, {"a": {"b": 1}}, {}, None)[0] for n in range(2)] == [0, 1]


def test_pieces_at_the_stack_s_bound_are_put_together_as_the_twin_does() -> None:
    """512 bytes stand on the stack; what is longer, in scratch space, which is measured first."""
    slots = (p.Slot(p.Source.MEMBER, "unit"), p.Slot(p.Source.MEMBER, "other"))
    pieces = (
        Piece(PieceKind.TEXT, slot=0),
        Piece(PieceKind.BYTE_LENGTH, slot=1),
        Piece(PieceKind.LITERAL, ":" * 20),
        Piece(PieceKind.TEXT, slot=1),
    )
    hashed = p.Hash(p.HashKind.XXH64, pieces, p.Reduction.MODULO, 100_000, 1)
    halves = p.Ranges((p.Range(0, 49_999, 2),), 3)
    lowered = p.Lowered("env", slots, (p.Decision("d", (hashed, halves, *ENDS)),))
    bundle = Bundle(compile_bundle(lowered, {}))
    found = set()
    for first, other in itertools.product(
        (0, *range(440, 530), 2_000), (None, "", "z", "z" * 9, "z" * 511, "z" * 600)
    ):
        members = {"unit": "é" + "y" * first} | ({} if other is None else {"other": other})
        expected, _ = choose(lowered, 0, EvaluationContext(members, {}, ()))
        assert bundle.evaluate(0, members, {}, ()) == expected, (first, other)
        found.add(expected)
    assert len(found) > 400
