"""Lowers Red Pennon's features: one decision each, one parameter per variable (docs/apis/redpennon.md:
Evaluate one, Definitions).

Precedence: deleted, archived, complete, self-targeting, OFF, rules in order, default variation. A missing or
untestable attribute fails a positive operator and passes a negative one; several values are ORed, a negative
operator is the negation of all of that.

The user is read from `members` under the names of the API, `custom_data` from the context of that type, so a
custom key can't hide a property.

Decisions, 2026-11. Distributions hash XXH64 (seed 0) of "environment id:feature slug:identity" mod 10000. The
id is the environment's for Red Pennon (`identifiers.redpennon.environment`, else its id) and not the key: a
key is rotated at any time, and that must move nobody. The identity is the user's id, else the email; an empty
text, or no text at all, is none. Someone without either ends at the default variation instead of trying the
next rule.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec.structs import replace

from fanion.definitions.lowering.assembler import Assembler, Exits
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.lowering.conditions import Leaf, Tree, emit, join_trees, negate
from fanion.definitions.lowering.rules import emit_split
from fanion.definitions.lowering.segments import MEMBER, membership
from fanion.definitions.lowering.values import operand_text, value_text
from fanion.definitions.reading.report import Report, join, shown
from fanion.definitions.sources.format import SourceFile
from fanion.definitions.sources.redpennon.checks import audiences_named, positive
from fanion.definitions.sources.redpennon.experiments import derived
from fanion.definitions.sources.redpennon.features import (
    NAME,
    Audience,
    Condition,
    Feature,
    Parsed,
    Rule,
    Share,
    Targeting,
)
from fanion.model.program import Answer, Cause, DecisionVariant, Node, Op, Resolution, Slot, Source
from fanion.model.shape import ContextShape

MEMBERS: Final = {
    "user_id": "id",
    "email": "email",
    "organisation_id": "organisation_id",
    "ip_address": "ip",
    "app_version": "app_version",
    "platform": "platform",
    "country": "country",
    "audience": "audiences",
}
"""Property -> member of `user`."""

CUSTOM_DATA: Final = "custom_data"

SHAPE: Final = ContextShape(
    subject=MEMBERS["user_id"],
    members={member: member for property, member in MEMBERS.items() if property != "user_id"},
    types={
        member: "texts" if property == "audience" else "text"
        for property, member in MEMBERS.items()
        if property != "user_id"
    },
    context_type=CUSTOM_DATA,
)
"""A flat context has the user's properties under their own names; all else is custom data."""

_TEXT_OPS: Final = {
    "contains": Op.TEXT_CONTAINS,
    "starts_with": Op.TEXT_STARTS,
    "ends_with": Op.TEXT_ENDS,
}


class End(NamedTuple):
    """What an outcome means; the n-th belongs to outcome n. Without a variation nothing is served."""

    resolution: Resolution
    cause: Cause
    variation: str | None = None


DELETED: Final = End(Resolution.OFF, Cause.DELETED)
ARCHIVED: Final = End(Resolution.OFF, Cause.ARCHIVED)
DISABLED: Final = End(Resolution.OFF, Cause.OFF)


def lower(parsed: Parsed, source: SourceFile, builder: Builder, report: Report) -> None:
    """Add the features as they are in one environment."""
    if builder.name not in parsed.environments:
        found = f"no {shown(builder.name)}"
        report.problem(source.name, "environments", found, "every environment that refers to this file")
        return
    builder.shapes[NAME] = SHAPE
    identifiers = builder.identifiers.get(NAME, {})
    lowering = _Lowering(builder, parsed.audiences, identifiers.get("environment", builder.environment))
    for slug, feature in parsed.features.items():
        path = join("features", slug)
        for variable in feature.variables:
            place = join(f"{path}.variables", variable)
            owner = builder.taken(variable, NAME, source.name, place)
            if owner is not None:
                report.problem(source.name, place, f"a key that a {owner} definition has", "each key once")
        lowering.feature(slug, feature)


class _Lowering:
    """One file in one environment."""

    def __init__(self, builder: Builder, audiences: dict[str, Audience], environment_id: str) -> None:
        self.builder = builder
        self.audiences = audiences
        self.environment_id = environment_id
        self._decisions: dict[str, int] = {}

    def member(self, property: str) -> int:
        return self.builder.slot(Slot(Source.MEMBER, MEMBERS[property]))

    # -- features

    def feature(self, slug: str, feature: Feature) -> None:
        run = _FeatureRun(self, slug, {name: number for number, name in enumerate(feature.variations)})
        if feature.status != "deleted":
            chosen = self.builder.overriding.choose(NAME, slug, feature.variations)
            if chosen is not None:
                feature = replace(feature, status="complete", final_variation=str(chosen.variant))
        nodes, ends = run.lower(feature, feature.environments.get(self.builder.name))
        decision = self.builder.decision(slug, nodes)
        variants = tuple(feature.variations)
        plan = derived(
            slug, feature, feature.environments.get(self.builder.name), self.builder.run(run.recorded)
        )
        if plan is not None:
            self.builder.derived.append(plan)
        for variable in feature.variables:
            answers = [
                Answer(
                    end.resolution,
                    None
                    if end.variation is None
                    else value_text(feature.variations[end.variation][variable]),
                    end.variation,
                    cause=end.cause,
                )
                for end in ends
            ]
            self.builder.parameter(
                variable,
                decision,
                answers,
                group=slug,
                client_safe=feature.client_safe,
                source=NAME,
                variants=variants,
            )

    # -- conditions

    def conditions(self, conditions: list[Condition]) -> Tree:
        return join_trees(True, [self.condition(condition) for condition in conditions])

    def condition(self, condition: Condition) -> Tree:
        operator = positive(condition.operator)
        texts = tuple(map(operand_text, condition.values))
        if condition.property == "audience":
            tree = self.audience(operator, condition, texts)
        else:
            if condition.property == "custom_property":
                name = str(condition.custom_key)
                slot = self.builder.slot(Slot(Source.CONTEXT_ATTRIBUTE, name, CUSTOM_DATA))
            else:
                slot = self.member(condition.property)
            tree = _test(slot, operator, texts)
        return tree if operator == condition.operator else negate(tree)

    def audience(self, operator: str, condition: Condition, texts: tuple[str, ...]) -> Tree:
        """Of the audiences that the request names and the defined ones that the user belongs to, one
        passes."""
        slot = self.member("audience")
        if operator == "exists":
            named: Tree = Leaf(Op.TEXT_CONTAINS, slot, "", any_element=True)
        else:
            named = _test(slot, operator, texts)
        asked = audiences_named(operator, condition.values, self.audiences)
        belongs: list[Tree] = [
            Leaf(Op.DECISION_IS, -1, DecisionVariant(self.decision(slug), MEMBER)) for slug in asked
        ]
        return join_trees(False, [named, *belongs])

    def decision(self, slug: str) -> int:
        """The decision of a defined audience; what it asks stands before it."""
        known = self._decisions.get(slug)
        if known is None:
            tree = self.conditions(self.audiences[slug].conditions)
            known = self._decisions[slug] = self.builder.decision(f"audience:{slug}", membership(tree))
        return known


def _test(slot: int, operator: str, texts: tuple[str, ...]) -> Tree:
    """A positive operator on one slot; a list of texts passes when one of them does."""
    if operator == "exists":
        return Leaf(Op.PRESENT, slot, None)
    if operator == "is":
        return Leaf(Op.TEXT_IN, slot, texts, any_element=True)
    op = _TEXT_OPS[operator]
    return join_trees(False, [Leaf(op, slot, text, any_element=True) for text in texts])


class _FeatureRun:
    """The nodes of one feature's decision, added in order."""

    def __init__(self, lowering: _Lowering, slug: str, variations: dict[str, int]) -> None:
        self.lowering = lowering
        self.slug = slug
        self.variations = variations
        self.code: Assembler[End] = Assembler()
        self.recorded = -1

    def lower(self, feature: Feature, targeting: Targeting | None) -> tuple[list[Node], list[End]]:
        if feature.status == "deleted":
            self.end(DELETED)
        elif feature.status == "archived":
            self.end(ARCHIVED)
        elif feature.status == "complete":
            self.end(End(Resolution.DEFAULT, Cause.COMPLETE, str(feature.final_variation)))
        elif targeting is None:
            self.end(DISABLED)
        else:
            self.pins(targeting.self_targeting)
            if targeting.targeting == "off":
                self.end(DISABLED)
            else:
                basis = [self.lowering.environment_id, targeting.rules]
                self.recorded = self.lowering.builder.split(NAME, self.slug, basis)
                self.rules(targeting.rules, targeting.default_variation)
        return self.code.finish()

    def end(self, end: End, rule: int = -1) -> None:
        number = -1 if end.variation is None else self.variations[end.variation]
        self.code.outcome(end, end.resolution, number, rule, end.cause)

    def pins(self, pinned: dict[str, str]) -> None:
        """Self-targeting: by user id first, then by email."""
        code = self.code
        users: dict[str, list[str]] = {}
        for user, variation in pinned.items():
            users.setdefault(variation, []).append(user)
        for property in ("user_id", "email"):
            slot = self.lowering.member(property) if users else -1
            for variation, known in users.items():
                found, following = code.label(), code.label()
                code.test(Op.STRING_IN, slot, tuple(known), Exits(found, following, following, following))
                code.place(found)
                self.end(End(Resolution.MATCHED, Cause.PINNED, variation))
                code.place(following)

    def rules(self, rules: list[Rule], default: str) -> None:
        code = self.code
        unmatched = End(Resolution.DEFAULT, Cause.UNMATCHED if rules else Cause.DEFAULT, default)
        for number, rule in enumerate(rules):
            when = self.lowering.conditions(rule.conditions)
            if when is False:
                continue
            following = code.label()
            if when is not True:
                matched = code.label()
                emit(code, when, matched, following)
                code.place(matched)
            shares = rule.distribution if isinstance(rule.distribution, list) else []
            shares = [share for share in shares if round(share.weight * 100)]
            if shares:
                self.split(shares, unmatched, number)
            else:
                variation = str(rule.variation)
                self.end(End(Resolution.MATCHED, Cause.RULE, variation), number)
            if when is True:
                return
            code.place(following)
        self.end(unmatched)

    def split(self, shares: list[Share], unmatched: End, rule: int) -> None:
        """By user id, else by email, else `unmatched`."""
        code, lowering = self.code, self.lowering
        identities = [
            lowering.builder.identity(lowering.member(property)) for property in ("user_id", "email")
        ]
        targets = [(round(share.weight * 100), code.label()) for share in shares]
        nobody = code.label()
        salt = f"{lowering.environment_id}:{self.slug}:"
        emit_split(code, Op.STRING_IN, identities, salt, targets, nobody, split=self.recorded)
        for (_, target), share in zip(targets, shares, strict=True):
            code.place(target)
            self.end(End(Resolution.SPLIT, Cause.ROLLOUT, share.variation), rule)
        code.place(nobody)
        self.end(unmatched)
