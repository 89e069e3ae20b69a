"""The quick check of the neutral API's batches: what it takes, the decoder of whole batches and the event-by-event
way take with the same outcome, however the bytes are bent, and so does its OpenAPI document.

A seed is printed; NEUTRAL_SEED takes one in. NEUTRAL_BATCHES: how many are bent.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest

from fanion.config import Limits
from fanion.dialects.neutral.events import check, check_each
from fanion.dialects.neutral.schema import Schema
from fanion.dialects.wire.fault import Fault
from tests.property.bending import bend
from tests.rounds import rounds
from tests.unit.neutral_standins import CASES, is_batch

SEED = int(os.environ.get("NEUTRAL_SEED", random.randrange(1 << 32)))
BATCHES = rounds(1_000, 6_000, "NEUTRAL_BATCHES")
SCHEMA = Schema(Limits())
GOOD = [case["event"] for case in CASES if case["accepted"]]
USUAL = [event for event in GOOD if len(json.dumps(event)) < 400 and json.dumps(event).isascii()]
SENT = {
    "a metric",
    "a metric with a value",
    "an exposure",
    "an exposure with all",
    "a digest",
    "a text",
    "nulls",
}


def body_of(events: list[Any], draw: random.Random) -> bytes:
    separators = draw.choice([(",", ":"), (", ", ": ")])
    return json.dumps({"events": events}, separators=separators).encode()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_quick_check_takes_no_case_that_is_wrong(case: Any) -> None:
    body = json.dumps({"events": [case["event"]]}).encode()
    assert SCHEMA.flat(body) is None or case["accepted"]
    assert (SCHEMA.whole(body) is not None) is case["accepted"]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_what_clients_send_is_taken_quickly(separators: tuple[str, str]) -> None:
    sent = [case["event"] for case in CASES if case["name"] in SENT]
    assert len(sent) == len(SENT)
    events = [sent[n % len(sent)] | {"id": f"e{n}"} for n in range(100)]
    assert SCHEMA.flat(json.dumps({"events": events}, separators=separators).encode()) == [
        event["id"] for event in events
    ]


def test_what_is_taken_comes_to_the_same_event_by_event() -> None:
    print(f"NEUTRAL_SEED={SEED}")
    draw = random.Random(SEED)
    taken = 0
    for _ in range(BATCHES):
        body = bend(draw, body_of([draw.choice(USUAL) for _ in range(draw.randrange(1, 4))], draw))
        flat, whole = SCHEMA.flat(body), SCHEMA.whole(body)
        if flat is not None:
            taken += 1
            assert whole is not None, body
            assert flat == [event.id for event in whole], body
        if whole is not None:
            slow = check_each(SCHEMA, SCHEMA.texts(body))
            assert slow.rejected is not None, body
            assert not slow.rejected.count, body
            assert slow.ids == [event.id for event in whole], body
            assert is_batch(json.loads(body)), body
    assert taken > BATCHES // 20


def test_whatever_is_sent_is_kept_rejected_or_refused() -> None:
    print(f"NEUTRAL_SEED={SEED}")
    draw = random.Random(SEED + 1)
    for _ in range(BATCHES // 2):
        events = [draw.choice(CASES)["event"] for _ in range(draw.randrange(1, 5))]
        body = bend(draw, body_of(events, draw))
        try:
            found = check(SCHEMA, body)
        except Fault:
            continue
        sent = json.loads(body.decode(errors="replace"), strict=False)["events"]
        rejected = 0 if found.rejected is None else found.rejected.count
        assert len(found.ids) + rejected == len(sent), body
        kept = json.loads(found.body)["events"]
        assert [one["id"] for one in kept] == found.ids, body
