"""Reads a Red Pennon file and checks what it means: references, types, weights, circles, limits.

Each feature and audience is read by itself, so that a defect in one doesn't hide those of the others.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET

from fanion.definitions.lowering.rules import BUCKETS
from fanion.definitions.lowering.values import operand_text
from fanion.definitions.reading import limits
from fanion.definitions.reading.documents import DocumentError, read_document
from fanion.definitions.reading.report import Report, join, shown
from fanion.definitions.reading.structure import BROKEN, build
from fanion.definitions.reading.values import operand_defect, percentage_defect, value_defect
from fanion.definitions.sources.format import SourceFile
from fanion.definitions.sources.redpennon.features import (
    BARE,
    Audience,
    Condition,
    Feature,
    Frame,
    Parsed,
    Share,
    Targeting,
    Variable,
)
from fanion.model.definition import Scalar, Value
from fanion.model.program import DECISION_DEPTH_MAX


def parse(source: SourceFile, report: Report) -> Parsed | None:
    """None after a problem."""
    try:
        document = read_document(source.name, source.data)
    except DocumentError as error:
        report.problem(source.name, error.place, error.found, error.allowed)
        return None
    before = len(report.problems)
    frame = build(document, Frame, source.name, "", report)
    if frame is BROKEN:
        return None
    checks = _Checks(source.name, frame, report)
    checks.run()
    if len(report.problems) != before:
        return None
    return Parsed(frozenset(frame.environments), checks.audiences, checks.features)


class _Checks:
    """One file. An item that can't be read as a whole is not looked at further; the others are."""

    def __init__(self, file: str, frame: Frame, report: Report) -> None:
        self.file = file
        self.report = report
        self.frame = frame
        self.environments = frame.environments if isinstance(frame.environments, list) else []
        self.audiences: dict[str, Audience] = {}
        self.features: dict[str, Feature] = {}
        self._variables: dict[str, str] = {}

    def problem(self, path: str, found: str, allowed: str) -> None:
        self.report.problem(self.file, path, found, allowed)

    def run(self) -> None:
        for slug, item in (self.frame.audiences or {}).items():
            path = join("audiences", slug)
            audience = self.read(item, Audience, path)
            if audience is not None:
                self.audiences[slug] = audience
        for slug, audience in self.audiences.items():
            self.conditions(audience.conditions, f"{join('audiences', slug)}.conditions")
        self.circles()
        for slug, item in (self.frame.features or {}).items():
            path = join("features", slug)
            feature = self.read(item, Feature, path)
            if feature is not None:
                self.features[slug] = self.feature(slug, feature, path)

    def read(self, item: Any, kind: Any, path: str) -> Any:
        before = len(self.report.problems)
        built = build(item, kind, self.file, path, self.report)
        return built if len(self.report.problems) == before else None

    # -- features

    def feature(self, slug: str, feature: Feature, path: str) -> Feature:
        """The feature with its variables' keys folded."""
        counts = (
            ("variables", feature.variables, limits.VARIABLES_MAX),
            ("variations", feature.variations, limits.VARIANTS_MAX),
        )
        for what, items, most in counts:
            if not 1 <= len(items) <= most:
                self.problem(f"{path}.{what}", f"{len(items)} {what}", f"1 to {most}")
        variables = {key.lower(): variable for key, variable in feature.variables.items()}
        if len(variables) != len(feature.variables):
            self.problem(f"{path}.variables", "keys that differ in case only", "each key once, in any case")
        for key in variables:
            owner = self._variables.setdefault(key, slug)
            if owner != slug:
                found = f"{shown(key)} again"
                self.problem(join(f"{path}.variables", key), found, f"each key once; {owner} has it")
        variations = {
            name: self.variation(values, variables, join(f"{path}.variations", name))
            for name, values in feature.variations.items()
        }
        complete = feature.status == "complete"
        if isinstance(feature.final_variation, str):
            self.known_variation(feature.final_variation, variations, f"{path}.final_variation")
        elif complete:
            allowed = "the variation that a complete feature serves"
            self.problem(f"{path}.final_variation", "nothing", allowed)
        for name, targeting in feature.environments.items():
            place = join(f"{path}.environments", name)
            if name not in self.environments:
                self.problem(place, f"the environment {shown(name)}", _one_of(self.environments))
            self.targeting(targeting, variations, place)
        return msgspec.structs.replace(feature, variables=variables, variations=variations)

    def variation(
        self, values: dict[str, Value], variables: dict[str, Variable], path: str
    ) -> dict[str, Value]:
        folded = {key.lower(): value for key, value in values.items()}
        for key in variables:
            if key not in folded:
                self.problem(join(path, key), "nothing", "a value for every variable of the feature")
        for key, value in folded.items():
            variable = variables.get(key)
            if variable is None:
                self.problem(join(path, key), f"the variable {shown(key)}", _one_of(variables))
            elif variable.type == "json" and isinstance(value, list):
                self.problem(join(path, key), "a list", "an object, as the type is json")
            else:
                defect = value_defect(value, variable.type)
                if defect is not None:
                    self.problem(join(path, key), *defect)
        return folded

    def known_variation(self, slug: str, variations: dict[str, Any], path: str) -> None:
        if slug not in variations:
            self.problem(path, f"the variation {shown(slug)}", _one_of(variations))

    def targeting(self, targeting: Targeting, variations: dict[str, Any], path: str) -> None:
        self.known_variation(targeting.default_variation, variations, f"{path}.default_variation")
        if len(targeting.self_targeting) > limits.OPERANDS_MAX:
            found = f"{len(targeting.self_targeting)} users"
            self.problem(f"{path}.self_targeting", found, f"at most {limits.OPERANDS_MAX}")
        for user, slug in targeting.self_targeting.items():
            self.known_variation(slug, variations, join(f"{path}.self_targeting", user))
            if not user or len(user.encode()) > limits.TEXT_BYTES_MAX:
                self.problem(f"{path}.self_targeting", shown(user), "a user id or an email")
        if len(targeting.rules) > limits.RULES_MAX:
            found = f"{len(targeting.rules)} rules"
            self.problem(f"{path}.rules", found, f"at most {limits.RULES_MAX}")
        for number, rule in enumerate(targeting.rules):
            place = f"{path}.rules[{number}]"
            self.conditions(rule.conditions, f"{place}.conditions")
            if (rule.variation is UNSET) == (rule.distribution is UNSET):
                self.problem(place, "a variation and a distribution, or neither", "one of the two")
            if isinstance(rule.variation, str):
                self.known_variation(rule.variation, variations, f"{place}.variation")
            if isinstance(rule.distribution, list):
                self.distribution(rule.distribution, variations, f"{place}.distribution")

    def distribution(self, shares: list[Share], variations: dict[str, Any], path: str) -> None:
        total = 0
        for number, share in enumerate(shares):
            place = f"{path}[{number}]"
            defect = percentage_defect(share.weight)
            if defect is not None:
                self.problem(f"{place}.weight", *defect)
            total += round(share.weight * 100)
            self.known_variation(share.variation, variations, f"{place}.variation")
        if len(shares) > limits.VARIANTS_MAX:
            self.problem(path, f"{len(shares)} parts", f"at most {limits.VARIANTS_MAX}")
        if total != BUCKETS:
            self.problem(path, f"weights that sum to {total / 100:g}", "a sum of 100")

    # -- conditions and audiences

    def conditions(self, conditions: list[Condition], path: str) -> None:
        if not 1 <= len(conditions) <= limits.CONDITIONS_MAX:
            self.problem(path, f"{len(conditions)} conditions", f"1 to {limits.CONDITIONS_MAX}")
        for number, condition in enumerate(conditions):
            place = f"{path}[{number}]"
            custom = condition.property == "custom_property"
            if custom == (condition.custom_key is UNSET):
                found = "nothing" if custom else shown(condition.custom_key)
                allowed = "the member of custom_data" if custom else "only with custom_property"
                self.problem(f"{place}.custom_key", found, allowed)
            if condition.operator in BARE:
                if condition.values:
                    allowed = f"none with {condition.operator}"
                    self.problem(f"{place}.values", f"{len(condition.values)} values", allowed)
            elif not 1 <= len(condition.values) <= limits.OPERANDS_MAX:
                found = f"{len(condition.values)} values"
                self.problem(f"{place}.values", found, f"1 to {limits.OPERANDS_MAX}")
            for at, value in enumerate(condition.values):
                self.operand(value, f"{place}.values[{at}]")
                if condition.property == "audience":
                    self.defined(condition.operator, value, f"{place}.values[{at}]")

    def defined(self, operator: str, value: Scalar, path: str) -> None:
        """An audience may be one that only requests name, or a word that was mistyped."""
        if operator not in BARE and not audiences_named(positive(operator), [value], self.audiences):
            meaning = "only users whose request names it are in it"
            self.report.warning(
                self.file, path, f"{shown(value)}, which is no audience of this file", meaning
            )

    def operand(self, value: Scalar, path: str) -> None:
        defect = operand_defect(value)
        if defect is not None:
            self.problem(path, *defect)
        elif len(operand_text(value).encode()) > limits.TEXT_BYTES_MAX:
            self.problem(path, "a longer text", f"at most {limits.TEXT_BYTES_MAX} bytes")

    def circles(self) -> None:
        """Audiences that ask each other in a circle, or deeper than an evaluation's stack."""
        depths: dict[str, int] = {}
        for slug in self.audiences:
            self.depth(slug, depths, [])

    def depth(self, slug: str, depths: dict[str, int], trail: list[str]) -> int:
        if slug in depths:
            return depths[slug]
        path = join("audiences", slug)
        if slug in trail:
            circle = " → ".join([*trail[trail.index(slug) :], slug])
            self.problem(path, f"a circle: {circle}", "audiences that don't ask each other in a circle")
            depths[slug] = 0
            return 0
        trail.append(slug)
        asked = asked_audiences(self.audiences[slug].conditions, self.audiences)
        deepest = 1 + max((self.depth(other, depths, trail) for other in asked), default=0)
        trail.pop()
        if slug not in depths:
            if deepest >= DECISION_DEPTH_MAX:
                self.problem(path, "references too deep", f"at most {DECISION_DEPTH_MAX - 1} in a row")
                deepest = 0
            depths[slug] = deepest
        return depths[slug]


def audiences_named(operator: str, values: list[Scalar], audiences: dict[str, Audience]) -> list[str]:
    """The defined audiences whose slug passes a positive operator."""
    texts = [operand_text(value) for value in values]
    match operator:
        case "exists":
            return list(audiences)
        case "is":
            return [slug for slug in audiences if slug in texts]
        case "contains":
            return [slug for slug in audiences if any(text in slug for text in texts)]
        case "starts_with":
            return [slug for slug in audiences if any(slug.startswith(text) for text in texts)]
    return [slug for slug in audiences if any(slug.endswith(text) for text in texts)]


def asked_audiences(conditions: list[Condition], audiences: dict[str, Audience]) -> list[str]:
    """The defined audiences that conditions depend on."""
    asked: list[str] = []
    for condition in conditions:
        if condition.property == "audience":
            asked += audiences_named(positive(condition.operator), condition.values, audiences)
    return asked


_NEGATIVES: Final = {
    "is_not": "is",
    "does_not_contain": "contains",
    "does_not_start_with": "starts_with",
    "does_not_end_with": "ends_with",
    "does_not_exist": "exists",
}


def positive(operator: str) -> str:
    """The operator that a negative one is the negation of; a positive one itself."""
    return _NEGATIVES.get(operator, operator)


def _one_of(known: Any) -> str:
    names = sorted(known)
    more = f", and {len(names) - 20} more" if len(names) > 20 else ""
    return f"one of {', '.join(names[:20])}{more}" if names else "there are none"
