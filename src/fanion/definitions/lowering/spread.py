"""Tells apart which splits a decision's outcomes were reached through.

Where an outcome can be met both by way of a split and past it, there is one for each, so that what is recorded
follows from the outcome alone and no run does more for it. Nodes between a split and its outcomes are doubled the
same way; a decision whose ways to an outcome all agree stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, TypeVar

import msgspec

from fanion.model.choice import KeyedWeights, Scores
from fanion.model.program import Hash, Node, Outcome, Ranges, Reached, Test, Weights

M = TypeVar("M")

WAYS_MAX: Final = 16
"""How many different sets of splits may lead to one node."""

Way = tuple[Reached, ...]
"""What was reached so far, each split once, in the order of their numbers."""


class Crowded(Exception):  # noqa: N818 - no error, fewer splits are told apart
    """More ways than `WAYS_MAX` lead to a node."""


class Spread(NamedTuple):
    """`nodes[n]` is a copy of the node that `origins[n]` numbers."""

    nodes: list[Node]
    origins: list[int]


def spread(nodes: list[Node], splits: Mapping[int, int]) -> Spread:
    """`splits`: the number of the branching node that draws -> the split's. Raises Crowded."""
    ways: list[dict[Way, None]] = [{} for _ in nodes]
    ways[0][()] = None
    for number, node in enumerate(nodes):
        if not ways[number]:
            ways[number][()] = None  # no way leads here; whoever laid it wants it all the same
        if len(ways[number]) > WAYS_MAX:
            raise Crowded
        for way in ways[number]:
            for target, drawn in _leads(node):
                ways[target][_on(way, splits.get(number), drawn)] = None
    places: list[dict[Way, int]] = []
    origins: list[int] = []
    for number, found in enumerate(ways):
        places.append({way: len(origins) + n for n, way in enumerate(found)})
        origins += [number] * len(found)
    made = [
        _laid(node, way, splits.get(number), places)
        for number, node in enumerate(nodes)
        for way in ways[number]
    ]
    return Spread(made, origins)


def _on(way: Way, split: int | None, drawn: bool | None) -> Way:
    """`drawn`: whether the branch is one of the shares; None where no lot was drawn."""
    if split is None or drawn is None:
        return way
    known = {one.split: one.inside for one in way}
    known[split] = drawn or known.get(split, False)
    return tuple(Reached(number, known[number]) for number in sorted(known))


def _leads(node: Node) -> Iterator[tuple[int, bool | None]]:
    """Where a node leads, and for a branch on a draw whether it is in."""
    match node:
        case Test():
            for target in (node.on_true, node.on_false, node.on_missing, node.on_mismatch):
                yield target, None
        case Hash():
            yield node.on_done, None
            if node.on_missing >= 0:
                yield node.on_missing, None
        case Ranges():
            for one in node.ranges:
                yield one.target, True
            yield node.on_none, False
        case Weights():
            for target in node.targets:
                yield target, True
        case Scores():
            for alternative in node.alternatives:
                yield alternative.target, True
        case KeyedWeights():
            for target in node.targets:
                yield target, True
            yield node.on_none, None


def _laid(node: Node, way: Way, split: int | None, places: list[dict[Way, int]]) -> Node:
    """The node's copy for those who come this way."""

    def place(target: int, drawn: bool | None = None) -> int:
        return places[target][_on(way, split, drawn)]

    replace = msgspec.structs.replace
    match node:
        case Outcome():
            return replace(node, reached=way) if way else node
        case Test():
            return replace(
                node,
                on_true=place(node.on_true),
                on_false=place(node.on_false),
                on_missing=place(node.on_missing),
                on_mismatch=place(node.on_mismatch),
            )
        case Hash():
            missing = place(node.on_missing) if node.on_missing >= 0 else -1
            return replace(node, on_done=place(node.on_done), on_missing=missing)
        case Ranges():
            ranges = tuple(replace(one, target=place(one.target, True)) for one in node.ranges)
            return Ranges(ranges, place(node.on_none, False))
        case Weights():
            return Weights(node.weights, tuple(place(target, True) for target in node.targets))
        case Scores():
            made = tuple(replace(one, target=place(one.target, True)) for one in node.alternatives)
            return replace(node, alternatives=made)
        case KeyedWeights():
            targets = tuple(place(target, True) for target in node.targets)
            return replace(node, targets=targets, on_none=place(node.on_none))
