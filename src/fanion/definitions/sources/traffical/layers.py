"""The nodes of one Traffical layer (contract 5.3 to 5.8): unit, bucket, then its running policies in order."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fanion.definitions.lowering.conditions import Group, Leaf, emit, join_trees, size
from fanion.definitions.sources.traffical.conditions import lower_condition, top_slot
from fanion.definitions.sources.traffical.files import Allocation, ContextualModel, Layer, Policy
from fanion.model.choice import Alternative, KeyedWeights, NumberTerm, Scores, TextTerm
from fanion.model.layers import Arm
from fanion.model.program import (
    Hash,
    HashKind,
    Node,
    Op,
    Outcome,
    Piece,
    PieceKind,
    Range,
    Ranges,
    Reduction,
    Resolution,
    Test,
)

if TYPE_CHECKING:
    from fanion.definitions.sources.traffical.lowering import TrafficalLowering

DYNAMIC_MAX: Final = 10_000
"""Dynamic allocations of one policy (contract 5.7): more are as if the count were missing."""
FAILED: Final = -1
"""Target of a test whose policy doesn't match, until its place is known."""
LITERAL = PieceKind.LITERAL
Make = Callable[[Callable[[int], int]], Node]


def json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Assembler:
    """Nodes with labels for targets that are not there yet."""

    def __init__(self) -> None:
        self.made: list[Make] = []
        self.places: list[int] = []

    def label(self) -> int:
        self.places.append(-1)
        return len(self.places) - 1

    def place(self, label: int) -> None:
        """The next node is what the label means."""
        self.places[label] = len(self.made)

    def add(self, make: Make) -> None:
        self.made.append(make)

    def finish(self) -> list[Node]:
        return [make(self.places.__getitem__) for make in self.made]


class LayerLowering:
    """The nodes of one layer. Its last two arms are "no policy matched" and "no unit"."""

    def __init__(self, whole: TrafficalLowering, layer: Layer, slot: int) -> None:
        self.whole = whole
        self.builder = whole.builder
        self.layer = layer
        self.slot = slot
        self.code = Assembler()
        self.arms: list[Arm] = []
        self.bucket_count = whole.bundle.head.hashing.bucket_count

    def run(self) -> list[Node]:
        code, slot = self.code, self.slot
        hashed, no_unit, first = code.label(), code.label(), code.label()
        text, length = Piece(PieceKind.TEXT, slot=slot), Piece(PieceKind.BYTE_LENGTH, slot=slot)
        layer_id = f"|l:{len(self.layer.id.encode())}:{self.layer.id}"
        pieces = (
            Piece(LITERAL, "traffical:assignment:v2|u:"),
            length,
            Piece(LITERAL, ":"),
            text,
            Piece(LITERAL, layer_id),
        )
        code.add(lambda at: Test(Op.EQ_STRING, slot, "", at(no_unit), at(hashed), at(no_unit), at(hashed)))
        code.place(hashed)
        code.add(
            lambda at: Hash(
                HashKind.SHA256, pieces, Reduction.MODULO, self.bucket_count, at(first), at(no_unit)
            )
        )
        code.place(first)
        for number, policy in enumerate(self.layer.policies):
            if policy.running:
                self.policy(policy, number)
        self.outcome(Arm(), Resolution.DEFAULT)
        code.place(no_unit)
        self.outcome(Arm(), Resolution.DEFAULT)
        return code.finish()

    def outcome(self, arm: Arm, resolution: Resolution, rule: int = -1) -> None:
        variant = len(self.arms)
        self.arms.append(arm)
        self.code.add(lambda _: Outcome(resolution, variant, rule))

    def policy(self, policy: Policy, number: int) -> None:
        """One policy; what it doesn't match goes on behind it."""
        head = policy.head
        following = self.code.label()
        matches = self.guards(policy, following)
        if matches:
            if head.contextual_model is not None and policy.allocations:
                self.contextual(policy, head.contextual_model, number)
            elif policy.mode == "bundle":
                self.per_entity(policy, self.slot, number, following, drawn=True)
            elif policy.mode == "edge":
                self.edge(policy, number, following)
            else:
                self.by_bucket(policy, number, following)
        self.code.place(following)

    def guards(self, policy: Policy, following: int) -> bool:
        """Eligibility and conditions; False where they can never hold."""
        code = self.code
        eligible = policy.head.eligible_bucket_range
        tree = join_trees(True, [lower_condition(self.builder, one) for one in policy.conditions])
        if tree is False:
            return False
        if eligible is not None:
            inside, low, high = code.label(), eligible.start, eligible.end
            code.add(lambda at: Ranges((Range(low, high, at(inside)),), at(following)))
            code.place(inside)
        if isinstance(tree, Leaf | Group):
            start, tests = len(code.made), list[Node]()
            emit(tests, tree, size(tree), FAILED)
            for test in tests:
                code.add(lambda at, test=test: _placed(test, start, at(following)))  # type: ignore[misc]
        return True

    def arm(self, policy: Policy, allocation: Allocation | None, **more: Any) -> Arm:
        head = policy.head
        fields = tuple(head.context_logging.allowed_fields) if head.context_logging else ()
        found = Arm(policy=head.id, policy_key=head.key, fields=fields, **more)
        if allocation is None:
            return found
        return msgspec.structs.replace(
            found,
            allocation=allocation.id,
            allocation_name=allocation.name,
            allocation_key=allocation.key,
            values=tuple((key, json_text(value)) for key, value in allocation.overrides.items()),
        )

    def by_bucket(self, policy: Policy, number: int, following: int) -> None:
        code = self.code
        labels = [code.label() for _ in policy.allocations]
        spans = [allocation.bucket_range for allocation in policy.allocations]
        code.add(
            lambda at: Ranges(
                tuple(Range(*span, at(label)) for span, label in zip(spans, labels, strict=True)),
                at(following),
            )
        )
        for allocation, label in zip(policy.allocations, labels, strict=True):
            low, high = allocation.bucket_range
            share = (high - low + 1) / self.bucket_count if policy.head.kind == "adaptive" else 0.0
            code.place(label)
            probability = share if 0 < share <= 1 else None
            self.outcome(self.arm(policy, allocation, probability=probability), Resolution.SPLIT, number)

    def contextual(self, policy: Policy, model: ContextualModel, number: int) -> None:
        code = self.code
        scored = code.label()
        labels = [code.label() for _ in policy.allocations]
        pieces = (
            Piece(LITERAL, "ctx:"),
            Piece(PieceKind.TEXT, slot=self.slot),
            Piece(LITERAL, f":{policy.head.id}"),
        )
        terms = [self.terms(model, allocation) for allocation in policy.allocations]
        code.add(lambda at: Hash(HashKind.SHA256, pieces, Reduction.UNIT53, 0, at(scored)))
        code.place(scored)
        code.add(
            lambda at: Scores(
                tuple(
                    Alternative(base, parts, at(label))
                    for (base, parts), label in zip(terms, labels, strict=True)
                ),
                model.gamma,
                model.action_probability_floor,
            )
        )
        version = model.generated_at or model.model_version or None
        for allocation, label in zip(policy.allocations, labels, strict=True):
            code.place(label)
            arm = self.arm(policy, allocation, drawn=True, model_version=version)
            self.outcome(arm, Resolution.SPLIT, number)

    def terms(
        self, model: ContextualModel, allocation: Allocation
    ) -> tuple[float, tuple[NumberTerm | TextTerm, ...]]:
        """Base score and terms of an allocation."""
        coefficients = model.coefficients.get(allocation.identity)
        if coefficients is None:
            return model.default_allocation_score, ()
        terms: list[NumberTerm | TextTerm] = []
        for numeric in coefficients.numeric:
            terms.append(NumberTerm(top_slot(self.builder, numeric.key), numeric.coef, numeric.missing))
        for categorical in coefficients.categorical:
            values = sorted(categorical.values.items(), key=lambda item: item[0].encode())
            terms.append(
                TextTerm(top_slot(self.builder, categorical.key), tuple(values), categorical.missing)
            )
        return coefficients.intercept, tuple(terms)

    def per_entity(self, policy: Policy, unit: int, number: int, following: int, *, drawn: bool) -> None:
        """A draw by the entity's weights; an entity that can't be named goes on with the next policy."""
        config = policy.head.entity_config
        assert config is not None
        dynamic = config.dynamic_allocations
        if dynamic is None and not policy.allocations:
            return
        code = self.code
        weighed = code.label()
        key: list[Piece] = []
        for name in config.entity_keys:
            key += [Piece(LITERAL, "_")] if key else []
            key.append(Piece(PieceKind.TEXT, slot=top_slot(self.builder, name)))
        seed = (
            *key,
            Piece(LITERAL, ":"),
            Piece(PieceKind.TEXT, slot=unit),
            Piece(LITERAL, f":{policy.head.id}"),
        )
        code.add(
            lambda at: Hash(HashKind.SHA256, seed, Reduction.UNIT53, 0, at(weighed), at(following)),
        )
        code.place(weighed)
        known, fallback = self.whole.vectors_of(policy.head.id)
        choices = [None] if dynamic is not None else list(policy.allocations)
        labels = [code.label() for _ in choices]
        count = -1 if dynamic is None else top_slot(self.builder, dynamic.count_key)
        most = 0 if dynamic is None else DYNAMIC_MAX
        code.add(
            lambda at: KeyedWeights(
                tuple(key), known, fallback, tuple(map(at, labels)), at(following), count, most
            )
        )
        for choice, label in zip(choices, labels, strict=True):
            code.place(label)
            arm = self.arm(policy, choice, drawn=drawn)
            if choice is None:
                arm = self.numbered(arm)
            self.outcome(arm, Resolution.SPLIT, number)

    def numbered(self, arm: Arm) -> Arm:
        return msgspec.structs.replace(arm, numbered=True, allocation=f"{arm.policy}_dynamic_")

    def edge(self, policy: Policy, number: int, following: int) -> None:
        if self.whole.edge_results is not None:
            self.given(policy, number, following, self.whole.edge_results)
            return
        unit, code = self.whole.project_slot, self.code
        if unit != self.slot:
            named = code.label()
            code.add(
                lambda at: Test(Op.EQ_STRING, unit, "", at(following), at(named), at(following), at(named))
            )
            code.place(named)
        self.per_entity(policy, unit, number, following, drawn=False)

    def given(self, policy: Policy, number: int, following: int, results: Mapping[str, int]) -> None:
        """A result from outside: its allocation, or a match without one where the index is out of range."""
        index = results.get(policy.head.id)
        if index is None:
            return
        config = policy.head.entity_config
        if config is not None and config.dynamic_allocations is not None:
            arm = self.arm(policy, None)
            made = msgspec.structs.replace(
                arm, allocation=f"{policy.head.id}_dynamic_{index}", allocation_name=str(index)
            )
        else:
            inside = 0 <= index < len(policy.allocations)
            made = self.arm(policy, policy.allocations[index] if inside else None)
        self.outcome(made, Resolution.SPLIT, number)


def _placed(test: Node, start: int, following: int) -> Node:
    """A test whose targets count from its group's first node, as it stands from node `start` on."""
    assert isinstance(test, Test)
    exits = (test.on_true, test.on_false, test.on_missing, test.on_mismatch)
    targets = (following if exit == FAILED else start + exit for exit in exits)
    names = ("on_true", "on_false", "on_missing", "on_mismatch")
    return msgspec.structs.replace(test, **dict(zip(names, targets, strict=True)))
