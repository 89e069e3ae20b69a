"""What real clients send that a strict decoder refuses is read as it was meant, in all four APIs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fanion._core import json_scan
from fanion.http.cors import ASKED_BYTES_MAX
from fanion.http.router import Router
from tests.unit.http_standins import Answered, Caller
from tests.unit.redpennon_standins import KEY as PENNON_KEY
from tests.unit.redpennon_standins import World
from tests.unit.redpennon_standins import event as pennon_event
from tests.unit.test_http_feather import BULK, EVENTS, event
from tests.unit.test_http_stitchd import EVENT as STITCHD_EVENT
from tests.unit.test_http_stitchd import ask, caller  # noqa: F401  # the fixture
from tests.unit.traffical_standins import BROWSER, KEY, TRACK, make_caller

CUT = "cut \ud83d"
"""Text that was cut inside an emoji; `json.dumps` writes it as JSON.stringify does."""
MEANT = "cut \ufffd"
MARK = b"\xef\xbb\xbf"


def stored(asked: Caller) -> list[Any]:
    """The events of the one record, which any JSON reader reads."""
    (record,) = asked.parts.journal.records
    document = json.loads(record["body"])
    events: list[Any] = document["events"] if isinstance(document, dict) else document
    return events


def test_feather_keeps_a_batch_with_text_cut_inside_an_emoji() -> None:
    asked = Caller()
    body = json.dumps({"events": [event(), event(sdkVersion=CUT)]}).encode()
    assert asked.call("POST", EVENTS, body).status == 202
    assert [one["sdkVersion"] for one in stored(asked)] == [event()["sdkVersion"], MEANT]


def test_feather_evaluates_a_user_with_text_cut_inside_an_emoji() -> None:
    asked = Caller()
    context = {"userId": CUT, "attributes": {"title": CUT, CUT: 1}}
    assert (
        asked.call("POST", BULK, json.dumps({"flags": ["open"], "context": context}).encode()).status == 200
    )
    bundle = asked.parts.snapshots.snapshot.views["production"].bound["feather"].bundle
    assert bundle.asked == [({"userId": MEANT}, {"title": MEANT, MEANT: 1})]


def test_redpennon_reads_text_cut_inside_an_emoji() -> None:
    world = World()
    headers = {"x-api-key": PENNON_KEY}
    user = {"id": CUT, "custom_data": {"title": CUT}}
    answer = world.caller.call(
        "POST", "/v1/variables/v", json.dumps({"user": user}).encode(), headers, key=None
    )
    assert answer.status == 200
    body = json.dumps({"events": [pennon_event(), pennon_event(user={"id": CUT})]}).encode()
    assert world.caller.call("POST", "/v1/events", body, headers, key=None).body == b'{"accepted":2}'
    assert stored(world.caller)[1]["user"] == {"id": MEANT}


def test_traffical_keeps_each_event_of_a_batch_with_text_cut_inside_an_emoji() -> None:
    asked = make_caller()
    body = json.dumps({"events": [TRACK, TRACK | {"unitKey": CUT}, TRACK | {"more": {"deep": CUT}}]}).encode()
    assert asked.call("POST", "/v1/events", body, key=KEY).body == b'{"accepted":3,"written":3}'
    assert [one["unitKey"] for one in stored(asked)] == ["u", MEANT, "u"]


def test_a_batch_that_is_mostly_blanks_and_escapes_is_kept_as_the_same_in_fewer_bytes() -> None:
    asked = make_caller()
    name = "\u00e4\U0001f600" * 5_000
    body = json.dumps({"events": [TRACK, TRACK | {"unitKey": name}, TRACK | {"unitKey": CUT}]}).encode()
    spaced = body.replace(b",", b"," + b" " * 5_000)
    assert asked.call("POST", "/v1/events", spaced, key=KEY).body == b'{"accepted":3,"written":3}'
    assert [one["unitKey"] for one in stored(asked)] == ["u", name, MEANT]
    assert len(asked.parts.journal.records[0]["body"]) < len(body) // 2


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/v1/resolve", {"context": {"userId": CUT, CUT: CUT}, "defaults": {"guest": CUT}}),
        ("/v1/decide/edge_fixed", {"entityId": CUT, "unitKeyValue": CUT}),
        (
            "/v1/decide/batch",
            {"requests": [{"policyId": "edge_fixed", "entityId": CUT, "unitKeyValue": CUT}]},
        ),
    ],
)
def test_traffical_answers_a_user_with_text_cut_inside_an_emoji(path: str, document: Any) -> None:
    answer = make_caller().call("POST", path, json.dumps(document).encode(), key=KEY)
    assert answer.status == 200
    assert (answer.json().get("responses") or [answer.json()])[0] is not None


def test_stitchd_reads_text_cut_inside_an_emoji(caller: Caller) -> None:  # noqa: F811
    asked: list[Answered] = [
        ask(caller, "/evaluate", {"flag_key": "f", "context_type": "user", "context_key": CUT}),
        ask(
            caller,
            "/segments/list-check",
            {"segment_key": "beta", "context_type": "user", "context_key": CUT},
        ),
    ]
    assert [answer.status for answer in asked] == [200, 200]
    batch = {"events": [STITCHD_EVENT, STITCHD_EVENT | {"context_key": CUT}, STITCHD_EVENT | {"value": CUT}]}
    answer = ask(caller, "/events/batch", batch)
    assert answer.json() == {"accepted_count": 2, "rejected_keys": ["page_view"]}
    assert [one["context_key"] for one in stored(caller)] == ["u1", MEANT]


def test_a_body_of_halves_alone_is_not_read_twice() -> None:
    """No text is cut ten thousand times; a body that an attacker wrote costs one pass and no more."""
    context = {"attributes": {"title": "\ud83d" * (json_scan.HALVES_MAX + 1)}}
    body = json.dumps({"flags": ["open"], "context": context}).encode()
    assert Caller().call("POST", BULK, body).json()["error"]["code"] == "INVALID_JSON"


@pytest.mark.parametrize(
    ("blanks", "halves"), [(40_000, 2_000), (0, 9_000), (40_000, json_scan.HALVES_MAX + 1)]
)
def test_a_large_body_of_blanks_and_halves_is_read_or_refused_never_failed(blanks: int, halves: int) -> None:
    user = {"id": "u1", "custom_data": {"title": "\ud83d" * halves}}
    body = json.dumps({"keys": [], "user": user}).replace(" ", " " * (1 + blanks // 5)).encode()
    told = World().caller.call("POST", "/v1/variables", body, {"x-api-key": PENNON_KEY}, key=None)
    assert told.status == (400 if halves > json_scan.HALVES_MAX else 200)
    context = {"targetingKey": "u1", "title": "\ud83d" * halves}
    body = json.dumps({"context": context}).replace(" ", " " * (1 + blanks // 5)).encode()
    told = Caller().call("POST", BULK, body.replace(b'"context"', b'"flags": ["open"], "context"'))
    assert told.status < 500


def test_a_body_with_a_byte_order_mark_is_read_without_it(caller: Caller) -> None:  # noqa: F811
    assert Caller().call("POST", EVENTS, MARK + json.dumps({"events": [event()]}).encode()).status == 202
    traffical = make_caller()
    sent = MARK + json.dumps({"events": [TRACK]}).encode()
    assert traffical.call("POST", "/v1/events", sent, key=KEY).body == b'{"accepted":1,"written":1}'
    assert stored(traffical) == [TRACK]
    assert ask(caller, "/events", MARK + json.dumps(STITCHD_EVENT).encode()).status == 202
    world = World()
    answer = world.caller.call(
        "POST", "/v1/variables", MARK + b'{"keys":[]}', {"x-api-key": PENNON_KEY}, key=None
    )
    assert answer.body == b'{"results":{}}'


@pytest.mark.parametrize(
    "body", [MARK, MARK * 2 + b"{}", b"{}" + MARK, b'{"a":"\\ud83"}', b'{"a":"\xed\xa0\x80"}']
)
def test_what_is_no_json_with_its_mark_and_its_halves_mended_stays_refused(body: bytes) -> None:
    assert Caller().call("POST", BULK, body).json()["error"]["code"] == "INVALID_JSON"


def test_not_a_number_costs_the_one_event_that_has_it_where_events_stand_by_themselves() -> None:
    asked = make_caller()
    body = json.dumps(
        {"events": [TRACK, TRACK | {"value": float("nan")}, TRACK | {"value": float("-inf")}]}
    ).encode()
    answer = asked.call("POST", "/v1/events", body, key=KEY).json()
    assert (answer["accepted"], [one["index"] for one in answer["validationErrors"]]) == (1, [1, 2])
    assert stored(asked) == [TRACK]


# -- browsers


def preflight(names: str, path: str = BULK) -> set[str]:
    answer = Caller().call("OPTIONS", path, headers={"access-control-request-headers": names}, key=None)
    assert answer.status == 204
    return set(answer.headers["access-control-allow-headers"].split(", "))


OWN = {"authorization", "content-type"}


def test_a_preflight_allows_the_headers_that_tracing_adds() -> None:
    asked = {"traceparent", "tracestate", "baggage", "sentry-trace", "x-datadog-origin"}
    assert preflight(",".join(asked)) == OWN | asked
    assert preflight("Traceparent , Authorization") == OWN | {"traceparent"}
    answer = make_caller().call(
        "OPTIONS", "/v1/events", headers={"access-control-request-headers": "b3"}, key=None
    )
    assert {"b3", "x-project-id"} <= set(answer.headers["access-control-allow-headers"].split(", "))


@pytest.mark.parametrize("names", ["", "a b", "a\x00", "é", "a,,b", "a,", '"a"', "x" * (ASKED_BYTES_MAX + 1)])
def test_what_is_no_list_of_header_names_is_not_repeated(names: str) -> None:
    assert preflight(names) == OWN


def test_as_many_header_names_as_fit_are_repeated() -> None:
    names = "x" * ASKED_BYTES_MAX
    assert preflight(names) == OWN | {names}


def test_a_base_url_that_ends_in_a_slash_is_served() -> None:
    good = json.dumps({"events": [TRACK]}).encode()
    for path in ("//v1/events/batch", "/traffical//v1/events/batch", "//traffical/v1/events/batch"):
        assert make_caller().call("POST", path, good, key=BROWSER).status == 200, path
    for path in ("///v1/events/batch", "/v1//events/batch", "/other//v1/events/batch", "//"):
        assert make_caller().call("POST", path, good, key=BROWSER).status == 404, path


def test_a_key_behind_a_doubled_slash_keeps_its_own_slashes() -> None:
    world = World()
    headers = {"x-api-key": PENNON_KEY}
    for path, key in (
        ("//v1/variables/v", "v"),
        ("//v1/variables/a//b", "a//b"),
        ("/v1/variables/a//b", "a//b"),
    ):
        assert world.caller.call("POST", path, b"{}", headers, key=None).json()["key"] == key


def test_a_doubled_slash_finds_no_path_that_is_not_there() -> None:
    assert Router([(Caller().dialects[0], [])]).find(b"//a//b", "GET", {}) == (None, b"")


# -- numbers


@pytest.mark.parametrize(
    ("sent", "text"), [(123, "123"), (2**63 + 1, str(2**63 + 1)), (1.5, "1.5"), (123.0, "123")]
)
@pytest.mark.parametrize("member", ["id", "email"])
def test_a_numeric_user_of_redpennon_is_the_user_of_that_text(sent: Any, text: str, member: str) -> None:
    world = World({"plan": "free"})
    answers = [world.one({member: given}).json() for given in (sent, text)]
    scopes = [answer.pop("evaluation_trace").split(".")[0] for answer in answers]
    assert (answers[0], scopes[0][:20]) == (answers[1], scopes[1][:20])
    assert [user for _, user, _ in world.users.asked] == [text, text]
    assert world.send(pennon_event(user={member: sent}, event_id="a")).body == b'{"accepted":1}'


def test_a_numeric_id_of_redpennon_counts_before_the_email() -> None:
    world = World({"plan": "free"})
    world.one({"id": 5, "email": "a@example.com"})
    world.one({"id": None, "email": "a@example.com"})
    assert [user for _, user, _ in world.users.asked] == ["5", "a@example.com"]


@pytest.mark.parametrize("sent", [True, [], {}, ["a"]])
@pytest.mark.parametrize("member", ["id", "email"])
def test_what_can_be_no_user_of_redpennon_is_refused_and_not_taken_for_nobody(sent: Any, member: str) -> None:
    world = World()
    answer = world.one({member: sent})
    assert (answer.status, answer.json()) == (400, {"error": f'"user.{member}" must be a string.'})
    answer = world.ask("/v1/variables", {"keys": ["v"], "user": {member: sent}})
    assert answer.status == 400
    answer = world.send(pennon_event(), pennon_event(user={member: sent}))
    assert (answer.status, answer.json()) == (400, {"error": f"events[1].user.{member} must be a string."})


@pytest.mark.parametrize("big", [2**63, -(2**63) - 1, 2**64, 10**300])
def test_integers_beyond_64_bits_are_read_as_doubles(big: int) -> None:
    asked = Caller()
    context = {"attributes": {"n": big}}
    assert (
        asked.call("POST", BULK, json.dumps({"flags": ["open"], "context": context}).encode()).status == 200
    )
    (_, attributes), *_ = asked.parts.snapshots.snapshot.views["production"].bound["feather"].bundle.asked
    assert (attributes["n"], type(attributes["n"])) == (float(big), float)
    assert asked.call("POST", EVENTS, json.dumps({"events": [event(value=big)]}).encode()).status == 202
    world = World()
    body = json.dumps({"user": {"custom_data": {"n": big}}}).encode()
    headers = {"x-api-key": PENNON_KEY}
    assert world.caller.call("POST", "/v1/variables/v", body, headers, key=None).status == 200
    body = json.dumps({"events": [pennon_event(value=big)]}).encode()
    assert world.caller.call("POST", "/v1/events", body, headers, key=None).status == 202


def test_an_integer_that_no_double_holds_is_refused_with_its_place() -> None:
    big = 10**399
    body = json.dumps({"events": [event(), event(value=big)]}).encode()
    answer = Caller().call("POST", EVENTS, body)
    assert (answer.status, answer.json()["error"]["details"]) == (422, {"path": "events[1].value"})
    world = World()
    headers = {"x-api-key": PENNON_KEY}
    body = json.dumps({"user": {"custom_data": {"n": big}}}).encode()
    assert world.caller.call("POST", "/v1/variables/v", body, headers, key=None).status == 400
    body = json.dumps({"events": [pennon_event(value=big)]}).encode()
    answer = world.caller.call("POST", "/v1/events", body, headers, key=None)
    assert (answer.status, answer.json()) == (400, {"error": "events[0].value must be numeric when set."})
