"""The quick check of event batches never takes what the full decoder refuses, and takes what clients send."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from fanion._core.flat_batch import CHOICE, SCALAR, TEXT, TIME, UNSURE, FlatBatch
from fanion.config import Limits
from fanion.http.dialect import Fault
from fanion.http.dialects.feather.schema import Schema

OWN = b"org_01hx"
SEED = 20261121
SCHEMA = Schema(Limits())

SAMPLE: dict[str, Any] = {
    "flagKey": "new-checkout",
    "flagId": "flag_1",
    "environmentId": "env_01hx",
    "orgId": "org_01hx",
    "value": True,
    "reason": "RULE_MATCH",
    "ruleId": "rule-1",
    "userIdHash": "a0" * 32,
    "sdkType": "server",
    "sdkVersion": "1.0.0",
    "evaluatedAt": "2026-02-01T10:30:00.000Z",
}


def batch(*events: dict[str, Any], **dumps: Any) -> bytes:
    return json.dumps({"events": list(events)}, **dumps).encode()


def full(body: bytes) -> int | None:
    """How many events are another organisation's, by the full decoder; None when it refuses the batch."""
    try:
        events = SCHEMA.events.read(body).events
    except Fault:
        return None
    return sum(event.orgId != OWN.decode() for event in events)


@pytest.mark.parametrize("count", [1, 2, 100])
@pytest.mark.parametrize("dumps", [{}, {"separators": (",", ":")}, {"indent": 2}])
def test_what_clients_send_is_taken(count: int, dumps: dict[str, Any]) -> None:
    events = [{**SAMPLE, "value": value} for value in (True, False, "x", "", 0, -1, 1.5, 12345678901234567)]
    body = batch(*(events[number % len(events)] for number in range(count)), **dumps)
    assert SCHEMA.flat_events.check(body, OWN) == 0 == full(body)


def test_members_may_come_in_any_order_and_optional_ones_may_be_missing() -> None:
    turned = dict(reversed(SAMPLE.items()))
    short = {name: value for name, value in SAMPLE.items() if name not in ("ruleId", "userIdHash")}
    assert SCHEMA.flat_events.check(batch(turned, short, SAMPLE), OWN) == 0


def test_events_of_others_are_counted() -> None:
    other = {**SAMPLE, "orgId": "org_2"}
    assert SCHEMA.flat_events.check(batch(other, SAMPLE, other), OWN) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"value": None},
        {"value": [1]},
        {"value": 10**18},
        {"reason": "NONE"},
        {"sdkType": 1},
        {"flagKey": 5},
        {"flagKey": "é"},
        {"flagKey": 'a"b'},
        {"extra": 1},
        {"evaluatedAt": "2026-02-30T10:30:00Z"},
        {"evaluatedAt": "2026-02-01"},
        {"evaluatedAt": "2026-02-01T24:30:00Z"},
        {"evaluatedAt": "2026-02-01T10:30:00+00:00"},
    ],
)
def test_anything_unusual_is_left_to_the_full_decoder(changes: dict[str, Any]) -> None:
    assert SCHEMA.flat_events.check(batch(SAMPLE, {**SAMPLE, **changes}), OWN) == UNSURE


@pytest.mark.parametrize("count", [0, 101])
def test_no_events_or_too_many_are_left_to_the_full_decoder(count: int) -> None:
    assert SCHEMA.flat_events.check(batch(*[SAMPLE] * count), OWN) == UNSURE


@pytest.mark.parametrize("name", [name for name in SAMPLE if name not in ("ruleId", "userIdHash")])
def test_a_missing_or_repeated_member_is_left_to_the_full_decoder(name: str) -> None:
    missing = {key: value for key, value in SAMPLE.items() if key != name}
    assert SCHEMA.flat_events.check(batch(missing), OWN) == UNSURE
    twice = batch(SAMPLE).replace(b'{"flagKey"', b'{"%b": "x", "flagKey"' % name.encode(), 1)
    assert SCHEMA.flat_events.check(twice, OWN) == UNSURE


@pytest.mark.parametrize(
    "day", ["2024-02-29", "2023-02-29", "2000-02-29", "1900-02-29", "2026-04-31", "0000-01-01"]
)
def test_days_that_do_not_exist_are_not_taken(day: str) -> None:
    body = batch({**SAMPLE, "evaluatedAt": f"{day}T00:00:00Z"})
    assert (SCHEMA.flat_events.check(body, OWN) == 0) == (full(body) == 0)


def test_a_body_cut_anywhere_is_left_to_the_full_decoder() -> None:
    body = batch(SAMPLE, SAMPLE)
    for end in range(len(body)):
        assert SCHEMA.flat_events.check(body[:end], OWN) == UNSURE


@pytest.mark.parametrize("round_", range(4))
def test_a_mutated_body_that_is_taken_is_taken_by_the_full_decoder_too(round_: int) -> None:
    """Seeded; 20,000 mutants a run, about one in seven of which the quick check takes."""
    draw = random.Random(SEED + round_)
    alphabet = b'{}[]",:.-+0129aeEtfuZT\\ \n\x00\x1f\x7f\x80\xc3\xa9 '
    taken = 0
    for _ in range(5_000):
        body = bytearray(batch(SAMPLE, {**SAMPLE, "value": draw.choice([1.5, 0, "x", False])}))
        for _ in range(draw.choice([1, 1, 1, 2, 3])):
            at = draw.randrange(len(body))
            match draw.randrange(3):
                case 0:
                    body[at] = draw.choice(alphabet)
                case 1:
                    body.insert(at, draw.choice(alphabet))
                case _:
                    del body[at]
        quick = SCHEMA.flat_events.check(bytes(body), OWN)
        if quick != UNSURE:
            taken += 1
            assert quick == full(bytes(body)), bytes(body)
    assert taken > 300


def test_every_byte_is_refused_in_text_that_json_refuses_there() -> None:
    for byte in range(256):
        for length in range(18):
            text = b"a" * length + bytes([byte]) + b"b" * 9
            body = batch({**SAMPLE, "flagKey": "MARK"}).replace(b"MARK", text)
            if SCHEMA.flat_events.check(body, OWN) != UNSURE:
                assert full(body) == 0, (byte, length)


def test_a_schema_that_cannot_be_held_is_refused() -> None:
    with pytest.raises(ValueError, match="fields"):
        FlatBatch("list", [], 1, "a")
    with pytest.raises(ValueError, match="there is no field"):
        FlatBatch("list", [("a", TEXT, True, ())], 1, "b")
    with pytest.raises(ValueError, match="must be text"):
        FlatBatch("list", [("a", SCALAR, True, ())], 1, "a")
    with pytest.raises(ValueError, match="choices"):
        FlatBatch("list", [("a", TEXT, True, ()), ("c", CHOICE, True, ["x"] * 17)], 1, "a")
    assert (
        FlatBatch("list", [("a", TEXT, True, ()), ("t", TIME, False, ())], 1, "a").check(b"", b"") == UNSURE
    )
