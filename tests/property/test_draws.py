"""A batch of decisions drawn in one native pass comes to what its items come to one by one.

A seed is printed; DRAWS_SEED takes one in.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from fanion._core.draws import Way, choose_each
from fanion.config import Limits
from fanion.dialects.traffical import decide
from fanion.dialects.traffical.decide_schema import DecideSchema
from fanion.dialects.traffical.served import Served
from fanion.engine.evaluator import open_environment
from tests.unit.traffical_standins import bundle_bytes

SEED = int(os.environ.get("DRAWS_SEED", random.randrange(1 << 32)))
BATCHES = 1_500
POLICIES = ["edge_fixed", "edge_fixed", "edge_dynamic", "edge_dynamic", "policy_color_test", "nobody's", ""]
TEXTS = ["mine", "e", "", "é\U0001f600", 'a"b\\c\n\x1f', "x" * 600, 1, None]
COUNTS: list[Any] = [None, 0, 1, 2, 2.0, 2.9, 7, -1, 1e3, 9_999, 10_001, 2**70, "2", True]


def served() -> Served:
    return Served(open_environment("production", bundle_bytes()), 0)


def item(draw: random.Random) -> dict[str, Any]:
    made = {
        "policyId": draw.choice(POLICIES),
        "entityId": draw.choice(TEXTS if draw.random() < 0.3 else TEXTS[:6]),
        "unitKeyValue": draw.choice(TEXTS if draw.random() < 0.3 else TEXTS[:6]),
        "allocationCount": draw.choice(COUNTS if draw.random() < 0.5 else COUNTS[:7]),
    }
    if draw.random() < 0.1:
        del made[draw.choice([*made])]
    return made


def read(text: bytes | None) -> Any:
    return None if text is None else msgspec.json.decode(b"[%b]" % text)


def test_a_batch_is_drawn_as_its_items_are(monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"DRAWS_SEED={SEED}")
    draw = random.Random(SEED)
    at, schema = served(), DecideSchema(Limits())
    seen: Counter[str] = Counter()
    for _ in range(BATCHES):
        monkeypatch.setattr(decide, "BATCH_ANSWER_BYTES_MAX", draw.choice([600, 5_000, 4 << 20]))
        body = msgspec.json.encode({"requests": [item(draw) for _ in range(draw.randrange(1, 9))]})
        apart = schema.items_apart(body)
        assert apart is not None
        expected = read(decide.drawn_singly(at, schema.items(schema.batch(body))))
        assert read(decide.drawn_each(at, *apart[1:])) == expected, body
        for answer in expected or ():
            seen["nothing" if answer is None else answer["policyId"]] += 1
        seen["too long"] += expected is None
    print(seen)
    assert min(seen[name] for name in ("nothing", "edge_fixed", "edge_dynamic", "too long")) > BATCHES // 50


def test_what_does_not_fit_together_is_refused() -> None:
    at = served()
    way = {"edge_fixed": Way(at.edges["edge_fixed"].decision, b"[", False)}
    with pytest.raises(ValueError, match="columns"):
        choose_each(at.bundle, way, ("entityId",), [["edge_fixed"]], b"\x01", lambda *_: b"]", 100)
    with pytest.raises(ValueError, match="fewer"):
        choose_each(at.bundle, way, ("entityId",), [["edge_fixed"], ["e"]], b"\x01\x01", lambda *_: b"]", 100)
    unknown = {"x": Way(1 << 30, b"[", False)}
    with pytest.raises(IndexError):
        choose_each(at.bundle, unknown, ("entityId",), [["x"], ["e"]], b"\x01", lambda *_: b"]", 100)
