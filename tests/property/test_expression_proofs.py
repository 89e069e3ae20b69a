"""Bent steps: the proof of a mapped bundle and the plain one refuse the same; what passes runs to an end."""

from __future__ import annotations

import random
import struct

import pytest
import xxhash

from fanion._core.evaluate import Bundle
from fanion.bundle import format as f
from fanion.bundle.compiler import compile_bundle
from fanion.bundle.format import Section
from fanion.bundle.reader import BundleReader
from fanion.definitions.lowering.builder import Builder
from fanion.errors import ProgramError
from fanion.model import program as p
from fanion.model.expression import Step, StepOp
from fanion.model.expression_proof import depth_of
from tests.property.expressions import NAMES, ExpressionMaker, draw_attributes
from tests.rounds import rounds

BENT = rounds(1_000, 5_000, "EXPRESSION_BENT")
SEED = 11


def a_bundle(source: random.Random) -> tuple[bytes, int]:
    builder = Builder("env")
    for name in NAMES:
        builder.slot(p.Slot(p.Source.ATTRIBUTE, name))
    slots: list[int] = []
    while len(slots) < 3:
        steps = ExpressionMaker(source, len(builder.slots)).steps()
        if 2 <= len(steps) <= 40:
            try:
                slots.append(builder.computed(steps))
            except ValueError:
                continue
    for slot in slots:
        nodes: list[p.Node] = [p.Test(p.Op.EQ_NULL, slot, None, 1, 1, 1, 1), p.Outcome(p.Resolution.MATCHED)]
        builder.decision(f"d{slot}", nodes)
    return compile_bundle(builder.finish(), {}), len(slots)


def is_sound(bent: bytes) -> bool:
    """What the plain proof says of every expression of a bundle."""
    try:
        slots = BundleReader(bent).program().slots
        depths: list[int] = []
        for number, slot in enumerate(slots):
            depths.append(depth_of(slot.steps, number, depths) if slot.source is p.Source.COMPUTED else 0)
    except (ValueError, IndexError, RecursionError):
        return False
    return True


def test_both_proofs_refuse_the_same_bent_steps() -> None:
    refused = ran = 0
    source = random.Random(SEED)
    whole, count = a_bundle(source)
    for number in range(BENT):
        if number % 50 == 0:
            whole, count = a_bundle(source)
        bent = bytearray(whole)
        offset, steps, size = f.SECTION.unpack_from(bent, f.HEADER.size + f.SECTION.size * Section.STEPS)
        for _ in range(source.choice([1, 1, 2, 5])):
            at = offset + size * source.randrange(steps)
            op, operand = f.STEP.unpack_from(bent, at)
            if source.random() < 0.4:
                op = source.choice([*StepOp, len(StepOp), 255])
            else:
                near = [
                    (operand + 1) % 2**31,
                    operand - 1,
                    0,
                    1,
                    2,
                    3,
                    -1,
                    31,
                    33,
                    2**31 - 1,
                    source.randrange(steps),
                ]
                operand = source.choice([*near, source.randrange(steps)])
            f.STEP.pack_into(bent, at, op, operand)
        struct.pack_into("<Q", bent, 24, xxhash.xxh64_intdigest(bytes(bent[32:])))
        sound = is_sound(bytes(bent))
        try:
            bundle = Bundle(bytes(bent))
        except ValueError as error:
            # Soundly bent, a load may lead to another depth than the bundle says.
            if sound and "too deep" not in str(error):
                pytest.fail(str(error))
            refused += 1
            continue
        assert sound, BundleReader(bytes(bent)).program().slots
        ran += 1
        for decision in range(count):
            bundle.evaluate(decision, {"targetingKey": "u"}, draw_attributes(source), ())
    assert min(refused, ran) > BENT // 10


def test_a_slot_that_breaks_a_rule_is_refused_with_its_step_named() -> None:
    slots = (p.Slot(p.Source.COMPUTED, "", steps=(Step(StepOp.CONSTANT, value=1), Step(StepOp.ADD))),)
    with pytest.raises(ProgramError, match="environment env: slot 0: step 1: takes 2 values of 1"):
        compile_bundle(p.Lowered("env", slots), {})
    with pytest.raises(ProgramError, match="slot 0: COMPUTED with 0 steps; steps of computed slots"):
        compile_bundle(p.Lowered("env", (p.Slot(p.Source.COMPUTED, ""),)), {})
    huge = (p.Slot(p.Source.COMPUTED, "", steps=(Step(StepOp.CONSTANT, value=10**400),)),)
    with pytest.raises(ProgramError, match="numbers that a double holds"):
        compile_bundle(p.Lowered("env", huge), {})
