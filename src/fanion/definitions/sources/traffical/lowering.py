"""Lowers a Traffical bundle: a decision per layer (docs/apis/traffical.md: Resolution), one per edge policy
for `/v1/decide` (Edge policies).

Every layer's decision has an arm per outcome, which says what the outcome means and which values it lays over
the parameters (`fanion.model.layers`). Edge policies draw from the server's own weights, with the project's
unit; `edge_results` puts given results in their place, which is how recorded decisions are checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from fanion.definitions.lowering.assembler import Assembler, Exits
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report, shown
from fanion.definitions.sources.traffical.conditions import top_slot
from fanion.definitions.sources.traffical.experiments import derived, metrics_of
from fanion.definitions.sources.traffical.files import NAME, Bundle, Layer, Policy, PolicyState
from fanion.definitions.sources.traffical.layers import (
    DYNAMIC_MAX,
    LITERAL,
    EntityWeights,
    LayerLowering,
    Surroundings,
    draw_end,
    json_text,
)
from fanion.model.layers import Arm
from fanion.model.layers import Layer as LoweredLayer
from fanion.model.parts import Piece, PieceKind
from fanion.model.program import Answer, Cause, HashKind, Op, Profile, Reduction, Resolution, Slot, Source
from fanion.model.shape import ContextShape

CONFIG: Final = "traffical.config"
"""Document: the bundle as `GET /v1/config` answers it."""
RECORD: Final = "traffical"
"""Document: what the dialect needs at request time; see `Record`."""

ENTITY_ID: Final = "entityId"
UNIT: Final = "unitKeyValue"
COUNT: Final = "allocationCount"
"""The members that a decide request brings."""


class Edge(msgspec.Struct, frozen=True, rename="camel"):
    """An edge policy that `/v1/decide` answers: its decision and its allocations' names (none: dynamic)."""

    decision: int
    names: list[str] | None


class Record(msgspec.Struct, frozen=True, rename="camel"):
    """`unit_slot`: the slot of the project's unit, `unit_key` its name in the context. `constant`: the decision
    of what has one value."""

    version: str
    unit_key: str
    unit_slot: int
    constant: int
    edges: dict[str, Edge]
    events: dict[str, Any]
    suggested_refresh_ms: float | None = None


class TrafficalLowering:
    """One bundle in one environment."""

    def __init__(
        self,
        bundle: Bundle,
        states: dict[str, PolicyState],
        builder: Builder,
        edge_results: Mapping[str, int] | None = None,
    ) -> None:
        self.bundle = bundle
        self.builder = builder
        self.weights = EntityWeights(states)
        self.project_slot = top_slot(builder, bundle.head.hashing.unit_key)
        self.dropped: list[str] = []
        """Policies whose splits can't be recorded."""
        self.surroundings = Surroundings(
            builder, bundle.head.hashing.bucket_count, self.project_slot, self.weights, edge_results
        )

    def run(self, file: str, report: Report, config: bytes, events: dict[str, Any]) -> None:
        """Adds everything to the builder."""
        head = self.bundle.head
        if CONFIG in self.builder.documents:
            found = "a second Traffical bundle in one environment"
            report.problem(file, "document", found, "one bundle; its projects are environments of their own")
            return
        self.builder.shapes[NAME] = ContextShape(unit=head.hashing.unit_key)
        constant = self.constant()
        lowered = {layer.id: self.layer(layer) for layer in self.bundle.layers}
        for name in self.dropped:
            self.builder.leaves_none(name, "the draws behind many others'")
        for policy in (one for layer in self.bundle.layers for one in layer.policies if one.running):
            entity = policy.head.entity_config
            if entity is not None and entity.dynamic_allocations is not None:
                self.builder.leaves_none(policy.head.id, "the dynamic allocations, which have no variants,")
            elif policy.mode == "edge":
                self.builder.leaves_none(policy.head.id, "the answers of /v1/decide")
        self.parameters(file, report, constant, lowered)
        for policy in (one for layer in self.bundle.layers for one in layer.policies):
            self.builder.policies[policy.head.id] = tuple(one.identity for one in policy.allocations)
        self.experiments()
        named = (event.get("name") for event in head.event_definitions or [])
        self.builder.metrics |= {name for name in named if isinstance(name, str)}
        self.builder.documents[CONFIG] = config
        refresh = head.suggested_refresh_ms
        known = isinstance(refresh, int | float) and not isinstance(refresh, bool) and refresh > 0
        record = Record(
            version=head.version,
            unit_key=head.hashing.unit_key,
            unit_slot=self.project_slot,
            constant=constant,
            edges=self.edges(),
            events=events,
            suggested_refresh_ms=float(refresh) if known else None,
        )
        self.builder.documents[RECORD] = msgspec.json.encode(record)
        ids = {"organisation": head.org_id, "project": head.project_id, "environment": head.env}
        if NAME in self.builder.identifiers:
            self.builder.identifiers[NAME] = ids
        else:
            report.warning(
                file, "document", "an environment that is not served to Traffical", "not asked for"
            )

    def experiments(self) -> None:
        """What its policies are by themselves."""
        metrics = metrics_of(self.bundle.head.event_definitions or [])
        self.builder.derived_metrics[NAME] = metrics
        found = (derived(policy, metrics) for layer in self.bundle.layers for policy in layer.policies)
        self.builder.derived += [plan for plan in found if plan is not None]

    def constant(self) -> int:
        """The decision of parameters without a layer, with one outcome. That it tests the project's unit only
        has the unit's text form made, which answers show."""
        code: Assembler[None] = Assembler()
        end = code.label()
        code.test(Op.TEXT_IN, self.project_slot, ("",), Exits(end, end, end, end))
        code.place(end)
        code.outcome(None, Resolution.DEFAULT, 0, cause=Cause.DEFAULT)
        return self.builder.decision("traffical", code.finish()[0])

    # -- layers

    def layer(self, layer: Layer) -> tuple[int, list[Arm]]:
        """The layer's decision, its arms in the order of its outcomes."""
        unit = layer.unit_key
        slot = self.project_slot if unit is None else top_slot(self.builder, unit)
        if unit is not None and not unit.strip():
            unit, slot = None, -1
            code: Assembler[Arm] = Assembler()
            code.outcome(Arm(), Resolution.DEFAULT, 0, cause=Cause.DEFAULT)
            nodes, arms = code.finish()
        else:
            lowering = LayerLowering(self.surroundings, layer, slot)
            nodes, arms = lowering.run()
            self.dropped += [self.builder.splits[split].flag for split in lowering.code.dropped]
        decision = self.builder.decision(layer.id, nodes)
        self.builder.layers.append(LoweredLayer(layer.id, decision, tuple(arms), unit, slot, NAME))
        return decision, arms

    def parameters(
        self, file: str, report: Report, constant: int, lowered: dict[str, tuple[int, list[Arm]]]
    ) -> None:
        """What each parameter is worth at each outcome of its own layer, by itself."""
        last = {parameter.key: parameter for parameter in self.bundle.parameters}
        for key, parameter in last.items():
            owner = self.builder.taken(key, NAME, file, "parameters")
            if owner is not None:
                found = f"the parameter {shown(key)}, which a {owner} definition has"
                report.problem(file, "parameters", found, "each key once")
                continue
            default = json_text(parameter.default)
            decision, arms = lowered.get(parameter.layer_id, (constant, [Arm()]))
            answers = []
            for arm in arms:
                values = dict(arm.values)
                matched = key in values
                resolution = Resolution.SPLIT if matched else Resolution.DEFAULT
                cause = Cause.ROLLOUT if matched else Cause.UNMATCHED if len(arms) > 1 else Cause.DEFAULT
                value = values.get(key, default)
                answers.append(Answer(resolution, value, arm.allocation_name, arm.policy, cause))
            self.builder.parameter(
                key, decision, answers, group=parameter.layer_id, client_safe=True, source=NAME
            )

    # -- edge policies

    def edges(self) -> dict[str, Edge]:
        """A decision for each running edge policy; of several with one id the first counts."""
        found: dict[str, Edge] = {}
        for layer in self.bundle.layers:
            for policy in layer.policies:
                if policy.running and policy.mode == "edge" and policy.head.id not in found:
                    edge = self.edge(policy)
                    if edge is not None:
                        found[policy.head.id] = edge
        return found

    def edge(self, policy: Policy) -> Edge | None:
        config = policy.head.entity_config
        assert config is not None
        dynamic = config.dynamic_allocations is not None
        if not dynamic and not policy.allocations:
            return None
        entity, unit, count = (
            self.builder.slot(Slot(Source.MEMBER, name, profile=Profile.DOUBLES))
            for name in (ENTITY_ID, UNIT, COUNT)
        )
        known, fallback = self.weights.of(policy.head.id)
        key = (Piece(PieceKind.TEXT, slot=entity),)
        seed = (
            *key,
            Piece(LITERAL, ":"),
            Piece(PieceKind.TEXT, slot=unit),
            Piece(LITERAL, draw_end(policy.head.id)),
        )
        code: Assembler[None] = Assembler()
        weighed, error = code.label(), code.label()
        choices = [code.label() for _ in ([None] if dynamic else policy.allocations)]
        code.hash(HashKind.SHA256, seed, Reduction.UNIT53, 0, weighed, error)
        code.place(weighed)
        count_slot, count_max = (count, DYNAMIC_MAX) if dynamic else (-1, 0)
        code.keyed_weights(key, known, fallback, choices, error, count_slot=count_slot, count_max=count_max)
        for number, choice in enumerate(choices):
            code.place(choice)
            code.outcome(None, Resolution.SPLIT, number, cause=Cause.ROLLOUT)
        code.place(error)
        code.outcome(None, Resolution.ERROR)
        decision = self.builder.decision(f"decide:{policy.head.id}", code.finish()[0])
        names = None if dynamic else [allocation.name for allocation in policy.allocations]
        return Edge(decision, names)
