"""The nodes of one Traffical layer (docs/apis/traffical.md: Resolution to Edge policies): unit, bucket, then
its running policies in order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from fanion.definitions.lowering.assembler import Assembler, Exits, Label
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.lowering.conditions import emit, join_trees
from fanion.definitions.sources.traffical.conditions import lower_condition, top_slot
from fanion.definitions.sources.traffical.files import (
    NAME,
    Allocation,
    ContextualModel,
    Layer,
    Policy,
    PolicyState,
)
from fanion.model.choice import NumberTerm, TextTerm, Vector
from fanion.model.layers import Arm
from fanion.model.parts import Piece, PieceKind
from fanion.model.program import Cause, HashKind, Node, Op, Reduction, Resolution

DYNAMIC_MAX: Final = 10_000
"""Dynamic allocations of one policy (docs/apis/traffical.md: Per-entity policies): more are as if the count
were missing."""
LITERAL = PieceKind.LITERAL


def draw_end(policy: str) -> str:
    """What ends the seed of a policy's draws, the literal after the unit."""
    return f":{policy}"


def json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class EntityWeights:
    """The weights that edge mode draws by, as vectors. Policies with one state share them."""

    def __init__(self, states: Mapping[str, PolicyState]) -> None:
        self.states = states
        self._vectors: dict[int, tuple[Vector, ...]] = {}

    def of(self, policy: str) -> tuple[tuple[Vector, ...], Vector | None]:
        """A policy's weights by entity, in the order of their keys, and those of all other entities."""
        state = self.states.get(policy)
        if state is None:
            return (), None
        found = self._vectors.get(id(state))
        if found is None:
            items = sorted(state.entities.items(), key=lambda item: item[0].encode())
            found = tuple(Vector(key, tuple(one.weights), one.computed_at) for key, one in items)
            self._vectors[id(state)] = found
        fallback = state.fallback
        if fallback is None:
            return found, None
        return found, Vector("", tuple(fallback.weights), fallback.computed_at)


class Surroundings(msgspec.Struct, frozen=True):
    """What the layers of a bundle have in common. `project_slot`: the project's unit. `edge_results`: results to
    put in the place of edge policies' draws."""

    builder: Builder
    bucket_count: int
    project_slot: int
    weights: EntityWeights
    edge_results: Mapping[str, int] | None = None


class LayerLowering:
    """The nodes of one layer. Its last two arms are "no policy matched" and "no unit"."""

    def __init__(self, whole: Surroundings, layer: Layer, slot: int) -> None:
        self.whole = whole
        self.builder = whole.builder
        self.layer = layer
        self.slot = slot
        self.code: Assembler[Arm] = Assembler()
        self.bucket_count = whole.bucket_count
        self.split = -1

    def run(self) -> tuple[list[Node], list[Arm]]:
        """The nodes, and an arm for each outcome."""
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
        code.test(Op.EQ_STRING, slot, "", Exits(no_unit, hashed, no_unit, hashed))
        code.place(hashed)
        code.hash(HashKind.SHA256, pieces, Reduction.MODULO, self.bucket_count, first, no_unit)
        code.place(first)
        for number, policy in enumerate(self.layer.policies):
            if policy.running:
                self.policy(policy, number)
        self.outcome(Arm(), Resolution.DEFAULT)
        code.place(no_unit)
        self.outcome(Arm(), Resolution.DEFAULT)
        return code.finish()

    def outcome(self, arm: Arm, resolution: Resolution, rule: int = -1) -> None:
        cause = Cause.UNMATCHED if resolution is Resolution.DEFAULT else Cause.ROLLOUT
        self.code.outcome(arm, resolution, self.code.outcomes, rule, cause)

    def policy(self, policy: Policy, number: int) -> None:
        """One policy; what it doesn't match goes on behind it."""
        head = policy.head
        following = self.code.label()
        matches = self.guards(policy, following)
        if matches:
            self.split = self.recorded(policy)
            if head.contextual_model is not None and policy.allocations:
                self.contextual(policy, head.contextual_model, number)
            elif policy.mode == "bundle":
                self.per_entity(policy, self.slot, number, following, drawn=True)
            elif policy.mode == "edge":
                self.edge(policy, number, following)
            else:
                self.by_bucket(policy, number, following)
        self.code.place(following)

    def recorded(self, policy: Policy) -> int:
        """The number of the policy's split, -1 where it isn't recorded: dynamic allocations have no variants. What
        a model or weights have learnt is no new run."""
        head, config = policy.head, policy.head.entity_config
        if config is not None and config.dynamic_allocations is not None:
            return -1
        ranges = [(one.identity, one.bucket_range) for one in policy.allocations]
        basis = [
            *(self.layer.id, self.bucket_count, self.builder.slots[self.slot].name, head.kind),
            *(head.eligible_bucket_range, policy.conditions, ranges, policy.mode),
            *(None if config is None else config.entity_keys, head.contextual_model is not None),
        ]
        slot = self.whole.project_slot if policy.mode == "edge" else self.slot
        own = self.layer.unit_key if slot != self.whole.project_slot else None
        return self.builder.split(NAME, head.id, basis, own or "", slot)

    def guards(self, policy: Policy, following: Label) -> bool:
        """Eligibility and conditions; False where they can never hold."""
        code = self.code
        eligible = policy.head.eligible_bucket_range
        tree = join_trees(True, [lower_condition(self.builder, one) for one in policy.conditions])
        if tree is False:
            return False
        if eligible is not None:
            inside, low, high = code.label(), eligible.start, eligible.end
            code.ranges([(low, high, inside)], following)
            code.place(inside)
        if tree is not True:
            matched = code.label()
            emit(code, tree, matched, following)
            code.place(matched)
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

    def by_bucket(self, policy: Policy, number: int, following: Label) -> None:
        code = self.code
        labels = [code.label() for _ in policy.allocations]
        spans = [allocation.bucket_range for allocation in policy.allocations]
        code.ranges(
            [(*span, label) for span, label in zip(spans, labels, strict=True)],
            following,
            split=self.split,
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
        code.hash(HashKind.SHA256, pieces, Reduction.UNIT53, 0, scored)
        code.place(scored)
        alternatives = [(base, parts, label) for (base, parts), label in zip(terms, labels, strict=True)]
        code.scores(alternatives, model.gamma, model.action_probability_floor, split=self.split)
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

    def per_entity(self, policy: Policy, unit: int, number: int, following: Label, *, drawn: bool) -> None:
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
            Piece(LITERAL, draw_end(policy.head.id)),
        )
        code.hash(HashKind.SHA256, seed, Reduction.UNIT53, 0, weighed, following)
        code.place(weighed)
        known, fallback = self.whole.weights.of(policy.head.id)
        choices = [None] if dynamic is not None else list(policy.allocations)
        labels = [code.label() for _ in choices]
        count = -1 if dynamic is None else top_slot(self.builder, dynamic.count_key)
        most = 0 if dynamic is None else DYNAMIC_MAX
        counted = {"count_slot": count, "count_max": most}
        code.keyed_weights(tuple(key), known, fallback, labels, following, **counted, split=self.split)
        for choice, label in zip(choices, labels, strict=True):
            code.place(label)
            arm = self.arm(policy, choice, drawn=drawn)
            if choice is None:
                arm = self.numbered(arm)
            self.outcome(arm, Resolution.SPLIT, number)

    def numbered(self, arm: Arm) -> Arm:
        return msgspec.structs.replace(arm, numbered=True, allocation=f"{arm.policy}_dynamic_")

    def edge(self, policy: Policy, number: int, following: Label) -> None:
        if self.whole.edge_results is not None:
            self.given(policy, number, following, self.whole.edge_results)
            return
        unit, code = self.whole.project_slot, self.code
        if unit != self.slot:
            named = code.label()
            code.test(Op.EQ_STRING, unit, "", Exits(following, named, following, named))
            code.place(named)
        self.per_entity(policy, unit, number, following, drawn=False)

    def given(self, policy: Policy, number: int, following: Label, results: Mapping[str, int]) -> None:
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
