"""Items of batches told apart natively: whatever is wrong with one, and wherever, the same are taken, the same are
refused and in the same words as when the decoder reads each by itself.

A seed is printed; JUDGE_SEED takes one in. JUDGE_BATCHES: how many of each API are drawn; a million is an hour's.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from fanion.config import Limits
from fanion.dialects.feather.schema import Schema as FeatherSchema
from fanion.dialects.neutral import events as neutral
from fanion.dialects.neutral.schema import Schema as NeutralSchema
from fanion.dialects.redpennon.judged import Judge, read_judged_batch
from fanion.dialects.redpennon.schema import check_events as check_redpennon
from fanion.dialects.stitchd.schema import Bodies as StitchdBodies
from fanion.dialects.traffical import events as traffical
from fanion.dialects.traffical.decide_schema import POLICY_AND_MEMBERS, DecideSchema
from fanion.dialects.traffical.event_schema import EventRule, EventSchemas, PropertySchema
from fanion.dialects.traffical.schema import Schema as TrafficalSchema
from fanion.dialects.wire.fault import Fault
from fanion.dialects.wire.json_bounds import is_within
from tests.property.test_plain_batches import BODIES, CATALOGUE, DECISION, EXPOSURE, TRACK
from tests.property.test_plain_batches import EVENT as RED_PENNON
from tests.property.wrong_items import batch
from tests.unit.neutral_standins import CASES

SEED = int(os.environ.get("JUDGE_SEED", random.randrange(1 << 32)))
BATCHES = int(os.environ.get("JUDGE_BATCHES", 6_000))
LIMITS = [
    Limits(),
    Limits(
        json_depth_max=4,
        json_keys_max=16,
        json_integer_digits_max=20,
        json_tokens_max=1024,
        ingest_json_tokens_max=1024,
    ),
]
RULES = {
    "buy": EventRule(
        "reject", PropertySchema(properties={"a": PropertySchema(type="number", required=True)})
    ),
    "x": EventRule("warn", PropertySchema(properties={"a": PropertySchema(type="string")})),
}
Outcome = tuple[Any, ...]
Reader = Callable[[bytes], Outcome | None]


def neutral_readers(limits: Limits) -> tuple[Reader, Reader, Any]:
    schema = NeutralSchema(limits)

    def outcome(found: neutral.Checked | None) -> Outcome | None:
        if found is None:
            return None
        wrong = found.rejected is not None and found.rejected.count
        return (
            found.ids,
            wrong and found.places,
            wrong and found.rejected.list(),
            wrong or 0,
            wrong and found.body,
        )

    return (
        lambda body: outcome(neutral.sort(schema, body)),
        lambda body: outcome(neutral.check_each(schema, schema.texts(body))),
        schema.event_judge,
    )


def traffical_readers(limits: Limits) -> tuple[Reader, Reader, Any]:
    schema = TrafficalSchema(limits)
    at: Any = SimpleNamespace(
        organisation="o", project="p", environment="e", own=(b"o", b"p", b"e"), events=EventSchemas(RULES)
    )

    def outcome(found: traffical.CheckedBatch | None, body: bytes) -> Outcome | None:
        if found is None:
            return None
        errors: Any = found.errors
        kept = found.kept
        if kept is None and not schema.alone(body):
            kept = b",".join(schema.events(body))
        return found.ids, found.accepted, found.count, errors.count, errors.list(), found.warnings, kept

    return (
        lambda body: outcome(traffical.sort_events(schema, at, body), body),
        lambda body: outcome(traffical.check_events(schema, at, schema.events(body)), body),
        schema.event_judge,
    )


APIS: dict[str, tuple[Callable[[Limits], tuple[Reader, Reader, Any]], list[Any]]] = {
    "neutral": (neutral_readers, [case["event"] for case in CASES]),
    "traffical": (
        traffical_readers,
        [EXPOSURE, DECISION, TRACK, TRACK | {"event": "x", "eventTimestamp": "2026-11-28"}],
    ),
}


FEATHER = {
    "flagKey": "f",
    "flagId": "i",
    "environmentId": "e",
    "orgId": "o",
    "value": True,
    "reason": "ROLLOUT",
    "sdkType": "server",
    "sdkVersion": "1",
    "evaluatedAt": "2026-11-28T20:05:00.123Z",
}


@pytest.mark.parametrize("events_max", [100, 3])
def test_a_batch_that_is_refused_whole_is_refused_as_its_decoder_does(events_max: int) -> None:
    print(f"JUDGE_SEED={SEED}")
    schema = FeatherSchema(Limits(events_per_request_max=events_max))
    draw = random.Random(SEED)
    right = [FEATHER, FEATHER | {"value": 1.5, "ruleId": "r", "zz": [1, {}]}, FEATHER | {"orgId": "x"}]
    seen: Counter[str] = Counter()
    for _ in range(BATCHES):
        body = batch(draw, right[: draw.choice([1, 2, 3])])
        wrong = None
        try:
            taken = schema.all_own(body, b"o")
        except Fault as fault:
            wrong = fault
        if wrong is None and not taken:
            seen["another way"] += 1
            continue
        expected = None
        try:
            events = schema.events.read(body).events
        except Fault as fault:
            expected = fault
        told = [None if one is None else (one.kind, one.message, one.path) for one in (wrong, expected)]
        assert told[0] == told[1], body
        if expected is None:
            assert {event.orgId for event in events} == {"o"}, body
            seen["taken"] += 1
        else:
            seen["too many" if "length" in expected.message else "refused"] += 1
    print(seen)
    assert min(seen["taken"], seen["refused"]) > BATCHES // 20
    assert (seen["too many"] > 0) is (events_max == 3)


def test_a_batch_with_members_that_are_read_over_comes_to_the_same() -> None:
    print(f"JUDGE_SEED={SEED}")
    draw = random.Random(SEED)
    right = [RED_PENNON, RED_PENNON | {"zz": [1, {}]}, RED_PENNON | {"event_id": None, "value": 1}]
    right += [{name: RED_PENNON[name] for name in ("event", "variable", "variation")}]
    judge = Judge(Limits())
    seen: Counter[str] = Counter()
    for _ in range(BATCHES):
        body = batch(draw, right[: draw.choice([2, 4])])
        client = draw.random() < 0.5
        wrong = judged = None
        try:
            judged = read_judged_batch(judge, body, CATALOGUE, client=client)
        except Fault as fault:
            wrong = fault
        if judged is None and wrong is None:
            seen["another way"] += 1
            continue
        expected = None
        try:
            slow = check_redpennon(BODIES.events(body), CATALOGUE, client=client)
        except Fault as fault:
            expected = fault
        told = [None if one is None else (one.kind, one.message) for one in (wrong, expected)]
        assert told[0] == told[1], body
        if judged is None:
            seen["refused"] += 1
            continue
        seen["taken"] += 1
        count, checked = judged
        assert count == len(slow), body
        if checked:
            assert checked == slow, body
        else:
            assert {(one.event_id, one.trace) for one in slow} == {(None, None)}, body
    print(seen)
    assert min(seen["taken"], seen["refused"]) > BATCHES // 20


STITCHD = {"metric_key": "m", "context_type": "user", "context_key": "k"}


@pytest.mark.parametrize("limits", LIMITS, ids=["usual", "tight"])
def test_a_batch_that_is_right_as_a_whole_has_the_values_that_its_decoder_finds(limits: Limits) -> None:
    print(f"JUDGE_SEED={SEED}")
    bodies = StitchdBodies(limits)
    draw = random.Random(SEED)
    more: list[Any] = [{}, {"value": 1}, {"value": True, "zz": {}}, {"value": None}, {"timestamp_ms": 5}]
    more += [{"value": [1.5, {"a": "é"}], "zz": [1, "\n"]}, {"value": "text", "timestamp_ms": None}]
    right = [STITCHD | one for one in more]
    seen: Counter[str] = Counter()
    for _ in range(BATCHES):
        chosen = draw.sample(right, 2)
        body = (
            batch(draw, chosen) if draw.random() < 0.5 else msgspec.json.encode({"zz": 1, "events": chosen})
        )
        judged = bodies.judged(body)
        if judged is None:
            seen["another way"] += 1
            continue
        try:
            events = bodies.batch(body)
        except Fault as fault:
            raise AssertionError(f"taken, but {fault!r}: {body!r}") from None
        keys, values = judged
        assert keys == [event.metric_key for event in events], body
        assert [value or b"" for value in values] == [bytes(event.value) for event in events], body
        seen["taken"] += 1
    print(seen)
    assert min(seen.values()) > BATCHES // 20


BATCH_ITEM = {"policyId": "p", "entityId": "e", "unitKeyValue": "u", "allocationCount": 3}


@pytest.mark.parametrize("limits", LIMITS, ids=["usual", "tight"])
def test_an_item_that_cannot_be_used_is_the_same_without_its_decoder(limits: Limits) -> None:
    print(f"JUDGE_SEED={SEED}")
    schema, plain = DecideSchema(limits), DecideSchema(limits)
    draw = random.Random(SEED)
    wrong = taken = 0
    for _ in range(BATCHES // 2):
        body = batch(
            draw, [BATCH_ITEM, BATCH_ITEM | {"orgId": "o", "zz": 1}], (b'{"env":"e","requests":[', b"]}")
        )
        refused: list[Any] = []
        apart = sent = None
        for read in (schema.items_apart, schema.batch):
            try:
                apart, sent = sent, read(body)
            except Fault as fault:
                refused.append((fault.kind, fault.message))
        if refused:
            assert apart is None, body
            assert len(set(refused)) == 1, body
            assert len(refused) == 2 or sent is None, body
            continue
        if apart is None:
            continue
        place, columns, places = apart
        assert (place.orgId, place.projectId, place.env) == (sent.orgId, sent.projectId, sent.env)
        expected = list(plain.items(sent))
        right = zip(*columns, strict=True)
        for number, item in enumerate(expected):
            assert places[number] == (item is not None), body
            if item is not None:
                told = next(right)
                kept = POLICY_AND_MEMBERS(item)
                assert told == kept, body
                assert list(map(type, told)) == list(map(type, kept)), body
        taken += 1
        wrong += expected.count(None)
    assert min(wrong, taken) > BATCHES // 10


@pytest.mark.parametrize("limits", LIMITS, ids=["usual", "tight"])
@pytest.mark.parametrize("api", APIS)
def test_each_item_is_judged_as_its_decoder_does(api: str, limits: Limits) -> None:
    print(f"JUDGE_SEED={SEED}")
    make, right = APIS[api]
    sort, read, judge = make(limits)
    draw = random.Random(SEED)
    seen: Counter[str] = Counter()
    for _ in range(BATCHES):
        body = batch(draw, right)
        found = sort(body)
        if found is None:
            seen["another way"] += 1
            continue
        try:
            expected = read(body)
        except (Fault, msgspec.MsgspecError) as error:
            raise AssertionError(f"taken, but {error!r}: {body!r}") from None
        assert found == expected, body
        fixed = (b"o", b"p", b"e") if api == "traffical" else ()
        for verdict in judge.judge(body, fixed):
            seen[verdict if isinstance(verdict, str) else f"fault {verdict >> 56}"] += 1
    print(seen)
    assert seen["fine"] > BATCHES // 20
    assert seen["unsure"] < sum(seen.values()) // 4


@pytest.mark.parametrize("fault", [b'"zz":1', b'"value":"x"', b'"unit":{}'])
def test_what_is_no_text_before_a_fault_is_told_as_the_decoder_does(fault: bytes) -> None:
    """It reads the properties first, and their bytes are no UTF-8."""
    body = b'{"events":[{"type":"metric","metric":"m","properties":{"a":"\xff"},%b}]}' % fault
    sort, read, _ = neutral_readers(Limits())
    assert sort(body) == read(body)
    assert b"not valid JSON" in sort(body)[2]


@pytest.mark.parametrize("limits", LIMITS, ids=["usual", "tight"])
@pytest.mark.parametrize("api", APIS)
def test_a_body_that_the_judge_finds_within_every_bound_passes_the_scan(api: str, limits: Limits) -> None:
    print(f"JUDGE_SEED={SEED}")
    make, right = APIS[api]
    judge = make(limits)[2]
    fixed = (b"o", b"p", b"e") if api == "traffical" else ()
    draw = random.Random(SEED)
    seen: Counter[bool] = Counter()
    for _ in range(BATCHES // 2):
        beside = draw.choice([b"", b"", b'"zz":[[1e5,{"a":[]}]],'])
        body = batch(draw, right, (b"{" + beside + b'"events":[', b"]}"))
        if judge.judge(body, fixed) is None:
            assert not judge.within
            continue
        if judge.within:
            assert is_within(body, limits, batch=True), body
        seen[judge.within] += 1
    print(seen)
    assert min(seen[True], seen[False]) > BATCHES // 1_000
