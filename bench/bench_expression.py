"""A rule of flagd's format as branches and as one computed slot, in process: what computing costs an evaluation.

Both are lowered from the same rule and decide alike. Run: `pytest bench/bench_expression.py`.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from fanion.bundle.compiler import compile_bundle
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.flagd.lowering import lower_flag
from fanion.definitions.sources.flagd.source import parse
from fanion.definitions.sources.format import SourceFile
from fanion.engine.evaluator import Bundle, open_environment
from fanion.model.shape import ContextShape

SHAPE = ContextShape(subject="targetingKey", keyless=True)
ADULT = {"and": [{"in": [{"var": "country"}, ["DE", "FR"]]}, {">=": [{"var": "age"}, 18]}]}
RULES = {
    "two conditions": {"if": [ADULT, "on", "off"]},
    "a split": {"if": [ADULT, {"fractional": [["on", 50], ["off", 50]]}, "off"]},
}
CONTEXT = SHAPE.context("user-1", {"country": "DE", "age": 30})
ROUNDS, CALLS = 300, 1_000


@cache
def opened(rule: str) -> Bundle:
    """Decision 0: as branches; 1: computed."""
    variants = {"on": True, "off": False}
    flag = {"state": "ENABLED", "variants": variants, "defaultVariant": "off", "targeting": RULES[rule]}
    document = {"flags": {"a": flag}, "metadata": {"fractional": "v2"}}
    found = parse(SourceFile("bench.json", json.dumps(document).encode()), Report())
    assert found is not None
    builder = Builder("env")
    for plain in (True, False):
        builder.decision(f"plain {plain}", lower_flag(builder, found.flags[0], plain=plain)[0])
    return open_environment("env", compile_bundle(builder.finish(), {}))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("decision", [0, 1], ids=["branches", "computed"])
def bench_one_rule_from_a_dict(benchmark: Any, rule: str, decision: int) -> None:
    bundle = opened(rule)

    def ask() -> int:
        return int(bundle.ask(CONTEXT.members, CONTEXT.attributes, ()).evaluate(decision)[0])

    found = benchmark.pedantic(ask, rounds=ROUNDS, iterations=CALLS, warmup_rounds=3)
    assert found == bundle.ask(CONTEXT.members, CONTEXT.attributes, ()).evaluate(1 - decision)[0]
