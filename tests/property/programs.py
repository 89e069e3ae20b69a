"""Random lowered programs and contexts, drawn so that every operator, exit and text rule is met often.

`Maker(random)` is driven by a `random.Random` that hypothesis controls, so failures shrink and replay.
"""

from __future__ import annotations

import contextlib
import random
from typing import Any

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.lowering.spread import spread
from fanion.model.choice import Alternative, KeyedWeights, NumberTerm, Scores, TextTerm, Vector
from fanion.model.context import EvaluationContext, TypedContext
from fanion.model.parts import Piece, PieceKind
from fanion.model.program import (
    Cause,
    Comparator,
    Decision,
    DecisionVariant,
    Hash,
    HashKind,
    Lowered,
    Node,
    Op,
    Outcome,
    Profile,
    Range,
    Ranges,
    Reduction,
    Relation,
    Resolution,
    Slot,
    Source,
    Split,
    Test,
    Version,
    Weights,
)
from tests.property.expressions import ExpressionMaker
from tests.property.texts import NUMBERS, TEXTS

NAMES = [
    "plan",
    "country",
    "age",
    "a.b",
    "list.0",
    "list.length",
    "deep.list.1.x",
    "userId",
    "tags",
    "a.b.c",
    "",
]
VERSIONS = [text for text in TEXTS if text[:1].isdigit() and text.count(".") >= 2 and text != "01.2.3"]
VERSIONS = [v for v in VERSIONS if v not in ("1.2.3-01", "18446744073709551616.0.0")]
TYPES = ["user", "org", ""]


class Maker:
    """Draws programs and contexts from one source of randomness."""

    def __init__(self, source: random.Random) -> None:
        self.r = source

    def scalar(self) -> Any:
        pick = self.r.randrange(10)
        if pick < 5:
            return self.r.choice(TEXTS)
        if pick < 8:
            return self.r.choice(NUMBERS)
        return self.r.choice([True, False, None])

    def value(self) -> Any:
        pick = self.r.randrange(12)
        if pick == 0:
            return [self.r.choice(TEXTS) for _ in range(self.r.randrange(4))]
        if pick == 1:
            return [self.scalar(), {"x": self.scalar()}]
        if pick == 2:
            return {"b": self.scalar(), "list": [1, {"x": self.scalar()}], "c": {}}
        return self.scalar()

    def nested(self) -> Any:
        """What the dotted names of NAMES walk into."""
        if self.r.random() < 0.3:
            return [self.scalar() for _ in range(self.r.randrange(3))]
        return {"b": self.value(), "list": [1, {"x": self.scalar()}], "c": {}}

    def attributes(self) -> dict[str, Any]:
        """A name with dots stands there whole less often than not, so that walks are met too."""
        found = {name: self.value() for name in NAMES if self.r.random() < (0.3 if "." in name else 0.6)}
        for name in ("a", "list", "deep"):
            if self.r.random() < 0.7:
                found[name] = self.nested() if self.r.random() < 0.7 else self.value()
        return found

    def context(self) -> EvaluationContext:
        members = self.attributes() if self.r.random() < 0.8 else {}
        typed = tuple(
            TypedContext(kind, self.r.choice(TEXTS), self.attributes())
            for kind in TYPES
            if self.r.random() < 0.5
        )
        return EvaluationContext(members, self.attributes(), typed)

    def slot(self) -> Slot:
        return Slot(
            source=self.r.choice([one for one in Source if one is not Source.COMPUTED]),
            name=self.r.choice(NAMES),
            context_type=self.r.choice(TYPES),
            dotted=self.r.random() < 0.5,
            profile=self.r.choice(list(Profile)),
        )

    def comparator(self) -> Comparator:
        low = Version(self.r.randrange(3), self.r.randrange(3), 0, pre=self.r.choice(["", "rc.1", "0a"]))
        high = Version(low.major + 1, 0, 0) if self.r.random() < 0.7 else None
        return Comparator(low, high, (1, 2, 3) if self.r.random() < 0.5 else None)

    def operand(self, op: Op) -> Any:
        match op:
            case Op.PRESENT | Op.EQ_NULL:
                return None
            case Op.EQ_BOOL:
                return self.r.random() < 0.5
            case Op.EQ_INT64 | Op.ORDER_INT64:
                return self.r.choice([n for n in NUMBERS if isinstance(n, int) and -(2**63) <= n < 2**63])
            case Op.EQ_DOUBLE | Op.EQ_NUMBER | Op.ORDER_DOUBLE | Op.ORDER_NUMBER | Op.ORDER_TEXT:
                return float(self.r.choice([n for n in NUMBERS if n != 10**400]))
            case Op.EQ_VERSION | Op.ORDER_VERSION:
                return self.r.choice(VERSIONS)
            case Op.STRING_IN | Op.TEXT_IN:
                extra = [f"item-{n}" for n in range(self.r.choice([0, 0, 7, 40]))]
                return tuple(self.r.choices(TEXTS, k=self.r.randrange(6)) + extra)
            case Op.VERSION_MATCHES:
                return tuple(self.comparator() for _ in range(self.r.randrange(3)))
        return self.r.choice(TEXTS)

    def test(self, slots: int, asked: list[Decision], target: Any) -> Test:
        op = self.r.choice(list(Op))
        if op is Op.DECISION_IS and not asked:
            op = Op.PRESENT
        operand = self.operand(op)
        if op is Op.DECISION_IS:
            operand = DecisionVariant(self.r.randrange(len(asked)), self.r.randrange(3))
        listable = op is Op.EQ_STRING or Op.STRING_IN <= op <= Op.TEXT_ENDS
        return Test(
            op,
            -1 if op is Op.DECISION_IS else self.r.randrange(slots),
            operand,
            *(target() for _ in range(4)),
            relation=self.r.choice(list(Relation)),
            any_element=listable and self.r.random() < 0.5,
            fold=op is Op.TEXT_IN and self.r.random() < 0.4,
        )

    def hash(self, slots: int, target: Any) -> Hash:
        kind = self.r.choice(list(HashKind))
        allowed = [Reduction.BASIS_POINTS]
        if kind is not HashKind.MURMUR3_128:
            allowed += [Reduction.MODULO, Reduction.UNIT53]
        if kind is HashKind.MURMUR3_32:
            allowed.append(Reduction.SCALE32)
        pieces = []
        for _ in range(self.r.randrange(5)):
            kind_of_piece = self.r.choice(list(PieceKind))
            if kind_of_piece is PieceKind.LITERAL:
                pieces.append(Piece(kind_of_piece, self.r.choice([*TEXTS, "y" * 600])))
            else:
                pieces.append(Piece(kind_of_piece, slot=self.r.randrange(slots)))
        missing = target() if self.r.random() < 0.5 else -1
        modulus = self.r.choice([1, 7, 1000, 10_000, 2**31])
        return Hash(kind, tuple(pieces), self.r.choice(allowed), modulus, target(), missing)

    def weights(self, count: int) -> tuple[float, ...]:
        return tuple(self.r.choice([0.0, 0.1, 0.25, 0.5, 1.0, 3.0, -1.0]) for _ in range(count))

    def scores(self, slots: int, target: Any) -> Scores:
        numbers = [0.0, -0.5, 0.1, 2.0, 1e300, -1e300]
        alternatives = []
        for _ in range(self.r.choice([1, 2, 3, 5, 70])):
            terms: list[NumberTerm | TextTerm] = []
            for _ in range(self.r.randrange(3)):
                missing = self.r.choice(numbers)
                if self.r.random() < 0.5:
                    terms.append(NumberTerm(self.r.randrange(slots), self.r.choice(numbers), missing))
                else:
                    texts = sorted(set(self.r.choices(TEXTS, k=self.r.randrange(6))), key=str.encode)
                    values = tuple((text, self.r.choice(numbers)) for text in texts)
                    terms.append(TextTerm(self.r.randrange(slots), values, missing))
            alternatives.append(Alternative(self.r.choice(numbers), tuple(terms), target()))
        gamma, floor = self.r.choice([0.0, 0.2, 1.0, -1.0]), self.r.choice([0.0, -0.1, 0.05, 0.9])
        return Scores(tuple(alternatives), gamma, floor)

    def keyed(self, slots: int, target: Any) -> KeyedWeights:
        pieces = tuple(
            Piece(PieceKind.TEXT, slot=self.r.randrange(slots))
            if self.r.random() < 0.7
            else Piece(PieceKind.LITERAL, self.r.choice(["", "_", "y" * 600]))
            for _ in range(self.r.randrange(4))
        )
        keys = sorted(
            set(self.r.choices([*TEXTS, "pro_free", "1_1"], k=self.r.randrange(30))), key=str.encode
        )
        vectors = tuple(Vector(key, self.weights(self.r.randrange(1, 5)), f"note {key}") for key in keys)
        fallback = Vector("", self.weights(self.r.randrange(1, 4))) if self.r.random() < 0.5 else None
        if self.r.random() < 0.5:
            return KeyedWeights(
                pieces,
                vectors,
                fallback,
                (target(),),
                target(),
                self.r.randrange(slots),
                self.r.choice([3, 150]),
            )
        targets = tuple(target() for _ in range(self.r.randrange(1, 5)))
        return KeyedWeights(pieces, vectors, fallback, targets, target())

    def decision(self, key: str, slots: int, asked: list[Decision]) -> Decision:
        count = self.r.randrange(2, 14)
        nodes: list[Node] = []
        for at in range(count):

            def target(at: int = at) -> int:
                return self.r.randrange(at + 1, count)

            pick = self.r.randrange(12)
            if at == count - 1 or pick == 0:
                number = sum(isinstance(n, Outcome) for n in nodes)
                resolution = Resolution.ERROR if self.r.random() < 0.15 else Resolution.MATCHED
                cause = Cause(self.r.randrange(len(Cause)))
                nodes.append(Outcome(resolution, variant=number % 3, cause=cause))
            elif pick < 7:
                nodes.append(self.test(slots, asked, target))
            elif pick == 7:
                nodes.append(self.hash(slots, target))
            elif pick == 8:
                ranges = tuple(
                    Range(low, low + self.r.randrange(4000), target())
                    for low in (self.r.randrange(-1, 9000) for _ in range(self.r.randrange(4)))
                )
                nodes.append(Ranges(ranges, target()))
            elif pick == 10:
                nodes.append(self.scores(slots, target))
            elif pick == 11:
                nodes.append(self.keyed(slots, target))
            else:
                weights = tuple(self.r.choice([0.0, 0.1, 0.25, 0.5]) for _ in range(self.r.randrange(1, 5)))
                nodes.append(Weights(weights, tuple(target() for _ in weights)))
        return Decision(key, tuple(nodes))

    def with_computed(self, slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
        builder = Builder("env")
        builder.slots += slots
        for _ in range(self.r.randrange(1, 4)):
            with contextlib.suppress(ValueError):  # too high a stack, or loads too deep
                builder.computed(ExpressionMaker(self.r, len(builder.slots)).steps())
        return tuple(builder.slots)

    def lowered(self) -> Lowered:
        slots = tuple(self.slot() for _ in range(self.r.randrange(1, 12)))
        if self.r.random() < 0.3:
            slots = self.with_computed(slots)
        decisions: list[Decision] = []
        for number in range(self.r.randrange(1, 6)):
            decisions.append(self.decision(f"d{number}", len(slots), decisions))
        splits = tuple(Split(f"f{n}", f"{n:032x}", slot=n - 1) for n in range(self.r.randrange(2)))
        if splits:
            decisions = [self.spread(decision) for decision in decisions]
        return Lowered("env", slots, tuple(decisions), splits=splits)

    def draws(self, decision: Decision) -> list[int]:
        """The nodes that draw lots."""
        kinds = (Ranges, Weights, Scores, KeyedWeights)
        return [number for number, node in enumerate(decision.nodes) if isinstance(node, kinds)]

    def spread(self, decision: Decision) -> Decision:
        """With some of its draws told apart, as lowering does for splits that are recorded."""
        marks = {number: 0 for number in self.draws(decision) if self.r.random() < 0.7}
        return Decision(decision.key, tuple(spread(list(decision.nodes), marks).nodes))


def answer_external(op: int, operand: str, text: str) -> bool:
    """A stand-in for regular expressions and lists: any fixed function of its arguments will do."""
    return (len(operand) + len(text) + op) % 3 == 0
