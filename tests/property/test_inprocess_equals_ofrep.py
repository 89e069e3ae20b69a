"""In process, flags of every source say what they say through OFREP: random definitions and contexts.

The short way through the core (`fanion._core.flat`) is held against the long one in plain Python, and both against
what OFREP's endpoints answer.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from fanion import dialects
from fanion._core.flat import FlatReader
from fanion.bundle.compiler import compile_bundle
from fanion.engine.evaluator import open_environment
from fanion.errors import EvaluationError
from fanion.inprocess.answers import read_answer, read_ready
from tests.property.test_ofrep_equals_own import CONTEXTS, PER_WORLD, SOURCES, Asked


class InProcess:
    """The same environment without a server."""

    def __init__(self, asked: Asked) -> None:
        (lowered,) = asked.loaded.environments
        flat = next(one for one in dialects.served() if one.name == dialects.flat().name)
        buffer = compile_bundle(lowered, {flat.name: flat.render})
        bundle = open_environment("env", buffer, asked.snapshot.holds)
        answers = dialects.flat().bind(bundle)
        assert answers is not None
        self.answers = answers
        self.reader = FlatReader(bundle, answers.table, answers.own, answers.plan, read_ready, None)
        self.short = 0

    def check(self, key: str, context: dict[str, Any], flag: dict[str, Any]) -> None:
        long = self.answers.one(key, context)
        assert json.loads(long) == flag, (key, context)
        found = read_answer(long)
        short = self.reader.ask(key, context)
        resolved = self.reader.resolve(key, context)
        if short is None:
            assert resolved is None or resolved[1] == long
            return
        assert resolved is not None
        assert resolved[1] == long
        self.short += 1
        assert not isinstance(found, EvaluationError)
        assert (short, type(short.value)) == (found, type(found.value)), (key, context)
        for name in ("value", "variant", "reason", "metadata"):
            assert getattr(short, name) == flag.get(name, {} if name == "metadata" else None)


@pytest.mark.parametrize("name", SOURCES)
def test_flags_say_in_process_what_they_say_through_ofrep(tmp_path: Path, name: str) -> None:
    seed = int(os.environ.get("OFREP_SEED", "20261128"))
    make, _ = SOURCES[name]
    checked = short = 0
    for number in range(max(1, CONTEXTS // PER_WORLD)):
        source = random.Random(f"{seed} {name} {number}")
        folder = tmp_path / str(number)
        folder.mkdir()
        asked, draw = make(folder, source)
        own = InProcess(asked)
        for _ in range(PER_WORLD):
            context = json.loads(json.dumps(draw()))
            before = json.dumps(context)
            found = asked.through_ofrep(context)
            every = [json.loads(answer) for answer in own.answers.every(context)]
            assert {flag["key"]: flag for flag in every} == found
            for key, flag in found.items():
                own.check(key, context, flag)
                checked += 1
            assert json.dumps(context) == before
        short += own.short
    assert checked > CONTEXTS, "most answers were compared"
    assert short > checked // 2 or any(own.answers.plan(key) is None for key in found), (
        "most went the short way"
    )
