"""Lowered FlagConfigs, run by the reference twin, answer as docs/apis/feather.md's rules do in plain
Python."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fanion import definitions
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.documents import parse_json
from fanion.definitions.reading.report import Report
from fanion.definitions.reading.yaml_documents import parse_yaml
from fanion.definitions.sources.feather import source as feather
from fanion.definitions.sources.format import SourceFile
from fanion.dialects import vocabulary
from fanion.engine.reference import evaluate
from fanion.model.context import EvaluationContext
from fanion.model.program import Lowered, Resolution
from tests.property import feather_rules
from tests.rounds import rounds

REASONS = {
    Resolution.MATCHED: "RULE_MATCH",
    Resolution.SPLIT: "ROLLOUT",
    Resolution.DEFAULT: "DEFAULT",
    Resolution.OFF: "DISABLED",
}
NAMES = ["plan", "country", "n", "userId", "anonymousId"]
TEXTS = ["", "a", "ab", "abc", "DE", "de", "1", "1.5", " 2 ", "-3", "true", "x", "1e2"]
PATTERNS = ["", "a", "^a", "b$", "^[0-9]+$", "a|x", "^$"]
OPERATORS = [*sorted(feather.OPERATORS), "like"]

texts = st.sampled_from(TEXTS)
scalars = st.one_of(
    texts, st.booleans(), st.integers(-3, 120), st.sampled_from([0.5, 1.5, 2.0, -0.0, 99.25, -3.0])
)


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    operator = draw(st.sampled_from(OPERATORS))
    made: dict[str, Any] = {"attribute": draw(st.sampled_from(NAMES)), "operator": operator}
    if operator == "regex":
        made["value"] = draw(st.sampled_from(PATTERNS))
    elif operator not in ("is_set", "is_not_set"):
        made["value"] = draw(st.one_of(texts, texts, st.lists(texts, max_size=3)))
    return made


@st.composite
def rules(draw: st.DrawFn, number: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": f"rule-{number}",
        "name": "",
        "enabled": draw(st.integers(0, 5)) > 0,
        "conditions": draw(st.lists(conditions(), max_size=4)),
        "conditionOperator": draw(st.sampled_from(["AND", "OR"])),
        "value": draw(scalars),
    }
    if draw(st.booleans()):
        made["rolloutPercentage"] = draw(
            st.one_of(
                st.sampled_from([0, 100, 50, 0.01, 99.99]),
                st.integers(0, 10_000).map(lambda points: points / 100),
            )
        )
    return made


@st.composite
def flags(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {
        "version": 1,
        "enabled": draw(st.integers(0, 7)) > 0,
        "defaultValue": draw(scalars),
        "rules": [draw(rules(number)) for number in range(draw(st.integers(0, 4)))],
    }
    if draw(st.booleans()):
        values = draw(st.lists(scalars, max_size=5))
        made["variants"] = [{"key": f"v{number}", "value": value} for number, value in enumerate(values)]
    return made


@st.composite
def contexts(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {"attributes": draw(st.dictionaries(st.sampled_from(NAMES), scalars))}
    for name in ("userId", "anonymousId"):
        if draw(st.booleans()):
            made[name] = draw(st.one_of(texts, st.integers(0, 10**6).map(lambda n: f"user_{n}")))
    return made


def external(op: int, operand: str, text: str) -> bool:
    return re.search(operand, text) is not None


def ask(lowered: Lowered, key: str, context: dict[str, Any]) -> dict[str, Any]:
    (parameter,) = [one for one in lowered.parameters if one.key == key]
    members = {name: value for name, value in context.items() if name != "attributes"}
    result = evaluate(
        lowered, parameter.decision, EvaluationContext(members, context["attributes"]), external
    )
    answer = parameter.answers[result.outcome]
    made: dict[str, Any] = {"value": json.loads(answer.value or "null"), "reason": REASONS[answer.resolution]}
    if answer.rule_id is not None:
        made["ruleId"] = answer.rule_id
    if answer.variant is not None:
        made["variant"] = answer.variant
    return made


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one == other and type(one["value"]) is type(other["value"])


@settings(max_examples=rounds(60, 400))
@given(flag=flags(), asked=st.lists(contexts(), min_size=1, max_size=8))
def test_feather_bundle_answers_as_the_contract_says(flag: dict[str, Any], asked: list[Any]) -> None:
    report, builder = Report(), Builder("env")
    source = SourceFile("bundle.json", json.dumps({"flag-1": flag}).encode())
    entries = feather.parse(source, report)
    assert entries is not None, report.problems
    feather.lower(entries, source, builder, report)
    lowered = builder.finish()
    for context in asked:
        expected = feather_rules.evaluate("flag-1", flag, context)
        assert same(ask(lowered, "flag-1", context), expected), (flag, context)


def native_of(flag: dict[str, Any]) -> dict[str, Any]:
    """The native form of a FlagConfig: snake_case, and only what a native flag may say."""
    made: dict[str, Any] = {
        "type": "string",
        "enabled": flag["enabled"],
        "default_value": flag["defaultValue"],
    }
    made["rules"] = [
        {
            "id": rule["id"],
            "enabled": rule["enabled"],
            "conditions": rule["conditions"],
            "condition_operator": rule["conditionOperator"],
            "value": rule["value"],
            "rollout_percentage": rule.get("rolloutPercentage"),
        }
        for rule in flag["rules"]
    ]
    made["variants"] = flag.get("variants", [])
    return made


def sayable(condition: dict[str, Any]) -> bool:
    """Whether the native format takes the condition, which refuses what can only be a mistake."""
    operator, value = condition["operator"], condition.get("value")
    if operator == "like" or value == []:
        return False
    if isinstance(value, list):
        return operator in ("in", "not_in", "geo_country")
    return operator not in ("gt", "lt") or feather_rules.number(value) is not None


@settings(max_examples=rounds(25, 100))
@given(flag=flags(), asked=st.lists(contexts(), min_size=1, max_size=8), as_yaml=st.booleans())
def test_native_flag_answers_as_the_contract_says(
    tmp_path_factory: Any, flag: dict[str, Any], asked: list[Any], as_yaml: bool
) -> None:
    flag["defaultValue"] = str(flag["defaultValue"])
    for variant in flag.get("variants", []):
        variant["value"] = str(variant["value"])
    for rule in flag["rules"]:
        rule["value"] = str(rule["value"])
        rule["conditions"] = [condition for condition in rule["conditions"] if sayable(condition)]
    project = {"environments": {"e": {}}, "flags": {"flag-1": native_of(flag)}}
    document = {"organisations": {"o": {"projects": {"p": project}}}}
    path = tmp_path_factory.mktemp("native") / ("flags.yaml" if as_yaml else "flags.json")
    path.write_text(json.dumps(document))  # JSON is YAML too
    (lowered,) = definitions.load([path], vocabulary()).environments
    for context in asked:
        expected = feather_rules.evaluate("flag-1", flag, context)
        assert same(ask(lowered, "flag-1", context), expected), (flag, context)


written = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")))
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    written,
    st.sampled_from(["on", "off", "yes", "no", "~", "null", "1e3", ".5", "0x1f", "2024-01-01", "<<", "="]),
)
plain = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(written, inner, max_size=3)),
    max_leaves=12,
)


@settings(max_examples=rounds(50, 200))
@given(document=plain)
def test_what_is_written_as_json_reads_the_same_as_json_and_as_yaml(document: Any) -> None:
    text = json.dumps(document, ensure_ascii=False)
    assert parse_json(text) == document
    assert parse_yaml(text) == document
