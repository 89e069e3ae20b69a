"""Broken Traffical bundles are refused with short words, or are served: never an exception of another kind."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fanion.bundle.compiler import compile_bundle
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.format import SourceFile
from fanion.definitions.sources.traffical.source import FORMAT
from fanion.dialects.traffical.routes import DIALECT
from fanion.engine.evaluator import open_environment
from fanion.errors import ProgramError
from tests.e2e.traffical_world import EVENT_DEFINITIONS, golden
from tests.fuzz.document_mutants import places
from tests.rounds import rounds

MUTANTS = rounds(60, 300, "FANION_DOCUMENT_MUTANTS")
BUNDLE = golden("bundle_features.json") | {"eventDefinitions": EVENT_DEFINITIONS, "suggestedRefreshMs": 1}
WEIGHTS = golden("entity_weights_features.json")
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    10**30,
    2**63,
    "",
    " ",
    "x\ny",
    "é" * 3000,
    "(?=a)[",
    [],
    [1],
    {},
    {"a": {}},
    [[[[[[]]]]]],
    "running",
    "edge",
]


def mutate(chance: random.Random, document: Any) -> None:
    container, key = chance.choice(places(document))
    pick = chance.randrange(4)
    if pick == 0:
        del container[key]
    elif pick == 1 and isinstance(container, dict):
        container[str(chance.choice(ODD))] = container.pop(key)
    elif pick == 2:
        other, place = chance.choice(places(document))
        container[key] = json.loads(json.dumps(other[place]))
    else:
        container[key] = chance.choice(ODD)


@settings(max_examples=MUTANTS)
@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_mutated_bundles_are_refused_or_served(source: random.Random) -> None:
    chance = random.Random(source.getrandbits(64))
    document, weights = json.loads(json.dumps([BUNDLE, WEIGHTS]))
    for _ in range(chance.randrange(1, 4)):
        mutate(chance, document if chance.random() < 0.9 else weights)
    report = Report()
    files = {"weights": json.dumps(weights).encode()}
    file = SourceFile("bundle.json", json.dumps(document).encode(), files)
    parsed = FORMAT.parse(file, report)
    builder = Builder("env", {"traffical": {}})
    if parsed is not None:
        FORMAT.lower(parsed, file, builder, report)
    for one in [*report.problems, *report.warnings]:
        assert "\n" not in str(one), one
        assert len(str(one)) < 2_000, one
    if parsed is None or report.problems:
        assert report.problems
        return
    try:
        bundle = open_environment("env", compile_bundle(builder.finish(), {"traffical": DIALECT.render}))
    except ProgramError:
        return
    served = DIALECT.bind(bundle)
    for context in (
        {},
        {"userId": "u", "productId": "p1", "score": 1, "imageCount": 3, "device": {"os": "ios"}},
    ):
        served.overlay.run(None, None, None, context, None)
        answer = served.overlay.emit((b'{"a":{', b'},"b":[', b'],"c":[', b"]}"), b',"u":1', b',"p":')
        json.loads(answer)
