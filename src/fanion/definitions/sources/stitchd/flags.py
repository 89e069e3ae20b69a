"""One stitchd flag: prerequisites, rules and the default become its nodes and answers (contract 5.2).

Everything is read and checked first, also of a disabled flag; then the nodes are laid in order, so that each
leads only to later ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanion.definitions.lowering.flags import value_text
from fanion.definitions.reading.report import shown
from fanion.definitions.sources.stitchd.conditions import ConditionReader, Exits, Ready, emit, size
from fanion.definitions.sources.stitchd.files import Flag
from fanion.definitions.sources.stitchd.rollouts import Placing, Rollouts, variant_number
from fanion.model.program import Answer, DecisionVariant, Node, Op, Outcome, Resolution, Test

if TYPE_CHECKING:
    from fanion.definitions.sources.stitchd.lowering import StitchdLowering


class FlagLowering:
    """One flag: its nodes, and what each outcome answers."""

    def __init__(self, source: StitchdLowering, file: str, path: str, flag: Flag) -> None:
        self.source = source
        self.builder = source.builder
        self.report = source.report
        self.file = file
        self.path = path
        self.flag = flag
        self.nodes: list[Node] = []
        self.answers: list[Answer] = []
        self.default = self.find_default()

    def problem(self, path: str, found: str, allowed: str) -> None:
        self.report.problem(self.file, f"{self.path}.{path}", found, allowed)

    def variant(self, name: str, path: str) -> int | None:
        """The number of a variant that must be there."""
        number = variant_number(self.flag, name)
        if number is None:
            known = ", ".join(variant.key for variant in self.flag.variants) or "none"
            self.problem(path, f"the variant {shown(name)}", f"one of the flag's: {known}")
        return number

    def find_default(self) -> int | None:
        flag, name, path = self.flag, self.flag.default_variant, "default_variant"
        rule = flag.default_rule
        if rule is not None:
            assignment = rule.variant_assignment
            place = "default_rule.variant_assignment"
            self.one_of(place, assignment, "specific_variant", "percentage_rollout")
            if assignment.specific_variant is not None:
                if name is not None and name != assignment.specific_variant:
                    self.problem(
                        path, shown(name), f"{assignment.specific_variant}, as the default rule says"
                    )
                name, path = assignment.specific_variant, f"{place}.specific_variant"
        return None if name is None else self.variant(name, path)

    def one_of(self, path: str, item: Any, *names: str) -> None:
        given = [name for name in names if getattr(item, name) is not None]
        if len(given) != 1:
            self.problem(path, " and ".join(given) or "nothing", f"exactly one of {', '.join(names)}")

    def run(self) -> tuple[list[Node], list[Answer]]:
        flag = self.flag
        self.check_rest()
        rules = [self.rule(number) for number in range(len(flag.rules))]
        if not flag.enabled:
            self.end(Resolution.OFF, self.default)
            return self.nodes, self.answers
        if self.prerequisites():
            for rule in rules:
                if rule is not None and self.emit_rule(*rule):
                    return self.nodes, self.answers
            self.emit_default()
        return self.nodes, self.answers

    def check_rest(self) -> None:
        if self.flag.fallback_variant is not None:
            self.variant(self.flag.fallback_variant, "fallback_variant")
        if self.flag.default_rule_distribution is not None and self.flag.default_rule is not None:
            rollout = self.flag.default_rule.variant_assignment.percentage_rollout
            if rollout is not None:
                found = "beside a percentage in default_rule"
                self.problem("default_rule_distribution", found, "one of the two")

    def end(self, resolution: Resolution, variant: int | None, rule: int = -1) -> None:
        """An outcome. Without a default the engine answers the variant "" with the value false."""
        rule_id = None
        if rule >= 0:
            stated = self.flag.rules[rule]
            rule_id = stated.rule_id or stated.id
        if variant is None:
            self.nodes.append(Outcome(resolution, len(self.flag.variants), rule))
            self.answers.append(Answer(resolution, "false", "", rule_id))
        else:
            chosen = self.flag.variants[variant]
            self.nodes.append(Outcome(resolution, variant, rule))
            self.answers.append(Answer(resolution, value_text(chosen.value), chosen.key, rule_id))

    # -- prerequisites

    def prerequisites(self) -> bool:
        """Tests that lead on only if all are met; False where one never is, so that rules are not read."""
        source = self.source
        met: list[DecisionVariant] = []
        possible = True
        for number, one in enumerate(self.flag.prerequisites):
            place = f"prerequisites[{number}]"
            if one.prerequisite_flag not in source.flags:
                self.report.warning(
                    self.file,
                    f"{self.path}.{place}.prerequisite_flag",
                    f"the flag {shown(one.prerequisite_flag)}",
                    "absent, so the prerequisite is never met",
                )
                possible = False
                continue
            asked = source.flags[one.prerequisite_flag][2]
            variant = variant_number(asked, one.required_variant)
            decision = source.flag(asked.key, f"{self.path}.{place}")
            if variant is None:
                found = f"the variant {shown(one.required_variant)}"
                self.problem(f"{place}.required_variant", found, f"a variant of {asked.key}")
            elif not asked.enabled or asked.archived:
                possible = False
            elif decision is not None:
                met.append(DecisionVariant(decision, variant))
        fallback = self.default
        if self.flag.fallback_variant is not None:
            fallback = variant_number(self.flag, self.flag.fallback_variant)
        if not possible:
            self.end(Resolution.DEFAULT, fallback)
            return False
        if met:
            for number, operand in enumerate(met, 1):
                on_true = number if number < len(met) else len(met) + 1
                self.nodes.append(Test(Op.DECISION_IS, -1, operand, on_true, len(met), len(met), len(met)))
            self.end(Resolution.DEFAULT, fallback)
        return True

    # -- rules

    def rule(self, number: int) -> tuple[int, Ready, Placing] | None:
        """What a rule tests and serves; None where it has a problem."""
        rule = self.flag.rules[number]
        path = f"rules[{number}]"
        self.one_of(path, rule, "variant_assignment", "output")
        if rule.rule_id is not None and rule.id is not None and rule.rule_id != rule.id:
            self.problem(f"{path}.id", shown(rule.id), f"{rule.rule_id}, as rule_id says")
        place = f"{self.path}.{path}.condition"
        tree = ConditionReader(self.file, self.report).read(rule.condition, place)
        ready = None if tree is None else self.source.ready(tree, self.file, place)
        rollouts = Rollouts(self, path)
        placing: Placing | None = None
        if rule.variant_assignment is not None:
            assignment = rule.variant_assignment
            place = f"{path}.variant_assignment"
            self.one_of(place, assignment, "specific_variant", "percentage_rollout")
            if assignment.specific_variant is not None:
                placing = rollouts.single(assignment.specific_variant, f"{place}.specific_variant")
            elif assignment.percentage_rollout is not None:
                placing = rollouts.flat(assignment.percentage_rollout, f"{place}.percentage_rollout")
        elif rule.output is not None:
            self.one_of(f"{path}.output", rule.output, "variant", "percentage")
            if rule.output.variant is not None:
                placing = rollouts.single(rule.output.variant, f"{path}.output.Variant")
            elif rule.output.percentage is not None:
                placing = rollouts.stored(rule.output.percentage, f"{path}.output.Percentage")
        return None if ready is None or placing is None else (number, ready, placing)

    def emit_rule(self, number: int, when: Ready, placing: Placing) -> bool:
        """A rule's nodes; whether no later rule can be reached."""
        if when is False:
            return False
        following = len(self.nodes) + size(when) + placing.size
        body = len(self.nodes) + size(when)
        emit(self.builder, self.nodes, when, Exits(body, following, following, following))
        placing.emit(self, following, number)
        return when is True and placing.always

    def emit_default(self) -> None:
        flag = self.flag
        rollouts = Rollouts(self, "default_rule")
        placing: Placing | None = None
        if flag.default_rule_distribution is not None:
            placing = rollouts.distribution(flag.default_rule_distribution)
        elif flag.default_rule is not None and flag.default_rule.variant_assignment.percentage_rollout:
            rollout = flag.default_rule.variant_assignment.percentage_rollout
            placing = rollouts.flat(rollout, "default_rule.variant_assignment.percentage_rollout")
        if placing is not None:
            placing.emit(self, len(self.nodes) + placing.size, -1)
            if placing.always:
                return
        self.end(Resolution.DEFAULT, self.default)
