"""One stitchd flag: prerequisites, rules and the default become its nodes and answers (docs/apis/stitchd.md:
Order of decisions).

Everything is read and checked first, also of a disabled flag; then the nodes are laid in order, so that each
leads only to later ones.
"""

from __future__ import annotations

from typing import Any, Protocol

from fanion.definitions.lowering.assembler import Assembler, Exits
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Place, Report, shown
from fanion.definitions.sources.stitchd.conditions import ConditionReader, Ready, Tree, emit
from fanion.definitions.sources.stitchd.files import NAME, Flag
from fanion.definitions.sources.stitchd.rollouts import Placing, Rollouts, emit_end, variant_number
from fanion.model.program import Answer, Cause, DecisionVariant, Node, Op, Resolution


class Others(Protocol):
    """What a flag asks of the source that it stands in. `flags`: file, path and flag, by key and by id."""

    builder: Builder
    report: Report
    environment: str
    flags: dict[str, tuple[str, str, Flag]]

    def ready(self, tree: Tree, file: str, path: str) -> Ready:
        """A condition with its references resolved."""

    def flag(self, key: str, path: str = "") -> int | None:
        """A flag's decision; None for one that is being lowered."""


def fixed_variant(builder: Builder, flag: Flag) -> int | None:
    """The number of the variant that an override puts in the flag's place."""
    variants = {variant.key: variant.value for variant in flag.variants}
    chosen = None if flag.archived else builder.overriding.choose(NAME, flag.key, variants)
    return None if chosen is None else variant_number(flag, str(chosen.variant))


class FlagLowering:
    """One flag: its nodes, and what each outcome answers."""

    def __init__(self, others: Others, file: str, path: str, flag: Flag) -> None:
        self.others = others
        self.place = Place(others.report, file, path)
        self.problem = self.place.problem
        self.flag = flag
        self.rollouts = Rollouts(others.builder, others.environment, flag, self.place)
        self.code: Assembler[Answer] = Assembler()
        self.default = self.find_default()
        self.split = -1

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
        return None if name is None else self.rollouts.variant(name, path)

    def one_of(self, path: str, item: Any, *names: str) -> None:
        given = [name for name in names if getattr(item, name) is not None]
        if len(given) != 1:
            self.problem(path, " and ".join(given) or "nothing", f"exactly one of {', '.join(names)}")

    def run(self) -> tuple[list[Node], list[Answer]]:
        flag, others = self.flag, self.others
        self.check_rest()
        rules = [self.rule(number) for number in range(len(flag.rules))]
        fixed = fixed_variant(others.builder, flag)
        if fixed is not None:
            emit_end(self.code, flag, Resolution.DEFAULT, fixed, cause=Cause.DEFAULT)
        elif not flag.enabled:
            emit_end(self.code, flag, Resolution.OFF, self.default)
        elif self.prerequisites():
            basis = [others.environment, flag.rules, flag.default_rule, flag.default_rule_distribution]
            self.split = others.builder.split(NAME, flag.key, basis)
            for rule in rules:
                if rule is not None and self.emit_rule(*rule):
                    break
            else:
                self.emit_default()
        return self.code.finish()

    def check_rest(self) -> None:
        if self.flag.fallback_variant is not None:
            self.rollouts.variant(self.flag.fallback_variant, "fallback_variant")
        if self.flag.default_rule_distribution is not None and self.flag.default_rule is not None:
            rollout = self.flag.default_rule.variant_assignment.percentage_rollout
            if rollout is not None:
                found = "beside a percentage in default_rule"
                self.problem("default_rule_distribution", found, "one of the two")

    # -- prerequisites

    def prerequisites(self) -> bool:
        """Tests that lead on only if all are met; False where one never is, so that rules are not read."""
        others = self.others
        met: list[DecisionVariant] = []
        possible = True
        for number, one in enumerate(self.flag.prerequisites):
            place = f"prerequisites[{number}]"
            if one.prerequisite_flag not in others.flags:
                found, meaning = (
                    f"the flag {shown(one.prerequisite_flag)}",
                    "absent, so the prerequisite is never met",
                )
                self.place.warning(f"{place}.prerequisite_flag", found, meaning)
                possible = False
                continue
            asked = others.flags[one.prerequisite_flag][2]
            variant = variant_number(asked, one.required_variant)
            decision = others.flag(asked.key, f"{self.place.path}.{place}")
            if variant is None:
                found = f"the variant {shown(one.required_variant)}"
                self.problem(f"{place}.required_variant", found, f"a variant of {asked.key}")
            elif asked.archived or not (asked.enabled or fixed_variant(others.builder, asked) is not None):
                possible = False
            elif decision is not None:
                met.append(DecisionVariant(decision, variant))
        fallback = self.default
        if self.flag.fallback_variant is not None:
            fallback = variant_number(self.flag, self.flag.fallback_variant)
        code = self.code
        if not possible:
            emit_end(code, self.flag, Resolution.DEFAULT, fallback, cause=Cause.PREREQUISITE)
            return False
        if met:
            unmet, all_met = code.label(), code.label()
            for number, operand in enumerate(met, 1):
                following = code.label() if number < len(met) else all_met
                code.test(Op.DECISION_IS, -1, operand, Exits(following, unmet, unmet, unmet))
                if following is not all_met:
                    code.place(following)
            code.place(unmet)
            emit_end(code, self.flag, Resolution.DEFAULT, fallback, cause=Cause.PREREQUISITE)
            code.place(all_met)
        return True

    # -- rules

    def rule(self, number: int) -> tuple[int, Ready, Placing] | None:
        """What a rule tests and serves; None where it has a problem."""
        rule = self.flag.rules[number]
        path = f"rules[{number}]"
        self.one_of(path, rule, "variant_assignment", "output")
        if rule.rule_id is not None and rule.id is not None and rule.rule_id != rule.id:
            self.problem(f"{path}.id", shown(rule.id), f"{rule.rule_id}, as rule_id says")
        file, place = self.place.file, f"{self.place.path}.{path}.condition"
        tree = ConditionReader(file, self.others.report).read(rule.condition, place)
        ready = None if tree is None else self.others.ready(tree, file, place)
        rollouts = self.rollouts
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
        code = self.code
        matched, following = code.label(), code.label()
        emit(self.others.builder, code, when, Exits(matched, following, following, following))
        code.place(matched)
        placing.emit(code, self.flag, self.default, following, number, self.split)
        code.place(following)
        return when is True and placing.always

    def emit_default(self) -> None:
        flag = self.flag
        placing: Placing | None = None
        if flag.default_rule_distribution is not None:
            placing = self.rollouts.distribution(flag.default_rule_distribution)
        elif flag.default_rule is not None and flag.default_rule.variant_assignment.percentage_rollout:
            rollout = flag.default_rule.variant_assignment.percentage_rollout
            path = "default_rule.variant_assignment.percentage_rollout"
            placing = self.rollouts.flat(rollout, path, Resolution.DEFAULT)
        if placing is not None:
            following = self.code.label()
            placing.emit(self.code, flag, self.default, following, -1, self.split)
            if placing.always:
                return
            self.code.place(following)
        emit_end(self.code, flag, Resolution.DEFAULT, self.default)
