"""Broken flag sets of flagd are refused with problems, or lowered and answered; nothing else ever happens."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.flagd.lowering import lower
from fanion.definitions.sources.flagd.source import parse, recognises
from fanion.definitions.sources.format import SourceFile
from fanion.engine.reference import evaluate
from tests.fuzz.document_mutants import mutate
from tests.property.flagd_random import Drawing
from tests.rounds import rounds

MUTANTS = rounds(200, 1_000, "PROPERTY_PROGRAMS") // 2
JUNK: list[Any] = [
    None,
    True,
    0,
    -1,
    2**63,
    10**400,
    1.5,
    "",
    "x",
    "\ud800",
    "x" * 70_000,
    [],
    {},
    [[]],
    [{}],
    {"var": []},
    {"var": {"var": ""}},
    {"var": "$flagd"},
    {"$ref": "loop"},
    {"$ref": []},
    {"reduce": [{"var": "list"}, {"+": [{"var": "current.a"}, {"var": "accumulator"}]}, 0]},
    {"reduce": [{"var": ""}]},
    {"map": []},
    {"if": []},
    {"and": []},
    {"or": {}},
    {"!": []},
    {"==": []},
    {"cat": {"var": "list"}},
    {"merge": {"merge": []}},
    {"max": []},
    {"fractional": []},
    {"fractional": [[]]},
    {"fractional": [["a", 2**31]]},
    {"fractional": {"var": "list"}},
    {"missing_some": [1]},
    {"sem_ver": []},
    {"substr": []},
    {"/": [1]},
]


def answer_all(data: bytes, drawing: Drawing) -> None:
    report, builder = Report(), Builder("env")
    source = SourceFile("flags.json", data)
    found = parse(source, report)
    assert (found is None) == bool(report.problems)
    if found is None:
        return
    lower(found, source, builder, report)
    if report.problems:
        return
    lowered = builder.finish()
    shape = lowered.shapes["flagd"]
    for parameter in lowered.parameters:
        outcome = evaluate(lowered, parameter.decision, shape.context(*drawing.context())).outcome
        assert 0 <= outcome < len(parameter.answers)


@settings(max_examples=MUTANTS)
@given(st.integers(0, 2**64 - 1))
def test_mutated_flag_sets_are_refused_or_answer(seed: int) -> None:
    drawing = Drawing(seed)
    document: dict[str, Any] = {
        "flags": {f"f{number}": drawing.flag() for number in range(3)},
        "$evaluators": {"one": drawing.targeting(2)},
        "metadata": {"fractional": drawing.pick.choice(["v2", "v3"]), "a": 1},
    }
    document["flags"]["f0"]["targeting"] = {"if": [{"$ref": "one"}, "on"]}
    for _ in range(drawing.pick.randrange(1, 4)):
        mutate(drawing.pick, document, JUNK)
    recognises(document)
    answer_all(json.dumps(document).encode(errors="surrogatepass"), drawing)


@settings(max_examples=MUTANTS // 5)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_answer(data: bytes) -> None:
    answer_all(data, Drawing(0))
