"""Traffical's events over stand-ins and a real bundle (docs/apis/traffical.md: Events)."""

from __future__ import annotations

import json
import time
from random import Random
from typing import Any

import pytest

from fanion.config import Config
from fanion.config import Journal as JournalConfig
from fanion.dialects.traffical.decision_ids import DecisionIds
from fanion.dialects.traffical.envelope import EVENTS_MAX
from fanion.dialects.traffical.event_schema import LISTED_MAX, MATCHED, Effort, EventSchemas
from fanion.dialects.traffical.events import TOLD_MAX, TOO_MANY_LISTED, check_events, check_plain
from fanion.dialects.traffical.schema import Schema
from fanion.errors import JournalError, JournalFullError
from tests.e2e.traffical_world import golden
from tests.unit.traffical_standins import (
    BEYOND_A_DOUBLE,
    KEY,
    TRACK,
    ULID,
    make_caller,
    post,
    send,
)

WITHIN_THE_CONTRACT = {"orgId", "projectId", "env", "assignments"}
"""What may be missing though the published schema asks for it (docs/apis/traffical.md: Event fields,
Vectors)."""
OUTSIDE_0_TO_1 = {"probability_0", "probability_1.0000001", "probability_-0.1"}


@pytest.mark.parametrize("case", golden("events.json")["cases"], ids=lambda case: case["name"])
def test_each_recorded_event_is_judged_by_the_published_schema(case: Any) -> None:
    event, name = case["event"], case["name"]
    if isinstance(event, dict):
        own = {"orgId": "org_t", "projectId": "proj t/1", "env": "production"}
        event = event | {key: value for key, value in own.items() if key in event}
    missing = name.rpartition("without_")[2]
    expected = case["sdkSchemaValid"] or missing in WITHIN_THE_CONTRACT or name == "docs_example_exposure"
    if name.partition("_")[2] in OUTSIDE_0_TO_1 or '"probability": "' in json.dumps(event):
        expected = False  # the copy of the schema is older than the rule
    if name.endswith("timestamp_not_iso"):
        expected = False  # the schema names the format; whether a validator looks at it is its own affair
    answer = send(make_caller(), event, TRACK)
    assert answer["accepted"] == 1 + expected, answer
    assert answer["written"] == 1 + expected
    assert [one["index"] for one in answer.get("validationErrors", [])] == ([] if expected else [0])


def test_the_quick_way_takes_nothing_that_the_plain_one_refuses() -> None:
    schema = Schema(Config().limits)
    at = make_caller().parts.snapshots.snapshot.view("production").bound["traffical"]
    own = {"orgId": "org_t", "projectId": "proj t/1", "env": "production"}
    taken = 0
    for case in golden("events.json")["cases"]:
        event = case["event"]
        if isinstance(event, dict):
            event = event | {key: value for key, value in own.items() if key in event}
        text = json.dumps(event).encode()
        quick = schema.plain_events(b'{"events":[%b]}' % text)
        if quick is not None:
            batch, slow = check_plain(at, quick), check_events(schema, at, [text])
            assert batch is not None
            assert (batch.accepted, batch.ids, batch.warnings) == (slow.accepted, slow.ids, slow.warnings)
            taken += 1
    assert taken > 20


@pytest.mark.parametrize(
    "event",
    [
        TRACK | {"more": 1},
        TRACK | {"properties": {"deep": {}}},
        TRACK | {"context": {f"k{n}": 1 for n in range(1001)}},
        TRACK | {"properties": {"n": 10**401}},
    ],
)
def test_the_quick_way_leaves_what_could_break_a_bound(event: Any) -> None:
    schema = Schema(Config().limits)
    assert schema.plain_events(json.dumps({"events": [event]}).encode()) is None


def test_a_bad_event_costs_only_itself() -> None:
    caller = make_caller()
    start = '{"type":"track","unitKey":"u","timestamp":"2026-05-21","event":"e","properties":{"a":'
    texts = [
        json.dumps(TRACK),
        '{"type":"track","unitKey":"u","timestamp":"2026-05-21","event":"e","value":1e999}',
        '{"type":"track","unitKey":NaN,"timestamp":"2026-05-21","event":"e"}',
        start + "[" * 70 + "]" * 70 + "}}",
        start + "[" * 2000 + "]" * 2000 + "}}",
        json.dumps(TRACK | {"value": 10**30}),
        json.dumps(TRACK | {"value": 1}).replace('"value": 1', '"value": ' + "9" * 401),
        json.dumps(TRACK | {"env": "staging"}),
        json.dumps(TRACK | {"projectId": "other", "orgId": "other"}),
    ]
    answer = caller.call("POST", "/v1/events", ('{"events":[' + ",".join(texts) + "]}").encode(), key=KEY)
    assert answer.status == 200, answer
    document = answer.json()
    assert (document["accepted"], document["written"]) == (2, 2)
    assert [one["index"] for one in document["validationErrors"]] == [1, 2, 3, 4, 6, 7, 8]
    record = caller.parts.journal.records[0]
    assert record["whole"] is False
    assert record["body"] == f"[{texts[0]},{texts[5]}]".encode()
    assert (record["dialect"], record["environment"]) == ("traffical", "production")


@pytest.mark.parametrize("more", [{}, {"properties": {"deep": {}}}, {"unknown": 1}])
def test_an_event_whose_time_is_none_is_reported_and_not_counted(more: dict[str, Any]) -> None:
    caller = make_caller()
    good, late = TRACK | more, TRACK | more | {"eventTimestamp": "2026-05-21"}
    bad = [TRACK | more | {"timestamp": "yesterday"}, TRACK | more | {"eventTimestamp": "1769000000000"}]
    document = send(caller, good, *bad, late)
    assert (document["accepted"], document["written"]) == (2, 2)
    assert document["validationErrors"] == [
        {"index": 1, "error": "timestamp: Expected an ISO 8601 time"},
        {"index": 2, "error": "eventTimestamp: Expected an ISO 8601 time"},
    ]
    (record,) = caller.parts.journal.records
    assert json.loads(record["body"]) == [good, late]


def test_what_an_event_is_found_to_be_does_not_depend_on_those_before_it() -> None:
    """After one that the closed decoder refuses it isn't asked for some: the open one says the same."""
    schema = Schema(Config().limits)
    kinds = [
        TRACK,
        {**TRACK, "new": [1, {"a": 2}]},
        {**TRACK, "unitKey": 1},
        {**TRACK, "type": "other" * 100},
        {**TRACK, "timestamp": "2026-13-01"},
        {**TRACK, "new": {"deep": json.loads("[" * 70 + "]" * 70)}},
        {"n": 1},
        7,
    ]
    texts = [json.dumps(kind).encode() for kind in kinds]
    texts += [texts[0][:-1] + b',"new":%b}' % number for number in BEYOND_A_DOUBLE]
    alone = [schema.judging()(text) for text in texts]
    assert len({str(one) for one in alone if isinstance(one, str)}) >= 6
    random = Random(1)
    for _ in range(50):
        judge = schema.judging()
        for number in random.choices(range(len(texts)), k=80):
            found = judge(texts[number])
            expected = alone[number]
            if isinstance(expected, str):
                assert found == expected
            else:
                assert not isinstance(found, str)
                assert found.unitKey == expected.unitKey


def test_bytes_that_are_not_text_never_reach_the_journal() -> None:
    caller = make_caller()
    good, bad = json.dumps(TRACK).encode(), json.dumps(TRACK | {"more": "?"}).encode().replace(b"?", b"\xff")
    answer = caller.call("POST", "/v1/events", b'{"events":[%b,%b]}' % (good, bad), key=KEY).json()
    assert answer["validationErrors"] == [{"index": 1, "error": "not UTF-8"}]
    assert caller.call("POST", "/v1/events", b'{"x":"\xff","events":[%b]}' % good, key=KEY).status == 200
    assert [record["body"] for record in caller.parts.journal.records] == [b"[%b]" % good] * 2


@pytest.mark.parametrize("number", BEYOND_A_DOUBLE)
def test_a_number_beyond_a_double_in_a_member_that_nobody_reads_rejects_its_event(number: bytes) -> None:
    good = json.dumps(TRACK | {"more": 1e308}).encode()
    for bad in (b'{"more":%b,' % number + good[1:], good[:-1] + b',"more":{"deep":[%b]}}' % number):
        caller = make_caller()
        document = caller.call("POST", "/v1/events", b'{"events":[%b,%b]}' % (good, bad), key=KEY).json()
        assert (document["accepted"], document["written"]) == (1, 1)
        assert [one["index"] for one in document["validationErrors"]] == [1]
        assert [record["body"] for record in caller.parts.journal.records] == [b"[%b]" % good]


@pytest.mark.parametrize("number", BEYOND_A_DOUBLE)
def test_what_stands_beside_the_events_is_not_kept(number: bytes) -> None:
    caller = make_caller()
    good = json.dumps(TRACK).encode()
    answer = caller.call("POST", "/v1/events", b'{"x":%b,"events":[%b]}' % (number, good), key=KEY)
    assert answer.body == b'{"accepted":1,"written":1}'
    assert [record["body"] for record in caller.parts.journal.records] == [b"[%b]" % good]


@pytest.mark.parametrize("number", BEYOND_A_DOUBLE)
def test_a_request_with_a_number_beyond_a_double_is_400(number: bytes) -> None:
    assert make_caller().call("POST", "/v1/resolve", b'{"x":%b}' % number, key=KEY).status == 400
    assert make_caller().call("POST", "/v1/resolve", b'{"defaults":{"a":%b}}' % number, key=KEY).status == 400
    assert make_caller().call("POST", "/v1/resolve", b'{"x":1e308}', key=KEY).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"events":[{"a":"\\ud800"}',
        b'{"events":[{"a":"\\ud800"}],}',
        b'{"x":[{"a":"\\ud800"}]}',
        b'{"events":[1,]}',
    ],
)
def test_a_body_whose_frame_is_broken_is_400(body: bytes) -> None:
    assert make_caller().call("POST", "/v1/events", body, key=KEY).status == 400


def test_a_good_batch_is_kept_as_it_came() -> None:
    caller = make_caller()
    body = b' {"events" : [ %b ]}' % json.dumps(TRACK | {"id": "a"}).encode()
    assert caller.call("POST", "/v1/events/batch", body, key=KEY).body == b'{"accepted":1,"written":1}'
    record = caller.parts.journal.records[0]
    assert (record["body"], record["whole"], record["dispositions"], len(record["ids"])) == (
        body,
        True,
        b"\0",
        16,
    )
    assert caller.parts.event_ids.made[0].end == 1


def test_repeated_ids_are_acknowledged_and_counted_once() -> None:
    caller = make_caller()
    a, b = TRACK | {"id": "a"}, TRACK | {"id": "b"}
    assert send(caller, a, a, TRACK) == {"accepted": 3, "written": 2}
    assert send(caller, a, b) == {"accepted": 2, "written": 1}
    assert caller.parts.journal.records[1]["dispositions"] == b"\2\0"
    window = caller.parts.event_ids
    assert window.settled == 2
    assert send(caller, a, b) == {"accepted": 2, "written": 0}
    assert len(caller.parts.journal.records) == 2
    assert window.made[-1].end == "released"
    assert window.settled == 3


def test_events_without_ids_reserve_nothing() -> None:
    caller = make_caller()
    assert send(caller, TRACK, TRACK) == {"accepted": 2, "written": 2}
    assert caller.parts.event_ids.made == []


def test_schemas_warn_or_keep_out() -> None:
    caller = make_caller()
    answer = send(
        caller,
        TRACK | {"event": "strict", "properties": {"total": "3"}},
        TRACK | {"event": "strict"},
        TRACK | {"event": "strict", "properties": {"total": 3, "more": 1}},
        TRACK | {"event": "unchecked", "properties": {"total": "3"}},
        TRACK | {"event": "loose", "properties": LOOSE},
    )
    assert (answer["accepted"], answer["written"]) == (5, 3)
    warnings = answer["schemaWarnings"]
    assert [(one["index"], one["event"]) for one in warnings] == [(0, "strict"), (1, "strict"), (4, "loose")]
    assert warnings[0]["violations"] == [
        {"path": "/properties/total", "message": "must be number", "rule": "type"}
    ]
    assert [one["rule"] for one in warnings[1]["violations"]] == ["required"]
    assert [(one["path"], one["rule"]) for one in warnings[2]["violations"]] == [
        ("/properties/total", "minimum"),
        ("/properties/code", "maxLength"),
        ("/properties/code", "pattern"),
        ("/properties/at", "format"),
        ("/properties/items/0/id", "format"),
        ("/properties", "additionalProperties"),
    ]
    assert len(json.loads(caller.parts.journal.records[0]["body"])) == 3


def test_violations_that_no_answer_has_room_for_are_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand events of twenty violations each took a worker 27 ms, to say 64 KB of them."""
    looked: list[int] = []
    check = EventSchemas.check

    def counted(self: EventSchemas, name: str, properties: object, most: int, effort: Effort) -> Any:
        found = check(self, name, properties, most, effort)
        looked.append(len(found[0]))
        return found

    monkeypatch.setattr(EventSchemas, "check", counted)
    caller = make_caller()
    answer = send(caller, *[TRACK | {"event": "loose", "properties": LOOSE}] * EVENTS_MAX)
    shown = answer["schemaWarnings"]
    assert (answer["accepted"], answer["written"]) == (EVENTS_MAX, EVENTS_MAX)
    assert {len(one["violations"]) for one in shown} == {6}
    assert len(looked) == EVENTS_MAX
    assert looked.count(6) >= len(shown)
    assert sum(looked) <= TOLD_MAX + 6 + EVENTS_MAX


@pytest.mark.parametrize("plain", [True, False])  # read by the quick decoder first, or told apart
def test_so_many_values_inside_lists_are_looked_at_of_a_batch_and_no_more(plain: bool) -> None:
    """4 MB of them held a worker for a second, whoever's key it was."""
    item = {"id": "2d0cd5a2-1d2f-4bb2-8b8e-9c3f7d6a1f10"}  # itself, and a member that has a format
    beyond = {"items": [item] * (LISTED_MAX // (1 + MATCHED) + 1)}
    half = {"items": [item] * (LISTED_MAX // (1 + MATCHED) // 2)}
    more = {} if plain else {"zz": 1}
    answer = send(
        make_caller(),
        TRACK | more | {"event": "loose", "properties": half},
        TRACK | more | {"event": "loose", "properties": beyond},
        TRACK | more | {"event": "unchecked", "properties": beyond},
        TRACK | more | {"event": "loose", "properties": half},
        TRACK | more | {"event": "loose", "properties": {"items": [item]}},
        TRACK | more | {"event": "loose", "properties": {"total": 1}},
    )
    assert (answer["accepted"], answer["written"]) == (4, 4)
    assert answer["validationErrors"] == [{"index": index, "error": TOO_MANY_LISTED} for index in (1, 4)]
    assert "schemaWarnings" not in answer


LOOSE = {"total": -1, "code": "abcd", "at": "yesterday", "items": [{"id": "x"}], "a/b": 1}


def test_a_batch_that_schemas_keep_out_writes_nothing() -> None:
    caller = make_caller()
    answer = send(caller, TRACK | {"event": "strict", "id": "s"})
    assert (answer["accepted"], answer["written"]) == (1, 0)
    assert caller.parts.journal.records == []


@pytest.mark.parametrize(
    "body", [{}, {"events": []}, {"events": None}, {"events": {}}, {"events": [TRACK] * 1001}, []]
)
def test_no_array_of_1_to_1000_events_is_400(body: Any) -> None:
    answer = post(make_caller(), "/v1/events", body)
    assert answer.status == 400
    assert answer.json() == {
        "error": "Bad Request",
        "message": "events must be a non-empty array (max 1000)",
    }


def test_1000_events_are_taken() -> None:
    assert send(make_caller(), *([TRACK] * 1000)) == {"accepted": 1000, "written": 1000}


@pytest.mark.parametrize("error", [JournalFullError("full"), JournalError("broken")])
def test_what_cannot_be_kept_is_503_and_remembered_nowhere(error: Exception) -> None:
    caller = make_caller()
    caller.parts.journal.full = error
    answer = post(caller, "/v1/events", {"events": [TRACK | {"id": "a"}]})
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert caller.parts.event_ids.made[0].end == "released"


def test_a_window_that_is_not_ready_and_a_failed_sync_are_503() -> None:
    caller = make_caller()
    caller.parts.event_ids.error = JournalFullError("being rebuilt")
    assert post(caller, "/v1/events", {"events": [TRACK | {"id": "a"}]}).status == 503
    caller = make_caller()
    caller.parts.journal.sync_error = JournalError("disk")
    assert post(caller, "/v1/events", {"events": [TRACK]}).status == 503


def test_buffered_acknowledgements_do_not_wait_for_the_disk() -> None:
    caller = make_caller(Config(journal=JournalConfig(ack="buffered")))
    caller.parts.journal.sync_error = JournalError("disk")
    assert send(caller, TRACK | {"id": "a"}) == {"accepted": 1, "written": 1}


def test_a_slow_body_of_events_is_overload_but_elsewhere_a_time_out() -> None:
    config = Config()
    limits = type(config.limits)(body_chunk_timeout_s=0.05, body_timeout_s=0.1)
    for path, status in (("/v1/events", 503), ("/v1/resolve", 408)):
        caller = make_caller(Config(limits=limits))
        answer = caller.call("POST", path, [b'{"ev'], {"content-length": "100"}, key=KEY, stall=True)
        assert answer.status == status


def test_v1_events_belongs_to_the_system_whose_key_is_sent() -> None:
    caller = make_caller()
    assert send(caller, TRACK)
    bare = caller.call("POST", "/v1/events", b"{}", key=None)
    assert (bare.status, bare.json()) == (401, {"error": "Invalid or missing API key."})
    preflight = caller.call("OPTIONS", "/v1/events", key=None)
    assert preflight.status == 204
    allowed = preflight.headers["access-control-allow-headers"]
    assert all(
        name in allowed for name in ("authorization", "if-none-match", "x-project-id", "x-env", "x-org-id")
    )


def test_other_methods_and_paths_are_answered_in_the_same_shape() -> None:
    caller = make_caller()
    answer = caller.call("PUT", "/v1/resolve", key=KEY)
    assert (answer.status, answer.headers["allow"]) == (405, "POST, OPTIONS")
    assert answer.json()["error"] == "Method Not Allowed"
    assert caller.call("GET", "/v1/nothing", key=KEY).json()["error"] == "Not Found"


def test_decision_ids_are_ulids_that_sort_by_time() -> None:
    take = DecisionIds().take
    now = time.time_ns()
    ids = [take(now + number * 1_000_000) for number in range(600)]
    assert all(ULID.fullmatch(id.decode()) for id in ids)
    assert [id[:14] for id in ids] == sorted(id[:14] for id in ids)
    assert len(set(ids)) == 600
    assert take(0)[:14] == b"dec_0000000000"
