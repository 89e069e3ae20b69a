"""The quick check of event batches never takes what the full decoder refuses, and takes what clients send.

Here with Feather's events; `test_plain_batches.py` has those of the APIs whose batches nest.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from fanion._core.flat_batch import CHOICE, MAP, OBJECT, TEXT, FlatBatch, FlatObject
from fanion.config import Limits
from fanion.dialects.feather.schema import Schema
from fanion.dialects.wire.fault import Fault
from fanion.dialects.wire.json_bounds import Condensed
from tests.property.bending import bend

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


def quick(body: bytes) -> bool:
    return SCHEMA.plain_events.check(body, (OWN,)) is not None


def full(body: bytes) -> int | None:
    """How many events are another organisation's, by the full decoder; None when it refuses the batch. A large body
    that is mostly blanks is read in fewer bytes, as the application does."""
    try:
        events = SCHEMA.events.read(body).events
    except Condensed as shorter:
        return full(shorter.body)
    except Fault:
        return None
    return sum(event.orgId != OWN.decode() for event in events)


@pytest.mark.parametrize("count", [1, 2, 100])
@pytest.mark.parametrize("dumps", [{}, {"separators": (",", ":")}, {"indent": 2}])
def test_what_clients_send_is_taken(count: int, dumps: dict[str, Any]) -> None:
    events = [{**SAMPLE, "value": value} for value in (True, False, "x", "", 0, -1, 1.5, 12345678901234567)]
    body = batch(*(events[number % len(events)] for number in range(count)), **dumps)
    assert quick(body)
    assert SCHEMA.plain_events.check(body, (OWN,)) == (count, [], [], [])
    assert full(body) == 0


def test_members_may_come_in_any_order_and_optional_ones_may_be_missing() -> None:
    turned = dict(reversed(SAMPLE.items()))
    short = {name: value for name, value in SAMPLE.items() if name not in ("ruleId", "userIdHash")}
    assert quick(batch(turned, short, SAMPLE))


def test_events_of_others_are_left_to_the_full_decoder() -> None:
    assert not quick(batch(SAMPLE, {**SAMPLE, "orgId": "org_2"}))


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
        {"evaluatedAt": "2026-02-01T10:30:00+24:00"},
        {"evaluatedAt": "2026-02-01T10:30:00.1234Z"},
        {"evaluatedAt": "2026-02-01T10:30:00"},
    ],
)
def test_anything_unusual_is_left_to_the_full_decoder(changes: dict[str, Any]) -> None:
    assert not quick(batch(SAMPLE, {**SAMPLE, **changes}))


@pytest.mark.parametrize("count", [0, 101])
def test_no_events_or_too_many_are_left_to_the_full_decoder(count: int) -> None:
    assert not quick(batch(*[SAMPLE] * count))


@pytest.mark.parametrize("name", [name for name in SAMPLE if name not in ("ruleId", "userIdHash")])
def test_a_missing_or_repeated_member_is_left_to_the_full_decoder(name: str) -> None:
    missing = {key: value for key, value in SAMPLE.items() if key != name}
    assert not quick(batch(missing))
    twice = batch(SAMPLE).replace(b'{"flagKey"', b'{"%b": "x", "flagKey"' % name.encode(), 1)
    assert not quick(twice)


@pytest.mark.parametrize(
    "day", ["2024-02-29", "2023-02-29", "2000-02-29", "1900-02-29", "2026-04-31", "0000-01-01"]
)
def test_days_that_do_not_exist_are_not_taken(day: str) -> None:
    body = batch({**SAMPLE, "evaluatedAt": f"{day}T00:00:00Z"})
    assert quick(body) == (full(body) == 0)


def test_a_body_cut_anywhere_is_left_to_the_full_decoder() -> None:
    body = batch(SAMPLE, SAMPLE)
    for end in range(len(body)):
        assert not quick(body[:end])


@pytest.mark.parametrize("round_", range(4))
def test_a_mutated_body_that_is_taken_is_taken_by_the_full_decoder_too(round_: int) -> None:
    """Seeded; 20,000 mutants a run, about one in six of which the quick check takes."""
    draw = random.Random(SEED + round_)
    taken = 0
    for _ in range(5_000):
        body = bend(draw, batch(SAMPLE, {**SAMPLE, "value": draw.choice([1.5, 0, "x", False])}))
        if quick(body):
            taken += 1
            assert full(body) == 0, body
    assert taken > 300


def test_every_byte_is_refused_in_text_that_json_refuses_there() -> None:
    for byte in range(256):
        for length in range(18):
            text = b"a" * length + bytes([byte]) + b"b" * 9
            body = batch({**SAMPLE, "flagKey": "MARK"}).replace(b"MARK", text)
            if quick(body):
                assert full(body) == 0, (byte, length)


@pytest.mark.parametrize(
    "time", ["T00:00:00Z", "T10:30:00.123456+00:00", "T10:30:00.999-23:59", "T23:59:59+05:30"]
)
def test_times_of_the_usual_forms_are_taken(time: str) -> None:
    body = batch({**SAMPLE, "evaluatedAt": f"2026-02-01{time}"})
    assert quick(body)
    assert full(body) == 0


ONE = [("a", TEXT, 0, (), None)]


@pytest.mark.parametrize(
    ("fields", "variants", "tag", "problem"),
    [
        ([], [], None, "fields"),
        ([("c", CHOICE, 0, ["x"] * 17, None)], [((), ("c",))], None, "choices"),
        ([("a", OBJECT, 0, (), None)], [((), ("a",))], None, "needs a schema"),
        ([("c", CHOICE, 0, ["x", "y"], None)], [((), ("c",))], "c", "one variant"),
        (ONE, [], None, "one variant"),
    ],
)
def test_an_object_that_cannot_be_held_is_refused(
    fields: list[Any], variants: list[Any], tag: str | None, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        FlatObject(fields, variants, tag)


def test_a_batch_that_cannot_be_held_is_refused() -> None:
    none: dict[str, list[str]] = {"fixed": [], "grouped": [], "noted": []}
    for changes, problem in (
        ({"fixed": ["b"]}, "no field b"),
        ({"noted": ["a.b"]}, "is no object"),
        ({"grouped": ["a"] * 17}, "16 told"),
        ({"grouped": ["a"] * 16, "measured": ["a"]}, "16 told"),
        ({"fixed": ["a"] * 9}, "8 texts"),
    ):
        with pytest.raises(ValueError, match=problem):
            FlatBatch("list", FlatObject(ONE, [(["a"], [])]), 1, **(none | changes))
    with pytest.raises(ValueError, match="0 objects"):
        FlatBatch("list", FlatObject(ONE, [(["a"], [])]), 0, **none)
    made = FlatBatch("list", FlatObject(ONE, [(["a"], [])]), 1, **(none | {"fixed": ["a"]}))
    with pytest.raises(ValueError, match="1 are needed"):
        made.check(b"", ())
    assert made.check(b"", (b"",)) is None


def test_a_map_takes_a_thousand_members_and_no_more() -> None:
    item = FlatObject([("m", MAP, TEXT, (), None)], [(["m"], [])])
    made = FlatBatch("list", item, 1, fixed=[], grouped=[], noted=[])
    for count, taken in ((0, True), (1_000, True), (1_001, False)):
        body = json.dumps({"list": [{"m": {f"k{n}": "" for n in range(count)}}]}).encode()
        assert (made.check(body) is not None) == taken


def test_groups_are_told_apart_and_numbered() -> None:
    item = FlatObject([("a", TEXT, 0, (), None), ("b", TEXT, 0, (), None)], [([], ["a", "b"])])
    made = FlatBatch("list", item, 100, fixed=[], grouped=["a"], noted=["b"])
    draw = random.Random(SEED)
    for _ in range(200):
        texts = [draw.choice(["", None, *map(str, range(12))]) for _ in range(draw.randrange(1, 100))]
        rows = [{"b": f"{n}"} if text is None else {"a": text} for n, text in enumerate(texts)]
        found = made.check(json.dumps({"list": rows}).encode())
        assert found is not None
        count, groups, numbers, (column,) = found
        assert count == len(texts)
        assert [groups[number] for number in numbers] == [(text,) for text in texts]
        assert (column or [None] * count) == [row.get("b") for row in rows]


def test_lengths_of_texts_are_told_without_the_texts() -> None:
    item = FlatObject([(name, TEXT, 0, (), None) for name in "abc"], [([], ["a", "b", "c"])])
    made = FlatBatch("list", item, 100, fixed=[], grouped=["a"], noted=["b"], measured=["c"])
    draw = random.Random(SEED)
    for _ in range(200):
        rows = [
            {name: "x" * draw.choice([0, 1, 7, 300]) for name in "abc" if draw.random() < 0.7}
            for _ in range(draw.randrange(1, 20))
        ]
        found = made.check(json.dumps({"list": rows}).encode())
        assert found is not None
        assert len(found[3]) == 1
        for number, name in enumerate("bc"):
            lengths = [len(row[name]) for row in rows if name in row]
            assert made.lengths(number) == (len(lengths), min(lengths, default=0), max(lengths, default=0))
        assert made.both(0, 1) == sum("b" in row and "c" in row for row in rows)
    assert made.check(b"") is None
    assert made.both(0, 1) == 0
    assert made.lengths(0) == made.lengths(1) == (0, 0, 0)
    with pytest.raises(IndexError, match="text 2 of 2"):
        made.lengths(2)
