"""Red Pennon against a real server process: keys, shapes, evaluation, governance (docs/apis/redpennon.md)."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from tests.e2e.redpennon.asking import BAD_EVENTS, EVENTS, MANY, ONE, UNAUTHORISED, event, send
from tests.e2e.redpennon_world import (
    CAPPED,
    FEATHER_ONLY,
    INACTIVE,
    OPEN,
    RATED,
    SMALL,
    SUSPENDED,
    ask,
    evaluate,
)
from tests.e2e.server import Running

# -- keys, methods, paths


@pytest.mark.parametrize("path", [ONE, MANY, EVENTS])
@pytest.mark.parametrize(
    "key",
    [None, "", "nonsense", "6b0e0f5e-7d5c-4f0a-9d0a-ffffffffffff", "00000000-0000", FEATHER_ONLY, OPEN[:-1]],
)
def test_missing_malformed_and_unknown_keys_look_the_same(
    pennon: Running, path: str, key: str | None
) -> None:
    answer = ask(pennon, path, {}, key=key)
    assert (answer.status, answer.body) == (401, UNAUTHORISED)
    assert answer.headers["content-type"] == "application/json"


def test_key_is_accepted_in_any_case_and_header_in_any_case(pennon: Running) -> None:
    assert ask(pennon, ONE, {}, key=OPEN.upper()).status == 200
    assert ask(pennon, ONE, {}, key=None, headers={"x-api-KEY": OPEN}).status == 200


@pytest.mark.parametrize("path", [ONE, MANY, EVENTS])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_405_before_the_key_is_looked_at(pennon: Running, path: str, method: str) -> None:
    for key in (OPEN, None):
        answer = ask(pennon, path, method=method, key=key, headers={"X-API-Key": key or "?"})
        assert (answer.status, answer.body) == (405, b'{"error":"Method not allowed."}')
        assert "POST" in answer.headers["allow"]


def test_paths_of_nobody_are_404_in_this_shape(pennon: Running) -> None:
    for path in ("/v1", "/v1/variables/", "/v1/unknown", "/redpennon/v1/variables/", "/redpennon/else"):
        answer = ask(pennon, path, {})
        assert (answer.status, answer.body) == (404, b'{"error":"Not found."}')


def test_same_routes_stand_under_the_prefix(pennon: Running) -> None:
    assert ask(pennon, "/redpennon" + ONE, {}).json()["key"] == "checkout-flow"
    assert ask(pennon, "/redpennon" + MANY, {"keys": []}).body == b'{"results":{}}'
    assert ask(pennon, "/redpennon" + EVENTS, {"events": []}).body == b'{"accepted":0}'


def test_shared_events_path_is_decided_by_the_credential_header(pennon: Running) -> None:
    bearer = {"Authorization": "Bearer traffical_sk_nobody"}
    theirs = ask(pennon, EVENTS, {"events": []}, key=None, headers=bearer)
    assert (theirs.status, set(theirs.json())) == (401, {"error", "message"})
    assert ask(pennon, EVENTS, {"events": []}, headers=bearer).body == b'{"accepted":0}'
    assert ask(pennon, EVENTS, {"events": []}, key=None).body == UNAUTHORISED
    assert ask(pennon, "/redpennon" + EVENTS, {}, key=None, headers=bearer).body == UNAUTHORISED
    preflight = ask(pennon, EVENTS, method="OPTIONS", key=None)
    assert preflight.status == 204
    assert "access-control-allow-methods" in preflight.headers
    assert ask(pennon, "/redpennon" + EVENTS, method="OPTIONS").status == 405


# -- shapes

NOT_JSON = [
    b"",
    b"{",
    b"nope",
    b'{"user":}',
    b"\xff\xfe",
    b'{"user":{"id":"\xff"}}',
    b"[" * 2000,
    b'{"a":1}x',
]


@pytest.mark.parametrize("path", [ONE, MANY, EVENTS])
@pytest.mark.parametrize("body", NOT_JSON)
def test_bodies_that_are_not_json(pennon: Running, path: str, body: bytes) -> None:
    answer = ask(pennon, path, body=body)
    assert (answer.status, answer.body) == (400, b'{"error":"Invalid JSON."}')


@pytest.mark.parametrize("nesting", [b"[" * 65 + b"]" * 65, b'{"a":' * 65 + b"1" + b"}" * 65])
def test_nesting_over_the_limit_is_refused(pennon: Running, nesting: bytes) -> None:
    for path, body in (
        (ONE, b'{"user":{"custom_data":{"x":%b}}}'),
        (MANY, b'{"keys":[],"user":{"x":%b}}'),
        (EVENTS, b'{"events":[],"x":%b}'),
    ):
        answer = ask(pennon, path, body=body % nesting)
        assert (answer.status, answer.body) == (400, b'{"error":"Invalid JSON."}')


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        (ONE, {"user": 1}, '"user" must be an object.'),
        (ONE, {"user": []}, '"user" must be an object.'),
        (ONE, {"user": "u"}, '"user" must be an object.'),
        (ONE, [], '"user" must be an object.'),
        (ONE, "text", '"user" must be an object.'),
        (MANY, {}, '"keys" field is required.'),
        (MANY, {"user": 1}, '"keys" field is required.'),
        (MANY, [], '"keys" field is required.'),
        (MANY, {"keys": "a"}, '"keys" must be a list.'),
        (MANY, {"keys": None}, '"keys" must be a list.'),
        (MANY, {"keys": {"a": 1}, "user": 1}, '"keys" must be a list.'),
        (MANY, {"keys": [1]}, '"keys" must be a list of strings.'),
        (MANY, {"keys": [], "user": []}, '"user" must be an object.'),
        (EVENTS, {}, '"events" field is required.'),
        (EVENTS, [], '"events" field is required.'),
        (EVENTS, 1, '"events" field is required.'),
        (EVENTS, {"events": None}, '"events" must be a list.'),
        (EVENTS, {"events": {}}, '"events" must be a list.'),
    ],
)
def test_wrong_shapes_have_the_documented_texts(pennon: Running, path: str, body: Any, text: str) -> None:
    answer = ask(pennon, path, body)
    assert (answer.status, answer.body) == (400, json.dumps({"error": text}, separators=(",", ":")).encode())


def test_integers_beyond_64_bits_in_a_user_are_doubles_as_far_as_one_holds_them(pennon: Running) -> None:
    for number, status in ((b"9223372036854775807", 200), (b"9223372036854775808", 200), (b"9" * 310, 400)):
        body = b'{"user":{"custom_data":{"n":%b}}}' % number
        assert ask(pennon, ONE, body=body).status == status


@pytest.mark.parametrize(
    "user",
    [
        {"id": 1, "email": True, "audiences": "x", "custom_data": [1], "country": {}, "platform": None},
        {"audiences": [1, {"a": 2}], "custom_data": {"a": {"b": 1}, "c": [1, "x"]}},
        {"custom_data": "text", "unknown": [[1]]},
        {"id": "x" * 100_000},
    ],
)
def test_wrong_types_inside_a_user_never_fail(pennon: Running, user: Any) -> None:
    answer = ask(pennon, ONE, {"user": user})
    assert answer.status in (200, 400)
    assert answer.status == 200 or "must not hold texts" in answer.json()["error"]


# -- evaluation


@pytest.mark.parametrize(
    ("variable", "user", "value", "variation", "reason", "feature"),
    [
        ("checkout-flow", {"country": "DE"}, "A", "variant-a", "targeting_rule_matched", "checkout"),
        ("checkout-flow", {"country": "FR"}, "C", "control", "no_rule_matched", "checkout"),
        ("checkout-flow", None, "C", "control", "no_rule_matched", "checkout"),
        ("plain", {}, "C", "control", "default_variation", "plain"),
        ("done", {}, "A", "variant-a", "feature_complete", "done"),
        (
            "checkout-flow",
            {"email": "dev@example.com"},
            "A",
            "variant-a",
            "self_targeting_override",
            "checkout",
        ),
        ("off", {}, None, None, "targeting_disabled", "off"),
        ("old", {}, None, None, "feature_archived", "old"),
        ("gone", {}, None, None, "feature_deleted", "gone"),
        ("no-such-key", {}, None, None, "variable_not_found", None),
        ("split", {}, "C", "control", "no_rule_matched", "split"),
        ("t-bool", {}, True, "on", "default_variation", "types"),
        ("t-number", {}, 2.5, "on", "default_variation", "types"),
        ("t-json", {}, {"a": [1, None]}, "on", "default_variation", "types"),
    ],
)
def test_every_reason_with_its_value(
    pennon: Running,
    variable: str,
    user: Any,
    value: Any,
    variation: str | None,
    reason: str,
    feature: str | None,
) -> None:
    result = evaluate(pennon, variable, user)
    trace = result.pop("evaluation_trace")
    assert result == {
        "key": variable,
        "value": value,
        "variation": variation,
        "reason": reason,
        "feature": feature,
    }
    identified = bool(user and (user.get("id") or user.get("email")))
    assert (trace is not None) == (identified and variation is not None)


def test_single_answer_is_written_in_the_documented_order(pennon: Running) -> None:
    answer = ask(pennon, "/v1/variables/PLAIN", {})
    assert answer.body == (
        b'{"key":"plain","value":"C","variation":"control","reason":"default_variation","feature":"plain",'
        b'"evaluation_trace":null}'
    )


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        ("weird%2Fkey", "weird/key", "w"),
        ("weird/key", "weird/key", "w"),
        ("WEIRD%2fKEY", "weird/key", "w"),
        ("a%20b", "a b", "s"),
        ("q%3Fx%3D1", "q?x=1", "q"),
        ("p%252Fq", "p%2fq", "p"),
        ("caf%C3%A9", "café", "c"),
        ("CAF%C3%89", "café", "c"),
        ("%FF", "�", None),
        ("..%2F..", "../..", None),
        ("x" * 4000, "x" * 4000, None),
    ],
)
def test_keys_are_decoded_once_and_folded(pennon: Running, path: str, key: str, value: Any) -> None:
    result = ask(pennon, f"/v1/variables/{path}", {}).json()
    assert (result["key"], result["value"]) == (key, value)


def test_batch_is_keyed_by_the_keys_as_sent_in_their_order(pennon: Running) -> None:
    keys = ["T-Number", "nope", "t-number", "nope", "checkout-flow", "Nope"]
    answer = ask(pennon, MANY, {"keys": keys, "user": {"id": "u1", "country": "DE"}})
    results = answer.json()["results"]
    assert list(results) == ["T-Number", "nope", "t-number", "checkout-flow", "Nope"]
    assert [one["key"] for one in results.values()] == [
        "t-number",
        "nope",
        "t-number",
        "checkout-flow",
        "nope",
    ]
    assert results["nope"]["reason"] == "variable_not_found"
    assert results["checkout-flow"]["evaluation_trace"].startswith("rpe_v1:")
    single = evaluate(pennon, "checkout-flow", {"id": "u1", "country": "DE"})
    assert {**results["checkout-flow"], "evaluation_trace": 0} == {**single, "evaluation_trace": 0}


def test_empty_batch(pennon: Running) -> None:
    assert ask(pennon, MANY, {"keys": []}).body == b'{"results":{}}'


def test_split_is_by_id_else_email_and_the_same_everywhere(pennon: Running) -> None:
    for user in ("a", "b", "c", "d", "e"):
        by_id = evaluate(pennon, "split", {"id": user})["variation"]
        assert by_id == evaluate(pennon, "split", {"email": user})["variation"]
        assert by_id == evaluate(pennon, "split", {"id": user, "email": "other"})["variation"]


@pytest.mark.parametrize(
    ("user", "value"),
    [
        ({}, False),
        ({"custom_data": {"plan": "pro"}}, True),
        ({"plan": "pro"}, False),
        ({"country": "DE"}, True),
        ({"custom_data": {"country": "DE"}, "country": "FR"}, False),
        ({"id": "u9"}, True),
        ({"email": "u9"}, True),
        ({"userId": "u9"}, False),
        ({"custom_data": {"userId": "u9"}}, False),
    ],
)
def test_native_flags_are_variables_too(pennon: Running, user: Any, value: bool) -> None:
    result = evaluate(pennon, "native-flag", user)
    assert (result["value"], result["variation"]) == (value, "on" if value else "off")
    assert result["feature"] == "native-flag"


def test_native_flag_that_is_off_serves_nothing(pennon: Running) -> None:
    result = evaluate(pennon, "native-off", {"id": "u"})
    assert (result["value"], result["reason"]) == (None, "targeting_disabled")


# -- governance


@pytest.mark.parametrize(
    ("key", "code"), [(SUSPENDED, "organisation_suspended"), (INACTIVE, "organisation_inactive")]
)
def test_closed_organisations_get_their_code_on_all_three(pennon: Running, key: str, code: str) -> None:
    for path, body in (
        (ONE, {}),
        (MANY, {"keys": ["plain"]}),
        (EVENTS, {"events": [event()]}),
        (EVENTS, {"events": []}),
    ):
        answer = ask(pennon, path, body, key=key)
        assert (answer.status, answer.json()["code"]) == (403, code)
        assert set(answer.json()) == {"error", "code"}


@pytest.mark.parametrize("key", [SUSPENDED, INACTIVE])
def test_validation_comes_before_governance(pennon: Running, key: str) -> None:
    assert ask(pennon, ONE, {"user": 1}, key=key).json() == {"error": '"user" must be an object.'}
    assert ask(pennon, MANY, {}, key=key).json() == {"error": '"keys" field is required.'}
    for bad, text in BAD_EVENTS:
        assert send(pennon, bad, key=key).json() == {"error": text}


def test_batch_limits_are_the_definitions_and_come_after_validation(pennon: Running) -> None:
    assert ask(pennon, MANY, {"keys": ["plain", "off"]}, key=SMALL).status == 200
    refused = ask(pennon, MANY, {"keys": ["plain", "off", "done"]}, key=SMALL)
    assert (refused.status, refused.json()["code"]) == (400, "batch_too_large")
    assert send(pennon, event(), event(), key=SMALL).status == 202
    refused = send(pennon, event(), event(), event(), key=SMALL)
    assert (refused.status, refused.json()["code"]) == (400, "events_batch_too_large")
    assert send(pennon, event(), event(), event(), event(event=""), key=SMALL).json() == {
        "error": "events[3].event is required."
    }


def test_batch_limits_without_a_definition_are_100_and_1000(pennon: Running) -> None:
    assert ask(pennon, MANY, {"keys": [f"k{n}" for n in range(100)]}).status == 200
    assert ask(pennon, MANY, {"keys": ["k"] * 101}).json()["code"] == "batch_too_large"
    assert send(pennon, *[event()] * 1000).json() == {"accepted": 1000}
    assert send(pennon, *[event()] * 1001).json()["code"] == "events_batch_too_large"


def test_rate_of_an_organisation_is_shared_by_workers_and_endpoints(pennon: Running) -> None:
    assert ask(pennon, ONE, {}, key=RATED).status == 200
    assert ask(pennon, MANY, {"keys": []}, key=RATED).status == 200
    for path, body in ((ONE, {}), (MANY, {"keys": []}), (EVENTS, {"events": [event()]})):
        refused = ask(pennon, path, body, key=RATED)
        assert (refused.status, refused.body) == (
            429,
            b'{"error":"Rate limit exceeded. Retry after a short delay.","code":"rate_limit_exceeded"}',
        )
        assert 1 <= int(refused.headers["retry-after"]) <= 100


def test_monthly_active_users_are_capped_and_known_ones_go_on(pennon: Running) -> None:
    def status(user: Any) -> Any:
        answer = ask(pennon, ONE, {"user": user}, key=CAPPED)
        return answer.json().get("code", answer.status)

    assert status({"id": "m1"}) == 200
    assert send(pennon, event(user={"id": "never-counted"}), key=CAPPED).status == 202
    assert status(None) == 200  # all anonymous traffic is one user
    assert status({"id": "m2"}) == "monthly_active_users_exceeded"
    assert ask(pennon, MANY, {"keys": [], "user": {"email": "m3"}}, key=CAPPED).status == 403
    assert status({"id": "m1", "email": "whoever"}) == 200
    assert status({}) == 200
    assert status({"country": "DE"}) == 200
    assert send(pennon, event(user={"id": "m9"}), key=CAPPED).status == 202


# -- the connection


def test_answer_is_one_segment_with_its_length_and_the_connection_stays(pennon: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", pennon.port, timeout=100)
    for _ in range(3):
        answer = pennon.ask_on(connection, "POST", ONE, {}, key=None, headers={"X-API-Key": OPEN})
        assert int(answer.headers["content-length"]) == len(answer.body)
        assert "transfer-encoding" not in answer.headers
    connection.close()


@pytest.mark.parametrize("path", [ONE, MANY])
def test_body_over_the_limit_is_413_in_this_shape(pennon: Running, path: str) -> None:
    answer = ask(pennon, path, body=b'{"user":{"id":"' + b"x" * 1024 * 1024 + b'"}}')
    assert answer.status == 413
    assert set(answer.json()) == {"error"}
