"""Which flags can't be answered without a targeting key (docs/apis/ofrep.md: Targeting key).

A source whose contexts have a key (`ContextShape.keyed`) can't read any attribute without it. Elsewhere it is a
split that needs somebody to split by: the decisions that hash what the targeting key becomes are named here, and
a request without one finds out whether its way leads to the hash.
"""

from __future__ import annotations

from collections.abc import Iterator

from fanion.model.choice import KeyedWeights, Scores
from fanion.model.program import DecisionVariant, Hash, Lowered, Node, Slot, Source, Test
from fanion.model.shape import ContextShape

TYPED = (Source.CONTEXT_KEY, Source.CONTEXT_ATTRIBUTE)


class Needs:
    """Asked of one environment while it is rendered."""

    def __init__(self, lowered: Lowered) -> None:
        self._slots = lowered.slots
        self._decisions = lowered.decisions
        self._read: dict[int, frozenset[int]] = {}
        """Slots that a decision reads, those of decisions that it asks included."""
        self._shape: ContextShape | None = None
        """Whose the subjects are: flags of one source come one after the other."""
        self._subjects: frozenset[int] = frozenset()
        """The slots that the targeting key becomes."""

    def keyed(self, decision: int, shape: ContextShape) -> bool:
        """Whether the decision reads the context whose key the targeting key is."""
        if not shape.keyed:
            return False
        return any(self._in_own_context(self._slots[slot], shape) for slot in self._reads(decision))

    def splits(self, decision: int, shape: ContextShape) -> bool:
        """Whether the decision hashes what the targeting key becomes, and has no answer without it."""
        if shape.keyless:
            return False
        subjects = self._subjects_of(shape)
        for node in self._decisions[decision].nodes:
            if type(node) is Hash or type(node) is KeyedWeights:
                for piece in node.pieces:
                    if piece.slot in subjects:
                        return True
        return False

    def _subjects_of(self, shape: ContextShape) -> frozenset[int]:
        if shape is not self._shape:
            found = (number for number, slot in enumerate(self._slots) if _is_subject(slot, shape))
            self._shape, self._subjects = shape, frozenset(found)
        return self._subjects

    def _in_own_context(self, slot: Slot, shape: ContextShape) -> bool:
        if slot.source is Source.CONTEXT_KEYS:
            return True
        return slot.source in TYPED and slot.context_type == shape.context_type

    def _reads(self, decision: int) -> frozenset[int]:
        known = self._read.get(decision)
        if known is None:
            found: set[int] = set()
            for node in self._decisions[decision].nodes:
                found.update(self._reads_of(node))
            known = self._read[decision] = frozenset(found)
        return known

    def _reads_of(self, node: Node) -> Iterator[int]:
        if isinstance(node, Test):
            if isinstance(node.operand, DecisionVariant):
                yield from self._reads(
                    node.operand.decision
                )  # at most as deep as decisions may ask each other
            elif node.slot >= 0:
                yield node.slot
        elif isinstance(node, Hash | KeyedWeights):
            yield from (piece.slot for piece in node.pieces if piece.slot >= 0)
        elif isinstance(node, Scores):
            yield from (term.slot for one in node.alternatives for term in one.terms)


def _is_subject(slot: Slot, shape: ContextShape) -> bool:
    if slot.source is Source.ATTRIBUTE:
        return slot.name == shape.unit
    return slot.source in (Source.MEMBER, Source.MEMBER_OR_ATTRIBUTE) and slot.name == shape.subject
