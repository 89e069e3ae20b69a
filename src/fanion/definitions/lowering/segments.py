"""Segments as decisions: whoever asks one with DECISION_IS looks for the variant MEMBER."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fanion.definitions.lowering.assembler import Assembler
from fanion.definitions.lowering.conditions import Tree, emit
from fanion.model.program import Node, Outcome, Resolution

MEMBER: Final = 1
OTHER: Final = 0
"""Variant numbers of a segment's decision."""


def membership(tree: Tree) -> list[Node]:
    """The nodes of a segment's decision: variant MEMBER where the tree is true, else OTHER."""
    code: Assembler[None] = Assembler()
    member, other = code.label(), code.label()
    if not isinstance(tree, bool):
        emit(code, tree, member, other)
    if tree is not False:
        code.place(member)
        code.outcome(None, Resolution.MATCHED, MEMBER)
    if tree is not True:
        code.place(other)
        code.outcome(None, Resolution.DEFAULT, OTHER)
    nodes, _ = code.finish()
    return nodes


def member_outcome(nodes: Iterable[Node]) -> int:
    """Which outcome of a segment's decision means "member"; -1: none."""
    outcomes = [node for node in nodes if isinstance(node, Outcome)]
    return next((number for number, one in enumerate(outcomes) if one.variant == MEMBER), -1)
