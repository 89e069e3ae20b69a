"""The lowering of Red Pennon's features says the same as an interpreter of its rules, by twin and core."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fanion._core.evaluate import Bundle
from fanion.bundle.compiler import compile_bundle
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.format import SourceFile
from fanion.definitions.sources.redpennon.source import FORMAT
from fanion.dialects.redpennon.emit import REASONS
from fanion.engine.reference import evaluate
from fanion.model.context import EvaluationContext, TypedContext
from tests.property.redpennon_rules import Rules
from tests.rounds import rounds

WORLDS = rounds(100, 400, "PROPERTY_PROGRAMS")
USERS = 25
TEXTS = ["", "a", "b", "ab", "ba", "a@b", "1", "2.5", "true", "Ä", "staff", "beta"]
VALUES: list[Any] = [*TEXTS, 1, 2.5, 1.0, True, False, 2**53, -0.5]
PROPERTIES = [
    *("user_id", "email", "organisation_id", "ip_address", "app_version", "platform", "country"),
    *("audience", "audience", "custom_property", "custom_property"),
]
OPERATORS = [
    *("is", "is_not", "contains", "does_not_contain", "starts_with", "does_not_start_with"),
    *("ends_with", "does_not_end_with", "exists", "does_not_exist"),
]
STATUSES = ["live", "live", "live", "live", "development", "complete", "archived", "deleted"]


class Maker:
    """Random worlds and users from one source."""

    def __init__(self, source: random.Random) -> None:
        self.source = source

    def pick(self, values: list[Any]) -> Any:
        return self.source.choice(values)

    def condition(self, audiences: list[str]) -> dict[str, Any]:
        name, operator = self.pick(PROPERTIES), self.pick(OPERATORS)
        if name == "audience" and not audiences and operator in ("exists", "does_not_exist"):
            operator = "is"
        made: dict[str, Any] = {"property": name, "operator": operator}
        if name == "custom_property":
            made["custom_key"] = self.pick(["k", "email", "x.y"])
        if operator not in ("exists", "does_not_exist"):
            values = [*audiences, "a", "zz"] if name == "audience" else VALUES
            made["values"] = [self.pick(values) for _ in range(self.source.randint(1, 3))]
        return made

    def conditions(self, audiences: list[str]) -> list[dict[str, Any]]:
        return [self.condition(audiences) for _ in range(self.source.randint(1, 3))]

    def audiences(self) -> dict[str, Any]:
        """Each asks properties only, or names the one before it exactly, so that there is no circle."""
        made: dict[str, Any] = {}
        for slug in ("staff", "beta")[: self.source.randint(0, 2)]:
            conditions = [self.condition([]) for _ in range(self.source.randint(1, 2))]
            conditions = [one for one in conditions if one["property"] != "audience"]
            if made or not conditions:
                known = list(made) or ["nobody"]
                conditions.append(
                    {"property": "audience", "operator": self.pick(["is", "is_not"]), "values": known}
                )
            made[slug] = {"conditions": conditions}
        return made

    def rule(self, audiences: list[str]) -> dict[str, Any]:
        made: dict[str, Any] = {"conditions": self.conditions(audiences)}
        if self.source.random() < 0.5:
            return {**made, "variation": self.pick(["one", "two"])}
        weight = self.pick([0, 0.01, 33.33, 50, 99.99, 100])
        shares = [
            {"variation": "one", "weight": weight},
            {"variation": "two", "weight": round(100 - weight, 2)},
        ]
        return {**made, "distribution": shares}

    def feature(self, audiences: list[str]) -> dict[str, Any]:
        made: dict[str, Any] = {
            "status": self.pick(STATUSES),
            "variables": {"v": {"type": "string"}, "n": {"type": "number"}},
            "variations": {"one": {"v": "1", "n": 1}, "two": {"v": "2", "n": 2.5}},
            "final_variation": self.pick(["one", "two"]),
        }
        if self.source.random() < 0.9:
            made["environments"] = {
                "production": {
                    "targeting": self.pick(["on", "on", "on", "off"]),
                    "default_variation": self.pick(["one", "two"]),
                    "rules": [self.rule(audiences) for _ in range(self.source.randint(0, 4))],
                    "self_targeting": {
                        user: self.pick(["one", "two"]) for user in TEXTS[1:] if self.source.random() < 0.1
                    },
                }
            }
        return made

    def user(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name in ("id", "email", "organisation_id", "ip", "app_version", "platform", "country"):
            if self.source.random() < 0.5:
                made[name] = (
                    self.pick(TEXTS) if self.source.random() < 0.8 else self.pick([*VALUES, None, {}, []])
                )
        if self.source.random() < 0.5:
            made["audiences"] = [self.pick(TEXTS) for _ in range(self.source.randint(0, 3))]
        if self.source.random() < 0.7:
            made["custom_data"] = {
                name: self.pick([*VALUES, None, {"y": "a"}, ["a", "b"], [], ["1"]])
                for name in ("k", "email", "x.y", "x")
                if self.source.random() < 0.5
            }
        return made


@settings(max_examples=WORLDS)
@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_lowering_agrees_with_the_plain_rules(source: random.Random) -> None:
    make = Maker(random.Random(source.getrandbits(64)))
    audiences = make.audiences()
    document = {
        "redpennon": 1,
        "environments": ["production"],
        "audiences": audiences,
        "features": {"f": make.feature(list(audiences))},
    }
    report, builder = Report(), Builder("env_1", name="production")
    file = SourceFile("features.json", json.dumps(document).encode())
    parsed = FORMAT.parse(file, report)
    assert parsed is not None, (report.problems, document)
    FORMAT.lower(parsed, file, builder, report)
    lowered = builder.finish()
    core = Bundle(compile_bundle(lowered, {}))
    rules = Rules(document, "env_1", "production")
    for _ in range(USERS):
        user = make.user()
        custom = user.get("custom_data", {})
        context = EvaluationContext(user, {}, (TypedContext("custom_data", "", custom),))
        for parameter in lowered.parameters:
            result = evaluate(lowered, parameter.decision, context)
            found = core.evaluate(parameter.decision, user, None, (("custom_data", "", custom),))
            assert found == result
            answer = parameter.answers[result.outcome]
            value = None if answer.value is None else json.loads(answer.value)
            *expected, bucket = rules.answer("f", parameter.key, user)
            assert [value, answer.variant, REASONS[answer.cause]] == expected, (document, user)
            assert bucket in (None, result.bucket), (document, user)
