"""Nodes of a decision, made from its ends backwards: a node is made after all that it leads to.

So their order, reversed, is one in which every node leads to later ones. Equal tests with equal exits are one node,
and a test whose exits are all the same is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from fanion.definitions.lowering.assembler import Assembler, Exits, Label
from fanion.model.parts import Piece
from fanion.model.program import Cause, HashKind, Node, Op, Operand, Reduction, Relation, Resolution

NODES_MAX: Final = 20_000
"""Nodes of one decision: rules that would take more are computed as a whole."""


class Overgrown(Exception):  # noqa: N818 - no error, another way is taken
    """A decision would have more nodes than `NODES_MAX`."""


class End(NamedTuple):
    """What a decision comes to. `variant`: the name of what is answered."""

    resolution: Resolution
    cause: Cause
    variant: str | None = None
    number: int = -1


class Led(NamedTuple):
    """Where the exits of a test lead, as numbers of nodes. Null is a value like others here, so what is missing
    leads where null does unless it is said."""

    true: int
    false: int
    mismatch: int
    missing: int


Lay = Callable[[Assembler[End], Sequence[Label]], None]


class Graph:
    """The nodes of one decision."""

    def __init__(self) -> None:
        self._nodes: list[tuple[tuple[int, ...], Lay]] = []
        """Of each node what it leads to, and what lays it out when the labels of all nodes are there."""
        self._known: dict[str, int] = {}

    def end(self, end: End) -> int:
        def lay(code: Assembler[End], _labels: Sequence[Label]) -> None:
            code.outcome(end, end.resolution, end.number, cause=end.cause)

        return self._add(f"end {end!r}", (), lay)

    def test(
        self,
        op: Op,
        slot: int,
        operand: Operand,
        led: Led,
        *,
        relation: Relation = Relation.LT,
        any_element: bool = False,
    ) -> int:
        if len(set(led)) == 1:
            return led.true

        def lay(code: Assembler[End], labels: Sequence[Label]) -> None:
            exits = Exits(labels[led.true], labels[led.false], labels[led.missing], labels[led.mismatch])
            code.test(op, slot, operand, exits, relation, any_element)

        return self._add(f"test {op} {slot} {operand!r} {relation} {any_element} {led}", led, lay)

    def draw(
        self,
        pieces: tuple[Piece, ...],
        total: int,
        shares: Sequence[tuple[int, int]],
        none: int,
        *,
        split: int = -1,
    ) -> int:
        """MurmurHash3 of the pieces, scaled to `total` buckets; each share is so many of them, and where it
        leads. `split`: the recorded one that this draws for."""
        low = 0
        spans: list[tuple[int, int, int]] = []
        for width, target in shares:
            if width:
                spans.append((low, low + width - 1, target))
            low += width

        def lay_ranges(code: Assembler[End], labels: Sequence[Label]) -> None:
            found = [(first, last, labels[target]) for first, last, target in spans]
            code.ranges(found, labels[none], split=split)

        ranges = self._add(f"ranges {spans} {none}", (*[target for _, _, target in spans], none), lay_ranges)

        def lay_hash(code: Assembler[End], labels: Sequence[Label]) -> None:
            code.hash(HashKind.MURMUR3_32, pieces, Reduction.SCALE32, total, labels[ranges])

        return self._add(f"hash {pieces!r} {total} {ranges}", (ranges,), lay_hash)

    def _add(self, same: str, leads: tuple[int, ...], lay: Lay) -> int:
        number = self._known.get(same)
        if number is None:
            if len(self._nodes) == NODES_MAX:
                raise Overgrown
            number = self._known[same] = len(self._nodes)
            self._nodes.append((leads, lay))
        return number

    def finish(self, first: int, kept: int) -> tuple[list[Node], list[End]]:
        """What `first` leads to, it before all else; the end `kept` is there even where no way leads to it."""
        reached = {first, kept}
        waiting = [first]
        while waiting:
            for target in self._nodes[waiting.pop()][0]:
                if target not in reached:
                    reached.add(target)
                    waiting.append(target)
        order = sorted(reached, reverse=True)
        order.remove(first)
        code: Assembler[End] = Assembler()
        labels = [code.label() for _ in self._nodes]
        for number in (first, *order):
            code.place(labels[number])
            self._nodes[number][1](code, labels)
        return code.finish()
