"""A decision as sentences, of which the first that holds counts: what people read instead of a program.

A program is a graph: a test has exits, and several tests may lead to one place. Sentences are made of it
without its source, so that every format's rules read alike. A sentence stands for an outcome, or for a draw and
where its shares lead, and has the ways to it: each a list of conditions. They are in the order of the nodes.

A condition is left out where the order says it already: where all that an exit's siblings alone lead to stands
in sentences before. So "otherwise" is rarely spelt out. A way that holds whenever another one does is left out,
too."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from fanion.bundle.wording import slot_words, words
from fanion.model.choice import KeyedWeights, Scores
from fanion.model.parts import PieceKind
from fanion.model.program import (
    Decision,
    Hash,
    Lowered,
    Op,
    Outcome,
    Ranges,
    Reduction,
    Test,
    Weights,
)

WAYS_MAX: Final = 12
"""To one sentence; it says so where there are more."""
NODES_MAX: Final = 3_000
WAYS_KEPT_MAX: Final = 256
SENTENCES_MAX: Final = 200

NAMES: Final = ("true", "false", "missing", "mismatch")
"""Exits of a test, in the order of its targets."""
DRAWN: Final = ("drawn", "missing")


class Share(msgspec.Struct, frozen=True):
    """Of a draw. `share`: of all units, None: learned or by a model. `outcome`: which one; None: the sentences
    below go on with them."""

    share: float | None
    outcome: int | None


class Sentence(msgspec.Struct, frozen=True):
    """`ways`: any of them; an empty one: whoever comes here. `more`: further ways that aren't shown. `outcome`:
    where it ends, or None, and `by`, who draws, with `shares`."""

    ways: tuple[tuple[str, ...], ...]
    more: int = 0
    outcome: int | None = None
    by: str = ""
    shares: tuple[Share, ...] = ()


Literal = tuple[int, frozenset[str]]
"""A test's node, and the exits of it that are taken."""


class Way(msgspec.Struct, frozen=True):
    """All of these hold; `by`: what lots are drawn by."""

    literals: tuple[Literal, ...] = ()
    by: str = ""


class Sentences:
    """Of one decision of a program."""

    def __init__(self, lowered: Lowered, number: int, *, whole: bool = False) -> None:
        """`whole`: also say what goes without saying, that a unit has what lots are drawn by."""
        self._whole = whole
        self._lowered = lowered
        self._decision: Decision = lowered.decisions[number]
        self._nodes = self._decision.nodes
        self._outcomes = {node: n for n, node in enumerate(self._ends())}
        self._reach = self._reached()

    def all(self) -> list[Sentence]:
        """At most `SENTENCES_MAX`; none of a decision of more than `NODES_MAX` nodes."""
        if len(self._nodes) > NODES_MAX:
            return []
        return [
            self._sentence(ways, outcome=self._outcomes[number])
            if number in self._outcomes
            else self._draw(ways, self._nodes[number])
            for ways, number in self.statements()
        ]

    def statements(self) -> list[tuple[list[Way], int]]:
        """The ways to each outcome or draw, in order: the first one that holds is come to. A draw that goes on with
        some is followed by what those come to."""
        ways: dict[int, list[Way]] = {0: [Way()]}
        made: list[tuple[list[Way], int]] = []
        for number, node in enumerate(self._nodes):
            here = _least(ways.pop(number, []))
            if not here or len(made) >= SENTENCES_MAX:
                continue
            if isinstance(node, Test | Hash):
                for target, way in self._exits(node, number, here):
                    ways.setdefault(target, []).append(way)
                continue
            made.append((here, number))
            if not isinstance(node, Outcome):
                for target in self._on(node):
                    ways.setdefault(target, []).extend(Way(way.literals) for way in here)
        return made

    # -- the graph

    def _ends(self) -> Iterator[int]:
        return (number for number, node in enumerate(self._nodes) if isinstance(node, Outcome))

    def _targets(self, number: int) -> tuple[int, ...]:
        node = self._nodes[number]
        if isinstance(node, Test):
            return node.on_true, node.on_false, node.on_missing, node.on_mismatch
        if isinstance(node, Hash):
            return (node.on_done,) if node.on_missing < 0 else (node.on_done, node.on_missing)
        return () if isinstance(node, Outcome) else self._on(node)

    def _on(self, node: object) -> tuple[int, ...]:
        """Where a draw's shares go on: to what is no outcome."""
        found = dict.fromkeys(self._targets_of(node))
        return tuple(target for target in found if not isinstance(self._nodes[target], Outcome))

    def _shares(self, node: object) -> list[tuple[int, float | None]]:
        """(target, share), those of one target together, in their order."""
        found: dict[int, float | None] = {}
        if isinstance(node, Ranges):
            size = self._buckets(node)
            for target, width in _widths(node, size):
                found[target] = (found.get(target) or 0.0) + width / size
        elif isinstance(node, Weights):
            total = sum(node.weights) or 1.0
            for weight, target in zip(node.weights, node.targets, strict=True):
                found[target] = (found.get(target) or 0.0) + weight / total
        elif isinstance(node, Scores):
            found = dict.fromkeys((one.target for one in node.alternatives), None)
        elif isinstance(node, KeyedWeights):
            found = dict.fromkeys((*node.targets, node.on_none), None)
        shown = [(target, share) for target, share in found.items() if share is None or share > 0]
        return shown or [(max(self._targets_of(node)), None)]

    def _targets_of(self, node: object) -> tuple[int, ...]:
        match node:
            case Ranges():
                return (*(row.target for row in node.ranges), node.on_none)
            case Weights():
                return node.targets
            case KeyedWeights():
                return (*node.targets, node.on_none)
            case Scores():
                return tuple(one.target for one in node.alternatives)
            case _:
                return ()

    def _buckets(self, ranges: Ranges) -> int:
        """Of the draw before it."""
        for node in self._nodes:
            if isinstance(node, Hash) and self._nodes[node.on_done] is ranges:
                return 10_000 if node.reduction is Reduction.BASIS_POINTS else max(node.modulus, 1)
        return max([row.high for row in ranges.ranges], default=0) + 1

    def _reached(self) -> list[frozenset[int]]:
        """From each node, the sentences that can be come to, by their nodes."""
        found: list[frozenset[int]] = [frozenset()] * len(self._nodes)
        for number in range(len(self._nodes) - 1, -1, -1):
            node = self._nodes[number]
            own = frozenset() if isinstance(node, Test | Hash) else frozenset({number})
            found[number] = own.union(*(found[target] for target in self._targets(number)))
        return found

    def _exits(self, node: Test | Hash, number: int, ways: list[Way]) -> Iterator[tuple[int, Way]]:
        groups: dict[int, set[str]] = {}
        names = NAMES if isinstance(node, Test) else DRAWN
        for name, target in zip(names, self._targets(number), strict=False):
            groups.setdefault(target, set()).add(name)
        by, drawn = self._drawn_by(node)
        for target, taken in groups.items():
            others = self._beside([other for other in groups if other != target], target)
            said = others <= min(self._reach[target], default=len(self._nodes))
            goes = not self._whole and taken == {"drawn"}
            literal = () if len(groups) == 1 or said or goes else ((number, frozenset(taken)),)
            for way in ways:
                kept = tuple(one for one in way.literals if not self._goes_without(one[0], drawn))
                yield target, Way((*kept, *literal), by if "drawn" in taken else "")

    def _beside(self, starts: list[int], avoided: int) -> int:
        """The last sentence that can be come to from these, otherwise than by way of a node; -1: none."""
        seen, last = set(starts), -1
        waiting = list(starts)
        while waiting:
            number = waiting.pop()
            if not isinstance(self._nodes[number], Test | Hash):
                last = max(last, number)
            for target in self._targets(number):
                if target != avoided and target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return last

    def _drawn_by(self, node: Test | Hash) -> tuple[str, frozenset[int]]:
        """In words, and the slots."""
        if isinstance(node, Test):
            return "", frozenset()
        slots = frozenset(piece.slot for piece in node.pieces if piece.kind is not PieceKind.LITERAL)
        return " and ".join(dict.fromkeys(self._slot(slot) for slot in sorted(slots))), slots

    def _goes_without(self, number: int, drawn: frozenset[int]) -> bool:
        """That somebody has what lots are drawn by."""
        return not self._whole and self._slot_of(number) in drawn and self._tests_empty(number)

    def _slot_of(self, number: int) -> int:
        node = self._nodes[number]
        return node.slot if isinstance(node, Test) else -1

    def _tests_empty(self, number: int) -> bool:
        node = self._nodes[number]
        return isinstance(node, Test) and (node.op is Op.PRESENT or node.operand in (("",), ""))

    # -- words

    def _sentence(self, ways: list[Way], outcome: int) -> Sentence:
        shown, more = self._worded(ways)
        return Sentence(shown, more, outcome)

    def _draw(self, ways: list[Way], node: object) -> Sentence:
        shown, more = self._worded(ways)
        by = ", else ".join(dict.fromkeys(way.by for way in ways if way.by))
        shares = tuple(Share(share, self._outcomes.get(target)) for target, share in self._shares(node))
        return Sentence(shown, more, None, by, shares)

    def _worded(self, ways: list[Way]) -> tuple[tuple[tuple[str, ...], ...], int]:
        said = dict.fromkeys(
            tuple(self._condition(number, names) for number, names in way.literals) for way in ways
        )
        if () in said:
            return ((),), 0
        return tuple(said)[:WAYS_MAX], max(0, len(said) - WAYS_MAX)

    def _condition(self, number: int, exits: frozenset[str]) -> str:
        node = self._nodes[number]
        if isinstance(node, Test):
            return words(node, exits, self._lowered)
        assert isinstance(node, Hash)
        by, _ = self._drawn_by(node)
        return f"{by} is missing" if exits == {"missing"} else f"{by} is given"

    def _slot(self, number: int) -> str:
        return slot_words(self._lowered.slots[number], self._lowered.slots)


def _widths(node: Ranges, size: int) -> Iterator[tuple[int, int]]:
    """(target, buckets) from the first bucket on; where ranges overlap the first one counts."""
    edges = {0, size}
    for row in node.ranges:
        edges |= {min(max(edge, 0), size) for edge in (row.low, row.high + 1)}
    ordered = sorted(edges)
    for low, high in itertools.pairwise(ordered):
        target = next((row.target for row in node.ranges if row.low <= low <= row.high), node.on_none)
        yield target, high - low


def _least(ways: Iterable[Way]) -> list[Way]:
    """Without those that say more than another one; draws by the same, apart."""
    found: list[Way] = []
    for way in ways:
        own = set(way.literals)
        if any(one.by == way.by and set(one.literals) <= own for one in found):
            continue
        found = [one for one in found if not (one.by == way.by and own <= set(one.literals))]
        found.append(way)
    return found[:WAYS_KEPT_MAX]
