"""Lays out the steps of one computed slot (`fanion.model.expression`), with labels where a target is not there yet.

As `assembler` does it for nodes: a label is made first, named by any number of jumps, placed once on the step that
is added next, behind whatever names it. `Builder.computed` makes the slot; equal steps share one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from fanion.definitions.lowering.assembler import Label
from fanion.model.expression import Constant, Step, StepOp, Steps

GATHERED: Final = 8
"""Values that stand on the stack side by side before they are gathered into one: the stack is bounded."""


class StepAssembler:
    """The steps of one expression."""

    def __init__(self) -> None:
        self._made: list[Step | tuple[StepOp, Label]] = []

    def label(self) -> Label:
        return Label()

    def place(self, label: Label) -> None:
        """The step that is added next is what the label means; the last one may be the end."""
        label.node = len(self._made)

    def add(self, op: StepOp, operand: int = 0) -> None:
        """A step of any kind but jumps, loops, constants and fields."""
        self._made.append(Step(op, operand))

    def constant(self, value: Constant) -> None:
        self._made.append(Step(StepOp.CONSTANT, value=value))

    def field(self, name: str) -> None:
        self._made.append(Step(StepOp.FIELD, value=name))

    def jump(self, op: StepOp, target: Label) -> None:
        self._made.append((op, target))

    def loop(self, op: StepOp, body: Callable[[], None]) -> None:
        """A loop over what is on the stack; `body` adds the steps of one turn."""
        end = self.label()
        self._made.append((op, end))
        body()
        self.place(end)

    def gather(self, values: Sequence[Callable[[], None]], op: StepOp = StepOp.LIST) -> None:
        """One LIST, MERGE, CAT, MIN or MAX of any number of values, each added by its function; parts are gathered
        as they come, so that they fit the stack."""
        parts = [values[at : at + GATHERED] for at in range(0, len(values), GATHERED)]
        if len(parts) <= 1:
            for value in values:
                value()
            self.add(op, len(values))
            return
        for number, part in enumerate(parts):
            for value in part:
                value()
            self.add(op, len(part))
            if number:
                self.add(StepOp.MERGE if op is StepOp.LIST else op, 2)

    def finish(self) -> Steps:
        return tuple([made if isinstance(made, Step) else Step(made[0], made[1].node) for made in self._made])
