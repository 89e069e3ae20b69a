"""stitchd's definitions in tests: documents to a lowered environment, and that to twin and core."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fanion._core.evaluate import Bundle
from fanion.bundle.compiler import compile_bundle
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.format import SourceFile
from fanion.definitions.sources.stitchd import source as stitchd
from fanion.engine.reference import evaluate
from fanion.model.context import EvaluationContext, TypedContext
from fanion.model.program import Lowered, Op, Resolution

GOLDEN = Path(__file__).parents[1] / "golden" / "stitchd"
ENVIRONMENT = "00000000-0000-0000-0000-000000000001"
SCENARIOS = sorted(path.name for path in (GOLDEN / "evaluation").iterdir())


class World:
    """One environment with its reports, asked through the twin and the core at once."""

    def __init__(
        self,
        flags: Any,
        segments: Any = None,
        lists: dict[str, set[str]] | None = None,
        environment: str = ENVIRONMENT,
    ) -> None:
        self.report = Report()
        builder = Builder(environment or "nameless", {"stitchd": {"environment": environment}})
        document = flags if isinstance(flags, dict) else {"flags": flags}
        files = {} if segments is None else {"segments": json.dumps(segments).encode()}
        source = SourceFile("flags.json", json.dumps(document).encode(), files)
        parsed = stitchd.parse(source, self.report)
        if parsed is not None:
            stitchd.lower(parsed, source, builder, self.report)
        self.members = {entry.name: set(entry.members) for entry, _ in builder.members}
        self.members |= lists or {}
        self.lowered: Lowered = builder.finish()
        self._bundle: Bundle | None = None

    @property
    def problems(self) -> list[str]:
        return [str(problem) for problem in self.report.problems]

    @property
    def warnings(self) -> list[str]:
        return [str(warning) for warning in self.report.warnings]

    def external(self, op: int, operand: str, text: str) -> bool:
        assert op == Op.LIST_MEMBER
        return text in self.members.get(operand, ())

    def bundle(self) -> Bundle:
        if self._bundle is None:
            self._bundle = Bundle(compile_bundle(self.lowered, {}), self.external)
        return self._bundle

    def decide(self, decision: int, *contexts: TypedContext) -> tuple[int, int]:
        """The outcome's number and the bucket; twin and core agree."""
        expected = evaluate(self.lowered, decision, EvaluationContext({}, {}, contexts), self.external)
        typed = tuple((context.type, context.key, context.attributes) for context in contexts)
        assert self.bundle().evaluate(decision, None, None, typed) == expected
        return expected

    def ask(self, flag: str, *contexts: TypedContext) -> dict[str, Any]:
        """What the conformance files expect of an evaluation."""
        for parameter in self.lowered.parameters:
            if parameter.key == flag:
                outcome, _ = self.decide(parameter.decision, *contexts)
                answer = parameter.answers[outcome]
                value = None if answer.value is None else json.loads(answer.value)
                names = {
                    Resolution.MATCHED: "matched",
                    Resolution.SPLIT: "matched" if answer.rule_id else "default_rule_distribution",
                    Resolution.DEFAULT: "default_rule",
                    Resolution.OFF: "disabled",
                }
                return {
                    "flag_key": flag,
                    "variant_key": answer.variant,
                    "value": value,
                    "outcome": names[answer.resolution],
                }
        return {"flag_key": flag, "variant_key": "", "value": None, "outcome": "flag_not_found"}

    def variant(self, flag: str, *contexts: TypedContext) -> Any:
        return self.ask(flag, *contexts)["variant_key"]

    def is_member(self, segment: str, *contexts: TypedContext) -> bool:
        """Whether a segment's decision ends as a member; an error counts as not."""
        records = json.loads(self.lowered.documents["stitchd"])["segments"]
        return self.decide(records[segment]["decision"], *contexts)[0] == self.member_outcome(segment)

    def member_outcome(self, segment: str) -> int:
        from fanion.model.program import Outcome

        records = json.loads(self.lowered.documents["stitchd"])["segments"]
        nodes = self.lowered.decisions[records[segment]["decision"]].nodes
        outcomes = [node for node in nodes if isinstance(node, Outcome)]
        return next((n for n, one in enumerate(outcomes) if one.variant == 1), -1)


def user(key: str = "u1", **attributes: Any) -> TypedContext:
    return TypedContext("user", key, attributes)


def flag(*rules: Any, **fields: Any) -> dict[str, Any]:
    """A boolean flag "f" whose rules serve "on"; a rule is a condition, or a whole rule."""
    made = [
        rule
        if "condition" in rule
        else {"rule_id": f"r{n}", "condition": rule, "variant_assignment": {"specific_variant": "on"}}
        for n, rule in enumerate(rules)
    ]
    return {
        "key": "f",
        "value_type": "bool",
        "variants": [{"key": "on", "value": True}, {"key": "off", "value": False}],
        "default_rule": {"variant_assignment": {"specific_variant": "off"}},
        "rules": made,
    } | fields


def leaf(op: str, param: str = "p", context_type: str = "user", **operand: Any) -> dict[str, Any]:
    return {"op": op, "context_type": context_type, "param": param, **operand}


def scenario(name: str) -> tuple[World, list[Any], list[Any]]:
    """A folder of the conformance data: its world, requests and expectations. A look-up on a miss is to the
    server what a known membership is: both say who is in the list."""
    folder = GOLDEN / "evaluation" / name
    read = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    memberships = read.get("list_segment_memberships", {})
    held = [
        (known["context_type"], known["context_key"], known["memberships"])
        for known in memberships.get("preseed_lru", [])
    ]
    held += [
        (
            known["match_query"]["context_type"],
            known["match_query"]["context_key"],
            known["return_memberships"],
        )
        for known in memberships.get("on_miss_responses", [])
    ]
    segments = read["segment_definitions"]
    for segment in segments["list_segments"]:
        segment["include"] = [
            key
            for context_type, key, members in held
            if context_type == segment["context_type"] and members.get(segment["id"])
        ]
    return World(read["flag_definitions"], segments), read["requests"], read["expected"]
