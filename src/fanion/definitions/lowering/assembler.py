"""Lays out the nodes of one decision, with labels where a target is not there yet.

A label is made first, named by any number of exits, and placed once: on the node that is added next. Nodes stand
in the order in which they are added, so a label has to be placed behind whatever names it; one that is named and
never placed fails in `finish`. Each outcome has a meaning beside it, the caller's own, so that what an outcome
answers is said where the outcome is made: the n-th meaning belongs to outcome n.

A branch may be said to draw lots for a split that is recorded; outcomes that such a branch leads to are told apart
from those that it doesn't when the decision is finished (`spread`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from fanion.definitions.lowering.spread import Crowded, spread
from fanion.model.choice import Alternative, KeyedWeights, NumberTerm, Scores, TextTerm, Vector
from fanion.model.parts import Piece
from fanion.model.program import (
    Cause,
    Hash,
    HashKind,
    Node,
    Op,
    Operand,
    Outcome,
    Range,
    Ranges,
    Reduction,
    Relation,
    Resolution,
    Test,
)

M = TypeVar("M")

# A member of an enumeration costs a look-up that shows at ten thousand flags.
_LT = Relation.LT
_NONE = Cause.NONE


class Label:
    """A target. `node` is not there until it is placed."""

    __slots__ = ("node",)
    node: int


class Exits(msgspec.Struct, frozen=True, gc=False):
    """Where each of the four ends of a test leads."""

    true: Label
    false: Label
    missing: Label
    mismatch: Label


class Assembler(Generic[M]):
    """One decision; `M` is what an outcome means to the caller, said where it is kept (`code: Assembler[End] =
    Assembler()`): calling a subscripted class costs as much as all nodes of a flag."""

    def __init__(self) -> None:
        self._made: list[Outcome | tuple[Callable[..., Node], tuple[Any, ...]]] = []
        """Each outcome, and what makes each other node once all labels are placed, and of what."""
        self._meanings: list[M] = []
        self._splits: dict[int, int] = {}
        self.dropped: list[int] = []
        """Splits that can't be told apart from others: they aren't recorded."""

    def label(self) -> Label:
        return Label()

    def place(self, label: Label) -> None:
        """The node that is added next is what the label means."""
        label.node = len(self._made)

    def test(
        self,
        op: Op,
        slot: int,
        operand: Operand,
        exits: Exits,
        relation: Relation = _LT,
        any_element: bool = False,
        fold: bool = False,
    ) -> None:
        self._made.append((_test, (op, slot, operand, exits, relation, any_element, fold)))

    def hash(
        self,
        kind: HashKind,
        pieces: tuple[Piece, ...],
        reduction: Reduction,
        modulus: int,
        done: Label,
        missing: Label | None = None,
    ) -> None:
        """Without `missing`, a slot without a text form counts as empty text."""
        self._made.append((_hash, (kind, pieces, reduction, modulus, done, missing)))

    def ranges(self, ranges: Sequence[tuple[int, int, Label]], none: Label, *, split: int = -1) -> None:
        """Each is first bucket, last bucket, target. `split`: the recorded one that this draws for."""
        self._draws(split)
        self._made.append((_ranges, (ranges, none)))

    def scores(
        self,
        alternatives: Sequence[tuple[float, tuple[NumberTerm | TextTerm, ...], Label]],
        gamma: float,
        floor: float,
        *,
        split: int = -1,
    ) -> None:
        """Each alternative is base, terms, target."""
        self._draws(split)
        self._made.append((_scores, (alternatives, gamma, floor)))

    def keyed_weights(
        self,
        pieces: tuple[Piece, ...],
        vectors: tuple[Vector, ...],
        fallback: Vector | None,
        targets: Sequence[Label],
        none: Label,
        *,
        count_slot: int = -1,
        count_max: int = 0,
        split: int = -1,
    ) -> None:
        self._draws(split)
        made = (pieces, vectors, fallback, targets, none, count_slot, count_max)
        self._made.append((_keyed_weights, made))

    def outcome(
        self, meaning: M, resolution: Resolution, variant: int = -1, rule: int = -1, cause: Cause = _NONE
    ) -> None:
        """`cause`: none where no parameter says what the decision comes to."""
        self._made.append(Outcome(resolution, variant, rule, cause))
        self._meanings.append(meaning)

    @property
    def outcomes(self) -> int:
        """How many outcomes there are so far: the number of the next."""
        return len(self._meanings)

    def finish(self) -> tuple[list[Node], list[M]]:
        """The nodes, and the outcomes' meanings."""
        nodes = [made if isinstance(made, Outcome) else made[0](*made[1]) for made in self._made]
        return (nodes, self._meanings) if not self._splits else self._spread(nodes)

    def _draws(self, split: int) -> None:
        if split >= 0:
            self._splits[len(self._made)] = split

    def _spread(self, nodes: list[Node]) -> tuple[list[Node], list[M]]:
        while True:
            try:
                made, origins = spread(nodes, self._splits)
                break
            except Crowded:
                last = max(self._splits.values())
                self.dropped.append(last)
                self._splits = {node: split for node, split in self._splits.items() if split != last}
        meant = iter(self._meanings)
        meaning = {number: next(meant) for number, node in enumerate(nodes) if isinstance(node, Outcome)}
        return made, [meaning[number] for number in origins if number in meaning]


def _test(
    op: Op, slot: int, operand: Operand, exits: Exits, relation: Relation, any_element: bool, fold: bool
) -> Test:
    return Test(
        op,
        slot,
        operand,
        exits.true.node,
        exits.false.node,
        exits.missing.node,
        exits.mismatch.node,
        relation,
        any_element,
        fold,
    )


def _hash(
    kind: HashKind,
    pieces: tuple[Piece, ...],
    reduction: Reduction,
    modulus: int,
    done: Label,
    missing: Label | None,
) -> Hash:
    return Hash(kind, pieces, reduction, modulus, done.node, -1 if missing is None else missing.node)


def _ranges(ranges: Sequence[tuple[int, int, Label]], none: Label) -> Ranges:
    return Ranges(tuple([Range(low, high, target.node) for low, high, target in ranges]), none.node)


def _scores(
    alternatives: Sequence[tuple[float, tuple[NumberTerm | TextTerm, ...], Label]], gamma: float, floor: float
) -> Scores:
    made = tuple([Alternative(base, terms, target.node) for base, terms, target in alternatives])
    return Scores(made, gamma, floor)


def _keyed_weights(
    pieces: tuple[Piece, ...],
    vectors: tuple[Vector, ...],
    fallback: Vector | None,
    targets: Sequence[Label],
    none: Label,
    count_slot: int,
    count_max: int,
) -> KeyedWeights:
    places = tuple([target.node for target in targets])
    return KeyedWeights(pieces, vectors, fallback, places, none.node, count_slot, count_max)


def spans(shares: Iterable[tuple[int, Label]], buckets: int) -> list[tuple[int, int, Label]]:
    """Ranges side by side from bucket 0: each share is so many buckets, and where they lead. What reaches past
    the last bucket is cut off, and a share of none is left out."""
    low = 0
    found: list[tuple[int, int, Label]] = []
    for width, target in shares:
        high = min(low + width, buckets)
        if high > low:
            found.append((low, high - 1, target))
        low = high
    return found
