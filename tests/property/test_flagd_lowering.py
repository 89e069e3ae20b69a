"""flagd's rules as branches and as one computed slot come to the same, whatever rule and context are drawn, by the
twin and the core, and to what an interpreter of the definition makes of them."""

from __future__ import annotations

import json
import os
from typing import Any

from fanion.bundle.compiler import compile_bundle
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.flagd.files import Flag
from fanion.definitions.sources.flagd.lowering import lower_flag
from fanion.definitions.sources.flagd.source import parse
from fanion.definitions.sources.format import SourceFile
from fanion.dialects.ofrep.emit import REASONS
from fanion.engine.evaluator import open_environment
from fanion.engine.reference import evaluate
from fanion.model.program import Answer, Lowered, Resolution
from fanion.model.shape import ContextShape
from tests.property.flagd_interpreter import answer
from tests.property.flagd_random import VARIANTS, Drawing
from tests.rounds import rounds

RULES = rounds(200, 1_500, "FLAGD_RULES")
CONTEXTS = 8
SEED = int(os.environ.get("FLAGD_SEED", "20261128"))
SHAPE = ContextShape(subject="targetingKey", keyless=True)


def targeted(targeting: Any) -> dict[str, Any]:
    variants = {name: name for name in VARIANTS}
    return {"state": "ENABLED", "variants": variants, "defaultVariant": "off", "targeting": targeting}


def read_flag(flag: dict[str, Any], hashing: str = "v2") -> Flag:
    """The flag of a set of one."""
    document = {"flags": {"drawn": flag}, "metadata": {"fractional": hashing}}
    report = Report()
    found = parse(SourceFile("drawn.json", json.dumps(document).encode()), report)
    assert found is not None, [str(problem) for problem in report.problems]
    return found.flags[0]


def lowered_twice(flag: Flag) -> tuple[Lowered, list[list[Answer]]]:
    builder = Builder("env")
    answers = []
    for plain in (True, False):
        nodes, found = lower_flag(builder, flag, plain=plain)
        builder.decision(flag.key, nodes)
        answers.append(found)
    return builder.finish(), answers


def test_branches_and_the_computed_slot_come_to_the_same() -> None:
    for number in range(RULES):
        drawing = Drawing(SEED + number)
        targeting = drawing.targeting()
        hashing = drawing.pick.choice(["v2", "v2", "v3"])
        lowered, answers = lowered_twice(read_flag(targeted(targeting), hashing))
        core = open_environment("env", compile_bundle(lowered, {}))
        for _ in range(CONTEXTS):
            context = drawing.context()
            told = f"FLAGD_SEED={SEED + number}: {hashing} {json.dumps(targeting)} of {context}"
            asked = SHAPE.context(*context)
            found = [evaluate(lowered, n, asked).outcome for n in (0, 1)]
            plain, computed = (answers[n][found[n]] for n in (0, 1))
            assert plain == computed, told
            question = core.ask(asked.members, asked.attributes, ())
            assert [question.evaluate(n)[0] for n in (0, 1)] == found, told


def test_a_flag_answers_what_its_definition_says() -> None:
    for number in range(SEED, SEED + RULES):
        drawing = Drawing(number)
        flag = drawing.flag()
        lowered, (answers, _) = lowered_twice(read_flag(flag))
        for _ in range(CONTEXTS):
            key, attributes = drawing.context()
            found = answers[evaluate(lowered, 0, SHAPE.context(key, attributes)).outcome]
            context = attributes if key is None else {**attributes, "targetingKey": key}
            told = f"FLAGD_SEED={number}: {json.dumps(flag)} of {json.dumps(context)}"
            assert in_words(found) == answer(flag, "drawn", context), told


def in_words(found: Answer) -> tuple[str, str | None]:
    if found.resolution is Resolution.ERROR:
        return "ERROR", None
    return REASONS[found.cause], found.variant
