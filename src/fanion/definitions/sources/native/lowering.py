"""Lowers a project's native definitions to one environment's program, by the same code as Feather's bundles.

Everything here has passed the checks. Segments and flags that conditions ask are lowered first, on demand, so
a decision only ever asks lower ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.lowering.conditions import Group, Leaf, Tree, join_trees, lower_test, negate
from fanion.definitions.lowering.rules import Serving, lower_flag, lower_off, lower_rules
from fanion.definitions.lowering.segments import MEMBER, member_outcome, membership
from fanion.definitions.lowering.values import Numbers, value_text, variant_names
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.native.worlds import ProjectWorld
from fanion.model.definition import Condition, Feature, Flag, Rule, Segment
from fanion.model.program import Answer, DecisionVariant, Op
from fanion.model.shape import NATIVE


def list_name(project: ProjectWorld, segment: str, side: str) -> str:
    """The store's name of one side ("include" or "exclude") of a list segment."""
    return f"{project.organisation.id}/{project.key}/{segment}/{side}"


class NativeLowering:
    """One project's definitions as they are in one environment."""

    def __init__(self, project: ProjectWorld, environment: str, builder: Builder, report: Report) -> None:
        self.project = project
        self.environment = environment
        self.builder = builder
        self.report = report
        self.segments: dict[str, int] = {}
        self.flags: dict[str, tuple[int, Numbers]] = {}

    def run(self) -> None:
        self.builder.flat_context(NATIVE)
        for key in self.project.flags:
            self.flag(key)
        for key, placed in self.project.features.items():
            self.feature(key, placed.item, placed.file, placed.path)
        events = {
            key: {"type": placed.item.type, "unit": placed.item.unit}
            for key, placed in self.project.events.items()
        }
        settings = self.project.organisation.settings()
        organisation = {
            "id": self.project.organisation.id,
            "name": settings.name,
            "plan": settings.plan,
            "subscription_active": settings.subscription_active,
            "suspended": settings.suspended,
            "limits": settings.limits,
        }
        self.builder.documents["organisation"] = msgspec.json.encode(organisation)
        self.builder.documents["events"] = msgspec.json.encode(events)
        descriptions = {f"{NATIVE}:{key}": text for key, text in self.descriptions() if text}
        if descriptions:
            self.builder.documents["descriptions"] = msgspec.json.encode(descriptions)
        segments = {key: self.segment_record(key) for key in self.project.segments}
        if segments:
            self.builder.documents["segments"] = msgspec.json.encode(segments)

    def take(self, key: str, file: str, path: str) -> None:
        owner = self.builder.taken(key, NATIVE, file, path)
        if owner is not None:
            self.report.problem(file, path, f"a key that a {owner} definition has", "each key once")

    def descriptions(self) -> Iterator[tuple[str, str]]:
        """What people say of a key: for tools that list flags. A variable without its own has its feature's."""
        for key, flag in self.project.flags.items():
            yield key, flag.item.description
        for feature in self.project.features.values():
            for key, variable in feature.item.variables.items():
                yield key, variable.description or feature.item.description

    # -- flags and features

    def flag(self, key: str) -> tuple[int, Numbers]:
        known = self.flags.get(key)
        if known is not None:
            return known
        placed = self.project.flags[key]
        flag = placed.item
        enabled, default, rules = flag.enabled, flag.default_value, flag.rules
        if flag.environments:
            enabled, default, rules = _in_environment(flag, self.environment)
        self.take(key, placed.file, placed.path)
        if self.builder.overriding:
            variants = {one.key: one.value for one in flag.variants}
            chosen = self.builder.overriding.choose(NATIVE, key, variants, like=default)
            if chosen is not None:
                enabled, default, rules = True, chosen.value, []
        made = self.flags[key] = lower_flag(
            self.builder,
            key,
            enabled=enabled,
            default=default,
            rules=self.servings(rules, "value") if enabled else [],
            names=variant_names(flag.variants) if flag.variants else {},
            client_safe=flag.client_safe,
            flag_id=flag.flag_id,
            source=NATIVE,
            basis=rules,
        )
        return made

    def feature(self, key: str, feature: Feature, file: str, path: str) -> None:
        """One decision over variations; one parameter for each variable."""
        enabled, default, rules = feature.enabled, feature.default_variation, feature.rules
        override = feature.environments.get(self.environment)
        if override is not None:
            enabled = _or(override.enabled, enabled)
            default = _or(override.default_variation, default)
            rules = _or(override.rules, rules)
        variations = {slug: number for number, slug in enumerate(feature.variations)}
        chosen = self.builder.overriding.choose(NATIVE, key, feature.variations)
        if chosen is not None:
            enabled, default, rules = True, str(chosen.variant), []
        if enabled:
            servings = self.servings(rules, "variation")
            split = self.builder.split(NATIVE, key, rules)
            number = variations.__getitem__
            nodes, ends = lower_rules(self.builder, key, servings, default, number, split=split)
        else:
            nodes, ends = lower_off(default, variations.__getitem__)
        decision = self.builder.decision(key, nodes)
        for variable in feature.variables:
            self.take(variable, file, f"{path}.variables.{variable}")
            answers = [
                Answer(
                    end.resolution,
                    value_text(feature.variations[end.choice][variable]),
                    end.choice,
                    end.rule_id,
                    end.cause,
                )
                for end in ends
            ]
            self.builder.parameter(
                variable,
                decision,
                answers,
                group=key,
                client_safe=feature.client_safe,
                group_id=feature.feature_id,
                variants=tuple(variations),
            )

    def servings(self, rules: list[Rule], served: str) -> list[Serving]:
        made = []
        for number, rule in enumerate(rules):
            if not rule.enabled:
                continue
            when = self.tree(rule.conditions, rule.condition_operator) if rule.conditions else True
            if isinstance(rule.split, list):
                parts = [(round(part.weight * 100), getattr(part, served)) for part in rule.split]
                parts = [part for part in parts if part[0]]
                made.append(Serving(number, rule.id, when, None, None, parts))
            else:
                choice = getattr(rule, served)
                made.append(Serving(number, rule.id, when, choice, rule.rollout_percentage))
        return made

    # -- conditions and segments

    def tree(self, conditions: list[Condition], operator: str) -> Tree:
        """Conditions joined; an empty list matches everyone, with OR too."""
        if len(conditions) == 1:
            return self.condition(conditions[0])
        return not conditions or join_trees(operator != "OR", [self.condition(c) for c in conditions])

    def condition(self, condition: Condition) -> Tree:
        if condition.attribute is not UNSET:
            return lower_test(self.builder, condition.attribute, str(condition.operator), condition.value)
        if isinstance(condition.all, list):
            return join_trees(True, [self.condition(child) for child in condition.all])
        if isinstance(condition.any, list):
            return join_trees(False, [self.condition(child) for child in condition.any])
        if isinstance(condition.not_, Condition):
            return negate(self.condition(condition.not_))
        if isinstance(condition.segment, str):
            return Leaf(Op.DECISION_IS, -1, DecisionVariant(self.segment(condition.segment), MEMBER))
        decision, numbers = self.flag(str(condition.flag))
        number = numbers.find(condition.is_)
        return False if number is None else Leaf(Op.DECISION_IS, -1, DecisionVariant(decision, number))

    def segment(self, key: str) -> int:
        """A segment's decision: variant MEMBER or OTHER."""
        known = self.segments.get(key)
        if known is not None:
            return known
        segment = self.project.segments[key].item
        nodes = membership(self.segment_tree(key, segment))
        decision = self.segments[key] = self.builder.decision(f"segment:{key}", nodes)
        return decision

    def segment_record(self, key: str) -> dict[str, int]:
        """For APIs that ask for membership itself: the decision, and which of its outcomes means so (-1: none)."""
        decision = self.segment(key)
        return {"decision": decision, "member": member_outcome(self.builder.decisions[decision].nodes)}

    def segment_tree(self, key: str, segment: Segment) -> Tree:
        members = segment.members
        if isinstance(segment.conditions, list) or members is UNSET:
            conditions = segment.conditions if isinstance(segment.conditions, list) else []
            return self.tree(conditions, segment.condition_operator)
        slot = self.builder.named(members.attribute)
        sides: list[Leaf | Group] = []
        for side, negative in (("exclude", True), ("include", False)):
            if getattr(members, side) or getattr(members, f"{side}_file"):
                name = self.builder.list_name(list_name(self.project, key, side))
                sides.append(Leaf(Op.LIST_MEMBER, slot, name, negative))
            elif side == "include":
                return False
        return join_trees(True, list(sides))


def _or(value: Any, fallback: Any) -> Any:
    return fallback if value is UNSET else value


def _in_environment(flag: Flag, environment: str) -> tuple[bool, Any, list[Rule]]:
    override = flag.environments.get(environment)
    if override is None:
        return flag.enabled, flag.default_value, flag.rules
    return (
        _or(override.enabled, flag.enabled),
        _or(override.default_value, flag.default_value),
        _or(override.rules, flag.rules),
    )
