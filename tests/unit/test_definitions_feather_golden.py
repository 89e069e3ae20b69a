"""Feather's golden cases (tests/golden/feather): lowered, by the reference twin and by the compiled core."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import re2

from fanion.bundle.compiler import compile_bundle
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.feather import source as feather
from fanion.definitions.sources.format import SourceFile
from fanion.dialects.feather.emit import render
from fanion.engine.evaluator import open_environment
from fanion.engine.reference import evaluate
from fanion.model.context import EvaluationContext
from fanion.model.program import Answer, Lowered, Op, Resolution

GOLDEN = Path(__file__).parents[1] / "golden" / "feather"
REASONS = {
    Resolution.MATCHED: "RULE_MATCH",
    Resolution.SPLIT: "ROLLOUT",
    Resolution.DEFAULT: "DEFAULT",
    Resolution.OFF: "DISABLED",
    Resolution.ERROR: "ERROR",
}


def lower(flags: dict[str, Any]) -> Lowered:
    report, builder = Report(), Builder("env_test")
    source = SourceFile("bundle.json", json.dumps(flags).encode())
    entries = feather.parse(source, report)
    assert entries is not None
    feather.lower(entries, source, builder, report)
    assert report.problems == []
    return builder.finish()


def external(op: int, operand: str, text: str) -> bool:
    assert op == Op.TEXT_REGEX
    return re2.search(operand, text) is not None


def context_of(document: dict[str, Any]) -> EvaluationContext:
    members = {name: document[name] for name in ("userId", "anonymousId") if name in document}
    return EvaluationContext(members, document.get("attributes", {}))


def show(answer: Answer) -> dict[str, Any]:
    shown = {"value": None if answer.value is None else json.loads(answer.value)}
    shown["reason"] = REASONS[answer.resolution]
    if answer.rule_id is not None:
        shown["ruleId"] = answer.rule_id
    if answer.variant is not None:
        shown["variant"] = answer.variant
    return shown


def groups() -> list[Any]:
    return [
        pytest.param(group, id=f"{path.stem}: {group['name']}")
        for path in sorted(GOLDEN.glob("*.json"))
        for group in json.loads(path.read_text())
    ]


@pytest.mark.parametrize("group", groups())
def test_golden_case_is_answered_as_written(group: dict[str, Any]) -> None:
    lowered = lower({group.get("key", "flag"): group["flag"]})
    (parameter,) = lowered.parameters
    for case in group["cases"]:
        result = evaluate(lowered, parameter.decision, context_of(case["context"]), external)
        shown = show(parameter.answers[result.outcome])
        expected = dict(case["expected"])
        bucket = expected.pop("bucket", None)
        assert (shown, type(shown["value"])) == (expected, type(expected["value"])), case["context"]
        assert bucket in (None, result.bucket), case["context"]


@pytest.mark.parametrize("group", groups())
def test_golden_case_is_emitted_as_written_by_the_core(group: dict[str, Any]) -> None:
    key = group.get("key", "flag")
    lowered = lower({key: group["flag"]})
    bundle = open_environment("env_test", compile_bundle(lowered, {"feather": render}))
    table = bundle.table("feather")
    for case in group["cases"]:
        context = context_of(case["context"])
        answer = bundle.put_one(table, key, False, context.members, context.attributes, None, b"{", b"}")
        expected = dict(case["expected"])
        bucket = expected.pop("bucket", None)
        shown = json.loads(answer)
        assert (shown, type(shown["value"])) == (expected, type(expected["value"])), case["context"]
        decision = bundle.decision(table, key)
        assert bucket in (
            None,
            bundle.evaluate(decision, context.members, context.attributes, None)[1],
        ), case["context"]
