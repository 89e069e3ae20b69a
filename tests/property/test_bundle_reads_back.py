"""What the compiler writes, the inspector reads back: the same slots, decisions and tables."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fanion.bundle.compiler import compile_bundle
from fanion.bundle.describe import describe
from fanion.bundle.reader import BundleReader
from fanion.model import program as p
from fanion.model.expression import Constant
from fanion.model.parts import Piece, PieceKind
from tests.property.programs import Maker
from tests.rounds import rounds


def plain(node: Any) -> Any:
    """A node without what a bundle doesn't keep: order and repeats in sets, a zero's sign, members its kind doesn't
    use."""
    if isinstance(node, p.Test):
        operand = node.operand
        if node.op in (p.Op.STRING_IN, p.Op.TEXT_IN):
            operand = tuple(sorted(set(operand)))  # type: ignore[arg-type]
        elif operand == 0.0 and isinstance(operand, float):
            operand = 0.0
        return msgspec.structs.replace(node, operand=operand)
    if isinstance(node, p.Hash):
        pieces = tuple(
            Piece(one.kind, one.literal) if one.kind is PieceKind.LITERAL else Piece(one.kind, slot=one.slot)
            for one in node.pieces
        )
        return msgspec.structs.replace(node, pieces=pieces)
    return node


def plain_slot(slot: p.Slot) -> p.Slot:
    """A slot whose steps' numbers are doubles, as a bundle keeps them."""
    steps = tuple(
        msgspec.structs.replace(step, operand=int(step.operand), value=plain_value(step.value))
        for step in slot.steps
    )
    return msgspec.structs.replace(slot, steps=steps)


def plain_value(value: Constant) -> Constant:
    if isinstance(value, tuple):
        return tuple(map(plain_value, value))
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@settings(max_examples=rounds(50, 200))
@given(st.integers(0, 2**32))
def test_a_compiled_program_reads_back_the_same(seed: int) -> None:
    lowered = Maker(random.Random(seed)).lowered()
    found = BundleReader(compile_bundle(lowered, {})).program()
    assert [repr(plain_slot(one)) for one in found.slots] == [repr(plain_slot(one)) for one in lowered.slots]
    for one, other in zip(found.decisions, lowered.decisions, strict=True):
        assert one.key == other.key
        assert [repr(plain(n)) for n in one.nodes] == [repr(plain(n)) for n in other.nodes]
        assert len(describe(one, found.slots)) == len(one.nodes)


def test_documents_and_identifiers_read_back() -> None:
    lowered = p.Lowered("env", documents={"config": b"{}"}, identifiers={"a": {"environment": "e"}})
    found = BundleReader(compile_bundle(lowered, {})).program()
    assert (found.documents, found.identifiers) == (lowered.documents, lowered.identifiers)
