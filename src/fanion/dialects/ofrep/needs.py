"""Which flags can't be answered without a targeting key (docs/apis/ofrep.md: Targeting key).

A source whose contexts have a key (`ContextShape.keyed`) can't read any attribute without it. Elsewhere it is a
split that needs somebody to split by: the decisions that hash what the targeting key becomes are named here, and
a request without one finds out whether its way leads to the hash.
"""

from __future__ import annotations

from typing import NamedTuple

from fanion.model.choice import KeyedWeights, Scores
from fanion.model.program import DecisionVariant, Hash, Lowered, Slot, Source, Test
from fanion.model.shape import ContextShape

TYPED = (Source.CONTEXT_KEY, Source.CONTEXT_ATTRIBUTE)


class _Reads(NamedTuple):
    """Slots that a decision reads, those of decisions that it asks included; slots that it hashes itself."""

    read: frozenset[int]
    hashed: frozenset[int]


class Needs:
    """Asked of one environment while it is rendered."""

    def __init__(self, lowered: Lowered) -> None:
        self._lowered = lowered
        self._known: list[_Reads] = []
        for decision in range(len(lowered.decisions)):  # what a decision asks stands before it
            self._known.append(self._look(decision))

    def keyed(self, decision: int, shape: ContextShape) -> bool:
        """Whether the decision reads the context whose key the targeting key is."""
        if not shape.keyed:
            return False
        return any(self._in_own_context(slot, shape) for slot in self._slots(self._known[decision].read))

    def splits(self, decision: int, shape: ContextShape) -> bool:
        """Whether the decision hashes what the targeting key becomes, and has no answer without it."""
        if shape.keyless:
            return False
        return any(_is_subject(slot, shape) for slot in self._slots(self._known[decision].hashed))

    def _slots(self, numbers: frozenset[int]) -> list[Slot]:
        return [self._lowered.slots[number] for number in numbers]

    def _in_own_context(self, slot: Slot, shape: ContextShape) -> bool:
        if slot.source is Source.CONTEXT_KEYS:
            return True
        return slot.source in TYPED and slot.context_type == shape.context_type

    def _look(self, decision: int) -> _Reads:
        read: set[int] = set()
        hashed: set[int] = set()
        for node in self._lowered.decisions[decision].nodes:
            if isinstance(node, Test):
                if isinstance(node.operand, DecisionVariant):
                    read |= self._known[node.operand.decision].read
                elif node.slot >= 0:
                    read.add(node.slot)
            elif isinstance(node, Hash | KeyedWeights):
                hashed.update(piece.slot for piece in node.pieces if piece.slot >= 0)
            elif isinstance(node, Scores):
                read.update(term.slot for one in node.alternatives for term in one.terms)
        return _Reads(frozenset(read | hashed), frozenset(hashed))


def _is_subject(slot: Slot, shape: ContextShape) -> bool:
    if slot.source is Source.ATTRIBUTE:
        return slot.name == shape.unit
    return slot.source in (Source.MEMBER, Source.MEMBER_OR_ATTRIBUTE) and slot.name == shape.subject
