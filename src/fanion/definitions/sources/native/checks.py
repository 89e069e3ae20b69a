"""The checks of meaning of native definitions. Long, since one project's checks share its names and its report.

References, types, percentages, patterns, cycles, limits.
They run on what could be read, skip what is BROKEN, and report everything they find. Paths are made only for
a problem, since ten thousand good flags have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import UNSET

from fanion.definitions.lowering.conditions import pattern_error
from fanion.definitions.lowering.rules import BUCKETS
from fanion.definitions.lowering.values import identity, operand_number, operand_text
from fanion.definitions.reading import limits
from fanion.definitions.reading.report import Report, join, shown
from fanion.definitions.reading.structure import BROKEN
from fanion.definitions.reading.values import (
    operand_defect,
    order_defect,
    percentage_defect,
    value_defect,
)
from fanion.definitions.sources.native.worlds import Placed, ProjectWorld
from fanion.model.definition import Condition, Feature, Flag, ListSegment, Rule, Segment, SplitPart
from fanion.model.program import DECISION_DEPTH_MAX

Reference = tuple[str, str]
"""("segment" or "flag", key)."""

_FORMS = ("attribute", "all", "any", "not_", "segment", "flag")
_BARE = ("is_set", "is_not_set")
_MANY = ("in", "not_in", "geo_country")
_NUMBERS = ("gt", "gte", "lt", "lte")


class ProjectChecks:
    """One project. `references` says which segments and flags each of them asks."""

    def __init__(self, project: ProjectWorld, report: Report) -> None:
        self.project = project
        self.report = report
        self.references: dict[Reference, dict[Reference, str]] = {}
        self.file = ""
        self.asking: Reference = ("", "")

    def run(self) -> None:
        project = self.project
        for key, placed in project.segments.items():
            self.enter("segment", key, placed)
            self.segment(placed.item, placed.path)
        for key, flag in project.flags.items():
            self.enter("flag", key, flag)
            self.flag(flag.item, flag.path)
        for key, feature in project.features.items():
            self.enter("feature", key, feature)
            self.feature(feature.item, feature.path)
        self.cycles()

    def enter(self, kind: str, key: str, placed: Placed[Any]) -> None:
        self.file = placed.file
        self.asking = (kind, key)

    def problem(self, path: str, found: str, allowed: str) -> None:
        self.report.problem(self.file, path, found, allowed)

    # -- flags and features

    def flag(self, flag: Flag, path: str) -> None:
        self.value(flag.default_value, flag.type, f"{path}.default_value")
        self.rules(flag.rules, path, flag.type, None)
        if flag.variants:
            self.variants(flag, path)
        for name, override in flag.environments.items():
            place = join(f"{path}.environments", name)
            self.known_environment(name, place)
            if override.default_value is not UNSET:
                self.value(override.default_value, flag.type, f"{place}.default_value")
            if override.rules is not UNSET:
                self.rules(override.rules, place, flag.type, None)

    def variants(self, flag: Flag, path: str) -> None:
        if len(flag.variants) > limits.VARIANTS_MAX:
            self.problem(
                f"{path}.variants", f"{len(flag.variants)} variants", f"at most {limits.VARIANTS_MAX}"
            )
        seen: set[str] = set()
        for number, variant in enumerate(flag.variants):
            if variant is BROKEN:
                continue
            place = f"{path}.variants[{number}]"
            if variant.key in seen and variant.key is not BROKEN:
                self.problem(f"{place}.key", f"{shown(variant.key)} again", "each key once")
            seen.add(variant.key)
            self.value(variant.value, flag.type, f"{place}.value")

    def feature(self, feature: Feature, path: str) -> None:
        variables, variations = feature.variables, feature.variations
        if variables is BROKEN or variations is BROKEN:
            return
        for what, items, most in (
            ("variables", variables, limits.VARIABLES_MAX),
            ("variations", variations, limits.VARIANTS_MAX),
        ):
            if not 1 <= len(items) <= most:
                self.problem(f"{path}.{what}", f"{len(items)} {what}", f"1 to {most}")
        for slug, values in variations.items():
            place = join(f"{path}.variations", slug)
            for key in variables:
                if key not in values:
                    self.problem(join(place, key), "nothing", "a value for every variable of the feature")
            for key, value in values.items():
                if key not in variables:
                    self.problem(join(place, key), f"the variable {shown(key)}", _one_of(variables))
                elif variables[key] is not BROKEN:
                    self.value(value, variables[key].type, join(place, key))
        self.variation(feature.default_variation, variations, f"{path}.default_variation")
        self.rules(feature.rules, path, None, variations)
        for name, override in feature.environments.items():
            place = join(f"{path}.environments", name)
            self.known_environment(name, place)
            if override.default_variation is not UNSET:
                self.variation(override.default_variation, variations, f"{place}.default_variation")
            if override.rules is not UNSET:
                self.rules(override.rules, place, None, variations)

    def known_environment(self, name: str, path: str) -> None:
        if name not in self.project.environments:
            self.problem(path, f"the environment {shown(name)}", _one_of(self.project.environments))

    def value(self, value: Any, kind: Any, path: str) -> None:
        defect = value_defect(value, kind)
        if defect is not None:
            self.problem(path, *defect)

    def variation(self, slug: Any, variations: dict[str, Any], path: str) -> None:
        if slug is not BROKEN and slug not in variations:
            self.problem(path, f"the variation {shown(slug)}", _one_of(variations))

    # -- rules

    def rules(self, rules: Any, path: str, kind: Any, variations: dict[str, Any] | None) -> None:
        if rules is BROKEN or not rules:
            return
        if len(rules) > limits.RULES_MAX:
            self.problem(f"{path}.rules", f"{len(rules)} rules", f"at most {limits.RULES_MAX}")
        seen: set[Any] = set()
        for number, rule in enumerate(rules):
            if rule is BROKEN:
                continue
            place = f"{path}.rules[{number}]"
            if rule.id in seen and rule.id is not BROKEN:
                self.problem(f"{place}.id", f"{shown(rule.id)} again", "each id once, it salts the rollout")
            seen.add(rule.id)
            self.serving(rule, place, kind, variations)
            if rule.rollout_percentage is not None and rule.rollout_percentage is not BROKEN:
                self.percentage(rule.rollout_percentage, f"{place}.rollout_percentage")
            if rule.conditions:
                self.conditions(rule.conditions, f"{place}.conditions")

    def serving(self, rule: Rule, path: str, kind: Any, variations: dict[str, Any] | None) -> None:
        """A rule serves one thing or a split of them."""
        own, other = ("value", "variation") if variations is None else ("variation", "value")
        single = getattr(rule, own)
        if getattr(rule, other) is not UNSET:
            self.problem(f"{path}.{other}", f"a {other}", f"a {own} or a split")
        if rule.split is UNSET:
            if single is UNSET:
                self.problem(path, "a rule that serves nothing", f"a {own} or a split")
            elif variations is None:
                self.value(single, kind, f"{path}.value")
            else:
                self.variation(single, variations, f"{path}.variation")
            return
        if single is not UNSET:
            self.problem(path, f"a {own} and a split", "one of the two")
        if rule.rollout_percentage is not None:
            self.problem(f"{path}.rollout_percentage", "a rollout of a split", "the split's own weights")
        if rule.split is not BROKEN:
            self.split(rule.split, f"{path}.split", kind, variations)

    def percentage(self, percentage: float, path: str) -> None:
        defect = percentage_defect(percentage)
        if defect is not None:
            self.problem(path, *defect)

    def split(self, parts: list[SplitPart], path: str, kind: Any, variations: dict[str, Any] | None) -> None:
        if not 1 <= len(parts) <= limits.VARIANTS_MAX:
            self.problem(path, f"{len(parts)} parts", f"1 to {limits.VARIANTS_MAX}")
        own, other = ("value", "variation") if variations is None else ("variation", "value")
        total: int | None = 0
        for number, part in enumerate(parts):
            if part is BROKEN or part.weight is BROKEN:
                total = None
            if part is BROKEN:
                continue
            place = f"{path}[{number}]"
            if part.weight is not BROKEN:
                self.percentage(part.weight, f"{place}.weight")
                total = None if total is None else total + round(part.weight * 100)
            if getattr(part, other) is not UNSET or getattr(part, own) is UNSET:
                self.problem(place, f"a part without its {own}", f"a weight and a {own}")
            elif variations is None:
                self.value(part.value, kind, f"{place}.value")
            else:
                self.variation(part.variation, variations, f"{place}.variation")
        if total is not None and total != BUCKETS:
            self.problem(path, f"weights that sum to {total / 100:g}", "a sum of 100")

    # -- conditions and segments

    def segment(self, segment: Segment, path: str) -> None:
        if (segment.conditions is UNSET) == (segment.members is UNSET):
            self.problem(path, "conditions and a list, or neither", "one of conditions and list")
        if isinstance(segment.conditions, list):
            self.conditions(segment.conditions, f"{path}.conditions")
        if isinstance(segment.members, ListSegment):
            self.list_segment(segment.members, f"{path}.list")

    def list_segment(self, members: ListSegment, path: str) -> None:
        for side in ("include", "exclude"):
            inline = getattr(members, side)
            if len(inline) > limits.LIST_INLINE_MAX:
                allowed = f"at most {limits.LIST_INLINE_MAX}; longer lists stand in {side}_file"
                self.problem(f"{path}.{side}", f"{len(inline)} members", allowed)
            for number, member in enumerate(inline):
                if member is not BROKEN and not 0 < len(member.encode()) <= limits.MEMBER_BYTES_MAX:
                    allowed = f"1 to {limits.MEMBER_BYTES_MAX} bytes"
                    self.problem(f"{path}.{side}[{number}]", f"{len(member.encode())} bytes", allowed)

    def conditions(self, conditions: list[Condition], path: str) -> None:
        count = len(conditions) if _flat(conditions) else self.count(conditions, 1)
        if count > limits.CONDITIONS_MAX:
            self.problem(
                path, f"{count} conditions", f"at most {limits.CONDITIONS_MAX}, nested ones included"
            )
        self.each(conditions, path, 1)

    def count(self, conditions: Any, depth: int) -> int:
        total = 0
        for condition in conditions if depth <= limits.CONDITION_DEPTH_MAX else ():
            total += 1
            if isinstance(condition, Condition) and condition.attribute is UNSET:
                for inner in (condition.all, condition.any, [condition.not_]):
                    total += self.count(inner, depth + 1) if isinstance(inner, list) else 0
        return total

    def each(self, conditions: Any, path: str, depth: int) -> None:
        if conditions is BROKEN:
            return
        if depth > limits.CONDITION_DEPTH_MAX:
            self.problem(path, "nesting too deep", f"at most {limits.CONDITION_DEPTH_MAX} levels")
            return
        for number, condition in enumerate(conditions):
            if condition is not BROKEN:
                self.condition(condition, f"{path}[{number}]", depth)

    def condition(self, condition: Condition, path: str, depth: int) -> None:
        if condition.operator is not UNSET and condition.attribute is not UNSET:
            if not _only_test(condition):
                self.problem(path, "an attribute and something else", "one kind of condition")
            self.test(condition, path)
            return
        forms = [form for form in _FORMS if getattr(condition, form) is not UNSET]
        if len(forms) != 1 or forms == ["attribute"]:
            found = " and ".join(form.rstrip("_") for form in forms) or "none of these"
            allowed = "one of: attribute with operator; all; any; not; segment; flag with is"
            self.problem(path, found, allowed)
            return
        form = forms[0]
        if condition.operator is not UNSET or condition.value is not UNSET:
            self.problem(path, "an operator or value without attribute", "an attribute beside it")
        if form in ("all", "any"):
            self.each(getattr(condition, form), f"{path}.{form}", depth + 1)
        elif form == "not_":
            if condition.not_ is not BROKEN:
                self.deeper(condition.not_, f"{path}.not", depth + 1)
        elif form == "segment":
            self.refer(("segment", condition.segment), self.project.segments, f"{path}.segment")
        else:
            self.flag_is(condition, path)

    def deeper(self, condition: Any, path: str, depth: int) -> None:
        if depth > limits.CONDITION_DEPTH_MAX:
            self.problem(path, "nesting too deep", f"at most {limits.CONDITION_DEPTH_MAX} levels")
        else:
            self.condition(condition, path, depth)

    def test(self, condition: Condition, path: str) -> None:
        """An attribute's operator and the value that it takes."""
        operator, value = condition.operator, condition.value
        if operator is BROKEN or value is BROKEN:
            return
        if operator in _BARE:
            if value is not UNSET:
                self.problem(f"{path}.value", shown(value), f"no value beside {operator}")
            return
        if value is UNSET:
            self.problem(path, f"{operator} without a value", "a value")
            return
        if isinstance(value, list):
            defect = None if operator in _MANY else ("a list", f"one value beside {operator}")
            defect = defect or self.operands(value)
        elif operator in _NUMBERS:
            fine = operand_number(value) is not None and abs(operand_number(value) or 0) != float("inf")
            defect = order_defect(value) if fine else (shown(value), "a number, or text that is one")
        elif operator == "regex":
            defect = _pattern_defect(value)
        else:
            defect = self.operands([value])
        if defect is not None:
            self.problem(f"{path}.value", *defect)

    def operands(self, values: list[Any]) -> tuple[str, str] | None:
        if not 1 <= len(values) <= limits.OPERANDS_MAX:
            return f"{len(values)} values", f"1 to {limits.OPERANDS_MAX}; longer sets are list segments"
        for value in values:
            if type(value) is str:
                if len(value) <= limits.TEXT_BYTES_MAX // 4:
                    continue
            elif value is BROKEN:
                continue
            else:
                defect = operand_defect(value)
                if defect is not None:
                    return defect
            if len(operand_text(value).encode()) > limits.TEXT_BYTES_MAX:
                return "a longer text", f"at most {limits.TEXT_BYTES_MAX} bytes"
        return None

    def refer(self, target: tuple[str, Any], known: dict[str, Any], path: str) -> bool:
        kind, key = target
        if key is BROKEN:
            return False
        if key not in known:
            self.problem(path, f"the {kind} {shown(key)}", _one_of(known))
            return False
        self.references.setdefault(self.asking, {}).setdefault((kind, key), path)
        return True

    def flag_is(self, condition: Condition, path: str) -> None:
        if not self.refer(("flag", condition.flag), self.project.flags, f"{path}.flag"):
            return
        if condition.is_ is UNSET:
            self.problem(path, "a flag without a value", "is: one of the flag's values")
        elif condition.is_ is not BROKEN:
            values = flag_values(self.project.flags[str(condition.flag)].item)
            if identity(condition.is_) not in values:
                self.problem(f"{path}.is", shown(condition.is_), "a value that the flag serves")

    # -- cycles

    def cycles(self) -> None:
        """Reports each cycle once, and chains of references that the evaluation's stack can't hold."""
        depths: dict[Reference, int] = {}
        for start in self.references:
            self.depth(start, depths, [])

    def depth(self, node: Reference, depths: dict[Reference, int], trail: list[Reference]) -> int:
        """How many decisions a run of this one needs on the stack; 0 below a defect that was reported."""
        if node in depths:
            return depths[node]
        if node in trail:
            circle = " → ".join(f"{kind} {key}" for kind, key in [*trail[trail.index(node) :], node])
            self.at_reference(trail[-1], node, f"a circle: {circle}", "references that end")
            return 0
        if len(trail) > 4 * DECISION_DEPTH_MAX:
            return DECISION_DEPTH_MAX
        trail.append(node)
        deepest = 1
        for asked in self.references.get(node, ()):
            deepest = max(deepest, 1 + self.depth(asked, depths, trail))
            if deepest > DECISION_DEPTH_MAX:
                self.at_reference(
                    node, asked, "references too deep", f"at most {DECISION_DEPTH_MAX} in a row"
                )
                deepest = 0
                break
        trail.pop()
        depths[node] = deepest
        return deepest

    def at_reference(self, asking: Reference, asked: Reference, found: str, allowed: str) -> None:
        kinds: dict[str, dict[str, Any]] = {
            "flag": dict(self.project.flags),
            "feature": dict(self.project.features),
            "segment": dict(self.project.segments),
        }
        self.file = kinds[asking[0]][asking[1]].file
        self.problem(self.references[asking][asked], found, allowed)


def _flat(conditions: list[Condition]) -> bool:
    """Whether these are tests on attributes alone, as nearly all are."""
    return all(condition is not BROKEN and condition.attribute is not UNSET for condition in conditions)


def _only_test(condition: Condition) -> bool:
    return (
        condition.all is UNSET
        and condition.any is UNSET
        and condition.not_ is UNSET
        and condition.segment is UNSET
        and condition.flag is UNSET
        and condition.is_ is UNSET
    )


def flag_values(flag: Flag) -> set[object]:
    """Every value that a flag can serve, in any environment."""
    values: list[Any] = [flag.default_value]
    rules: list[Rule] = list(flag.rules)
    for override in flag.environments.values():
        values.append(override.default_value)
        rules += override.rules if isinstance(override.rules, list) else []
    for rule in rules:
        if rule is not BROKEN:
            parts = rule.split if isinstance(rule.split, list) else []
            values += [rule.value, *(part.value for part in parts if part is not BROKEN)]
    return {identity(value) for value in values if value is not UNSET and value is not BROKEN}


def _pattern_defect(value: Any) -> tuple[str, str] | None:
    if not isinstance(value, str):
        return shown(value), "a pattern (text)"
    if len(value) > limits.PATTERN_CHARS_MAX:
        return f"a pattern of {len(value)} characters", f"at most {limits.PATTERN_CHARS_MAX}"
    error = pattern_error(value)
    return None if error is None else (f"the pattern {shown(value)} ({error})", "RE2 syntax")


def _one_of(known: Iterable[str]) -> str:
    names = sorted(known)
    more = f", and {len(names) - 20} more" if len(names) > 20 else ""
    return f"one of {', '.join(names[:20])}{more}" if names else "there are none"
