"""The neutral API over stand-ins (docs/apis/neutral.md), each answer against its OpenAPI document."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fanion.config import Config, Limits
from fanion.config import Journal as JournalConfig
from fanion.dialects.neutral.schema import EVENTS_MAX
from fanion.errors import JournalError, JournalFullError
from tests.unit.http_standins import Caller
from tests.unit.neutral_standins import (
    CASES,
    CLIENT,
    ELSEWHERE,
    EXPOSURE,
    GONE,
    KEY,
    METRIC,
    OTHER_API,
    OTHER_SCOPE,
    PATH,
    SCOPED,
    check_answer,
    is_batch,
    make_caller,
    send,
    stored,
)

BEYOND_THE_DOCUMENT = {"a day that there isn't", "a line behind"}
"""What no pattern says, or a validator's own idea of an end."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_each_event_is_judged_as_the_document_says(case: Any) -> None:
    asked = make_caller()
    beside = METRIC | {"id": "beside"}
    answer = send(asked, case["event"], beside).json()
    assert answer["accepted"] == 1 + case["accepted"]
    assert [one["index"] for one in answer["rejected"]] == ([] if case["accepted"] else [0])
    if "reason" in case:
        assert answer["rejected"][0]["reason"] == case["reason"]
    assert stored(asked) == [*([case["event"]] if case["accepted"] else []), beside]
    if case["name"] not in BEYOND_THE_DOCUMENT:
        assert is_batch({"events": [case["event"]]}) is case["accepted"]


@pytest.mark.parametrize("path", [PATH, f"/neutral{PATH}"])
@pytest.mark.parametrize("key", [KEY, CLIENT, SCOPED])
def test_any_key_that_may_write_events_opens_it(key: bytes, path: str) -> None:
    assert send(make_caller(), METRIC, key=key, path=path).json() == {
        "accepted": 1,
        "duplicates": [],
        "rejected": [],
    }


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        (None, 401, "no_key"),
        (b"nobody", 401, "unknown_key"),
        (OTHER_API, 401, "unknown_key"),
        (ELSEWHERE, 401, "unknown_key"),
        (OTHER_SCOPE, 403, "forbidden"),
        (GONE, 503, "overloaded"),
    ],
)
def test_other_keys_are_refused(key: bytes | None, status: int, code: str) -> None:
    asked = make_caller()
    answer = send(asked, METRIC, key=key)
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)
    assert ("www-authenticate" in answer.headers) is (status == 401)
    assert asked.parts.journal.records == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_there_is_nothing_to_read(method: str) -> None:
    for key in (KEY, CLIENT):
        answer = make_caller().call(method, PATH, key=key)
        assert answer.status == 405
        assert answer.headers["allow"] == "POST, OPTIONS"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"events":[{"a":NaN}]}', b'{"events":' + b"[" * 5_000, b"{" * 40_000]
)
def test_what_is_no_json_is_refused_whole(body: bytes) -> None:
    asked = make_caller()
    answer = asked.call("POST", PATH, body, key=KEY)
    check_answer(answer.status, answer.headers, answer.json())
    assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_json")
    assert asked.parts.journal.records == []


@pytest.mark.parametrize(
    "document",
    [
        [],
        1,
        None,
        {},
        {"events": []},
        {"events": {}},
        {"events": None},
        {"events": [METRIC], "more": 1},
        [METRIC],
    ],
)
def test_what_is_no_batch_is_refused_whole(document: Any) -> None:
    asked = make_caller()
    answer = asked.call("POST", PATH, json.dumps(document).encode(), key=KEY)
    check_answer(answer.status, answer.headers, answer.json())
    assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_batch")
    assert not is_batch(document)
    assert asked.parts.journal.records == []


def many(count: int, **members: Any) -> list[dict[str, Any]]:
    return [METRIC | {"id": f"order-{n}"} | members for n in range(count)]


def test_a_batch_holds_a_thousand_events_and_no_more() -> None:
    assert send(make_caller(), *many(EVENTS_MAX)).json()["accepted"] == EVENTS_MAX
    assert send(make_caller(), *many(EVENTS_MAX, properties={"deep": {}})).json()["accepted"] == EVENTS_MAX
    answer = send(make_caller(), *many(EVENTS_MAX + 1))
    assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_batch")


def test_a_body_over_the_limit_is_refused_and_one_at_it_is_taken() -> None:
    size = len(json.dumps({"events": [METRIC]}))
    assert send(make_caller(Config(limits=Limits(ingest_body_bytes_max=1024))), METRIC).status == 200
    padded = METRIC | {"properties": {"a": "x" * (1024 - size - len(', "properties": {"a": ""}'))}}
    assert send(make_caller(Config(limits=Limits(ingest_body_bytes_max=1024))), padded).status == 200
    padded["properties"]["a"] += "x"
    answer = send(make_caller(Config(limits=Limits(ingest_body_bytes_max=1024))), padded)
    assert (answer.status, answer.json()["error"]["code"]) == (413, "too_large")


def test_depth_and_members_are_bounded_in_one_event_alone() -> None:
    deep: Any = {}
    for _ in range(59):
        deep = {"a": deep}
    assert send(make_caller(), METRIC | {"properties": deep}).json()["accepted"] == 1
    answer = send(make_caller(), METRIC | {"properties": {"a": {"a": {"a": {"a": deep}}}}}, EXPOSURE).json()
    assert answer["accepted"] == 1
    assert "nested deeper" in answer["rejected"][0]["reason"]
    wide = {f"k{n}": n for n in range(1_000)}
    assert send(make_caller(), METRIC | {"properties": wide}).json()["accepted"] == 1
    answer = send(make_caller(), METRIC | {"properties": wide | {"one": 1}}, EXPOSURE).json()
    assert "more than 1000 members" in answer["rejected"][0]["reason"]


@pytest.mark.parametrize("number", [b"1e999", b"-1E+999", b"1" + b"0" * 400])
def test_a_number_beyond_a_double_costs_its_event_or_the_batch_and_is_never_kept(number: bytes) -> None:
    asked = make_caller()
    body = json.dumps({"events": [METRIC | {"value": "HERE"}]}).encode().replace(b'"HERE"', number)
    answer = asked.call("POST", PATH, body, key=KEY)
    check_answer(answer.status, answer.headers, answer.json())
    assert answer.status == 400 or answer.json()["accepted"] == 0
    assert asked.parts.journal.records == []


def test_repeated_ids_are_told_by_their_places_in_the_request_and_marked() -> None:
    asked = make_caller()
    assert send(asked, METRIC).json()["duplicates"] == []
    again = [{"bad": 1}, METRIC, EXPOSURE, EXPOSURE, METRIC | {"id": "order-2"}]
    answer = send(asked, *again).json()
    assert (answer["accepted"], answer["duplicates"]) == (2, [1, 3])
    assert [one["index"] for one in answer["rejected"]] == [0]
    record = asked.parts.journal.records[1]
    assert record["dispositions"] == b"\2\0\2\0"
    assert len(record["ids"]) == 4 * 16
    assert json.loads(record["body"])["events"] == again[1:]


def test_a_batch_of_repeats_alone_writes_nothing_and_waits_for_what_it_repeats() -> None:
    asked = make_caller()
    send(asked, METRIC)
    assert send(asked, METRIC).json() == {"accepted": 0, "duplicates": [0], "rejected": []}
    assert len(asked.parts.journal.records) == 1
    assert asked.parts.event_ids.settled == 1
    assert [one.end for one in asked.parts.event_ids.made] == [1, "released"]


def test_a_batch_of_wrong_events_alone_writes_nothing() -> None:
    asked = make_caller()
    answer = send(asked, 1, {}, "x").json()
    assert (answer["accepted"], [one["index"] for one in answer["rejected"]]) == (0, [0, 1, 2])
    assert asked.parts.journal.records == []
    assert asked.parts.event_ids.made == []


def test_what_is_told_of_wrong_events_ends_at_64_kib() -> None:
    answer = send(make_caller(), *[{"x" * 250: 1, "type": "metric"}] * EVENTS_MAX)
    assert 100 < len(answer.json()["rejected"]) < EVENTS_MAX
    assert len(answer.body) < 70_000


@pytest.mark.parametrize("ack", ["durable", "buffered", "replicated"])
def test_nothing_is_acknowledged_that_could_not_be_kept(ack: Any) -> None:
    asked = make_caller(Config(journal=JournalConfig(ack=ack)))
    asked.parts.journal.full = JournalFullError("full")
    answer = send(asked, METRIC)
    assert (answer.status, answer.json()["error"]["code"]) == (503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    assert asked.parts.event_ids.made[0].end == "released"
    asked.parts.journal.full = None
    assert send(asked, METRIC).json()["accepted"] == 1


def test_a_failed_sync_and_a_closed_window_are_to_be_sent_again() -> None:
    asked = make_caller()
    asked.parts.journal.sync_error = JournalError("disk")
    assert send(asked, METRIC).status == 503
    asked = make_caller()
    asked.parts.event_ids.error = JournalFullError("rebuilding")
    assert send(asked, METRIC).status == 503
    assert asked.parts.journal.records == []


def test_an_organisations_limits_hold() -> None:
    for organisation, status, code in (
        ({"suspended": True}, 403, "forbidden"),
        ({"plan": "basic", "subscription_active": False}, 403, "forbidden"),
        ({"limits": {"batch_events": 1}}, 413, "too_large"),
    ):
        asked = make_caller(organisation=organisation)
        answer = send(asked, METRIC, EXPOSURE)
        assert (answer.status, answer.json()["error"]["code"]) == (status, code)
        assert asked.parts.journal.records == []
    asked = make_caller(organisation={"limits": {"rate_per_s": 1.0}})
    asked.parts.limiter.wait_s = 2.5
    answer = send(asked, METRIC)
    assert (answer.status, answer.headers["retry-after"]) == (429, "3")
    assert answer.json()["error"]["code"] == "rate_limited"


def test_browsers_may_send_from_anywhere() -> None:
    asked = make_caller()
    headers = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    headers["access-control-request-headers"] = "authorization,content-type,traceparent"
    answer = asked.call("OPTIONS", PATH, headers=headers, key=None)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "traceparent" in answer.headers["access-control-allow-headers"]
    assert "retry-after" in send(asked, METRIC).headers["access-control-expose-headers"]


def test_what_the_body_is_called_is_not_looked_at_and_its_encoding_is() -> None:
    assert send(make_caller(), METRIC, content_type="text/plain").status == 200
    answer = send(make_caller(), METRIC, content_encoding="br")
    assert (answer.status, answer.json()["error"]["code"]) == (415, "unsupported_encoding")


def test_text_cut_inside_an_emoji_and_a_byte_order_mark_are_read_as_meant() -> None:
    asked = make_caller()
    body = b"\xef\xbb\xbf" + json.dumps({"events": [METRIC | {"id": "cut \ud83d"}, {"bad": 1}]}).encode()
    assert asked.call("POST", PATH, body, key=KEY).json()["accepted"] == 1
    assert stored(asked) == [METRIC | {"id": "cut \ufffd"}]


def test_metrics_name_the_endpoint() -> None:
    asked: Caller = make_caller()
    send(asked, METRIC)
    assert asked.parts.counters.seen == [("neutral", "events", 200)]
