"""flagd's rules as branches and as one computed slot come to the same, whatever rule and context are drawn."""

from __future__ import annotations

import json
import os
from typing import Any

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.flagd.files import Flag
from fanion.definitions.sources.flagd.lowering import lower_flag
from fanion.definitions.sources.flagd.source import parse
from fanion.definitions.sources.format import SourceFile
from fanion.engine.reference import evaluate
from fanion.model.program import Answer, Lowered
from fanion.model.shape import ContextShape
from tests.property.flagd_random import VARIANTS, Drawing

RULES = int(os.environ.get("FLAGD_RULES", "1500"))
CONTEXTS = 8
SEED = int(os.environ.get("FLAGD_SEED", "20261128"))
SHAPE = ContextShape(subject="targetingKey", keyless=True)


def read_flag(targeting: Any, hashing: str = "v2") -> Flag:
    """The flag of a set of one."""
    variants = dict.fromkeys(VARIANTS, "value") | {"off": "another"}
    flag = {"state": "ENABLED", "variants": variants, "defaultVariant": "off", "targeting": targeting}
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
        lowered, answers = lowered_twice(read_flag(targeting, drawing.pick.choice(["v2", "v2", "v3"])))
        for _ in range(CONTEXTS):
            context = drawing.context()
            asked = SHAPE.context(*context)
            plain, computed = (answers[n][evaluate(lowered, n, asked).outcome] for n in (0, 1))
            assert plain == computed, f"FLAGD_SEED={SEED + number}: {json.dumps(targeting)} of {context}"
