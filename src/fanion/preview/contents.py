"""What a decision comes to, whatever numbers its slots and the decisions that it asks have in its program."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from fanion.model.expression import Step, StepOp
from fanion.model.program import Decision, DecisionVariant, Hash, Lowered, Slot, Test

UNSAID: Final = frozenset({"reached", "rule"})
"""What no answer depends on."""
SLOTS: Final = frozenset({"slot", "count_slot"})


class Contents:
    """Of one program."""

    def __init__(self, lowered: Lowered) -> None:
        self.lowered = lowered
        self._digests: dict[int, str] = {}
        self._slots: dict[int, Any] = {}

    def of(self, decision: int) -> str:
        """A digest: two decisions with the same decide the same."""
        found = self._digests.get(decision)
        if found is None:
            said = msgspec.json.encode(self._plain(self.lowered.decisions[decision].nodes))
            found = self._digests[decision] = hashlib.sha256(said).hexdigest()
        return found

    def draws(self, decision: int) -> frozenset[bytes]:
        """What lots are drawn from: salts, units and the way to a bucket, of it and of those that it asks."""
        found = set()
        for one in self.reached_from(decision):
            for node in one.nodes:
                if isinstance(node, Hash):
                    drawn = [node.hash, self._plain(node.pieces), node.reduction, node.modulus]
                    found.add(msgspec.json.encode(drawn))
        return frozenset(found)

    def reached_from(self, decision: int) -> Iterator[Decision]:
        """The decision, and those that it asks, each once."""
        wanted, seen = [decision], {decision}
        while wanted:
            one = self.lowered.decisions[wanted.pop()]
            yield one
            for node in one.nodes:
                if isinstance(node, Test) and isinstance(node.operand, DecisionVariant):
                    asked = node.operand.decision
                    if asked not in seen:
                        seen.add(asked)
                        wanted.append(asked)

    def _plain(self, value: Any, name: str = "") -> Any:
        if name in SLOTS:
            return None if value < 0 else self._slot(value)
        if isinstance(value, DecisionVariant):
            return ["asks", self.of(value.decision), value.variant]
        if isinstance(value, Step) and value.op is StepOp.LOAD:
            return ["load", self._slot(value.operand)]
        if isinstance(value, msgspec.Struct):
            fields = [
                self._plain(getattr(value, field), field)
                for field in value.__struct_fields__
                if field not in UNSAID
            ]
            return [type(value).__name__, *fields]
        if isinstance(value, tuple):
            return [self._plain(one) for one in value]
        return value if value is None or isinstance(value, bool | int | float | str) else repr(value)

    def _slot(self, number: int) -> Any:
        found = self._slots.get(number)
        if found is None:
            slot: Slot = self.lowered.slots[number]
            found = self._slots[number] = self._plain(slot)
        return found
