"""Feather's endpoints over stand-ins: every status and body of docs/apis/feather.md, so it is long."""

from __future__ import annotations

import re

import msgspec
import pytest

from fanion.config import Config, Journal
from fanion.dialects.feather.settings import FeatherSettings
from fanion.errors import JournalError, JournalFullError, StoreError
from fanion.telemetry.logs import JsonLine
from tests.unit.http_standins import CLIENT_KEY, Caller, make_services

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
BULK = "/v1/evaluate/bulk"
EVENTS = "/v1/telemetry/events"


def encode(document: object) -> bytes:
    return msgspec.json.encode(document)


def event(**changes: object) -> dict[str, object]:
    base: dict[str, object] = {
        "flagKey": "open",
        "flagId": "flag_1",
        "environmentId": "env_01hx",
        "orgId": "org_01hx",
        "value": True,
        "reason": "DEFAULT",
        "sdkType": "server",
        "sdkVersion": "1.0.0",
        "evaluatedAt": "2026-02-01T10:30:00.000Z",
    }
    return {name: value for name, value in {**base, **changes}.items() if value is not ...}


def batch(*events: dict[str, object]) -> bytes:
    return encode({"events": list(events)})


def test_one_flag_is_answered_with_its_key_and_a_request_id() -> None:
    answer = Caller().call("POST", "/v1/evaluate", encode({"flagKey": "hidden", "context": {}}))
    assert answer.status == 200
    document = answer.json()
    assert UUID4.fullmatch(document.pop("requestId"))
    assert document == {
        "flagKey": "hidden",
        "value": "x",
        "reason": "RULE_MATCH",
        "ruleId": "r1",
        "variant": "b",
    }
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


def test_bulk_answers_in_request_order_with_meta() -> None:
    body = encode({"flags": ["none", "open", "hidden", "open"], "context": {"userId": "u"}})
    answer = Caller().call("POST", BULK, body)
    document = answer.json()
    assert list(document["results"]) == ["none", "open", "hidden"]
    assert document["results"]["none"] == {"value": None, "reason": "FLAG_NOT_FOUND"}
    meta = document["meta"]
    assert meta["environmentId"] == "env_01hx"
    assert meta["cacheAge"] == 0
    assert TIME.fullmatch(meta["evaluatedAt"])
    assert UUID4.fullmatch(meta["requestId"])


def test_the_prefix_of_the_dialect_serves_the_same_paths() -> None:
    answer = Caller().call("POST", "/feather/v1/evaluate/bulk", encode({"flags": ["open"], "context": {}}))
    assert answer.status == 200


def test_a_client_key_sees_a_restricted_flag_as_an_unknown_one() -> None:
    body = encode({"flags": ["hidden", "none"], "context": {}})
    results = Caller().call("POST", BULK, body, key=CLIENT_KEY).json()["results"]
    assert results["hidden"] == results["none"]


def test_identities_are_members_and_the_rest_attributes() -> None:
    caller = Caller()
    context = {"userId": "u", "anonymousId": "a", "attributes": {"n": 1, "f": 1.5, "b": True, "s": "x"}}
    caller.call("POST", BULK, encode({"flags": ["open"], "context": context}))
    bundle = caller.parts.snapshots.snapshot.views["production"].bound["feather"].bundle
    assert bundle.asked == [({"userId": "u", "anonymousId": "a"}, {"n": 1, "f": 1.5, "b": True, "s": "x"})]


@pytest.mark.parametrize("path", [BULK, "/v1/evaluate", EVENTS])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b'{"flags":["\xff"]', b"\xef\xbb\xbf{", b"{} {}", b'{"a":NaN}', b"[1,]"]
)
def test_what_is_not_json_is_400(path: str, body: bytes) -> None:
    answer = Caller().call("POST", path, body)
    assert (answer.status, answer.json()["error"]["code"]) == (400, "INVALID_JSON")


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], ""),
        ({}, "flags"),
        ({"flags": ["a"]}, "context"),
        ({"flags": [], "context": {}}, "flags"),
        ({"flags": ["a"] * 101, "context": {}}, "flags"),
        ({"flags": "a", "context": {}}, "flags"),
        ({"flags": ["a", 1], "context": {}}, "flags[1]"),
        ({"flags": ["a"], "context": []}, "context"),
        ({"flags": ["a"], "context": {"userId": 5}}, "context.userId"),
        ({"flags": ["a"], "context": {"attributes": {"x": None}}}, "context.attributes.x"),
        ({"flags": ["a"], "context": {"attributes": {"ok": 1, "y": [1]}}}, "context.attributes.y"),
        ({"flags": ["a"], "context": {"attributes": {"z": {}}}}, "context.attributes.z"),
    ],
)
def test_a_wrong_shape_is_422_with_its_path(document: object, path: str) -> None:
    answer = Caller().call("POST", BULK, encode(document))
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["details"]["path"]) == (422, "VALIDATION_ERROR", path)


@pytest.mark.parametrize(
    ("path", "document", "message"),
    [
        ("/v1/evaluate", {"flagKey": 1, "context": {}}, "flagKey: Expected a string, got an integer."),
        (BULK, {"flags": [], "context": {}}, "flags: Expected an array of length >= 1."),
        (
            EVENTS,
            {"events": [event(value=None)]},
            "events[0].value: Expected a string, a number or a boolean, got null.",
        ),
        (
            EVENTS,
            {"events": [event(sdkType="x")]},
            "events[0].sdkType: Expected one of server, client, edge.",
        ),
    ],
)
def test_a_message_says_what_is_allowed_in_the_words_of_json(
    path: str, document: object, message: str
) -> None:
    assert Caller().call("POST", path, encode(document)).json()["error"]["message"] == message


def test_a_wrong_type_before_broken_json_is_400() -> None:
    assert Caller().call("POST", BULK, b'{"flags":5,"context":').status == 400


def test_unknown_members_are_ignored_everywhere() -> None:
    document = {"flags": ["open"], "more": {"deep": [1, {}]}, "context": {"userId": "u", "plan": None}}
    assert Caller().call("POST", BULK, encode(document)).status == 200
    assert Caller().call("POST", EVENTS, batch(event(extra=[None]))).status == 202


def test_one_hundred_flags_are_answered_and_repetitions_collapse() -> None:
    answer = Caller().call("POST", BULK, encode({"flags": ["open"] * 100, "context": {}}))
    assert (answer.status, len(answer.json()["results"])) == (200, 1)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "UNAUTHORIZED"),
        ({"authorization": "Basic sk_demo_server"}, "UNAUTHORIZED"),
        ({"authorization": "Bearer"}, "UNAUTHORIZED"),
        ({"authorization": "Bearer   "}, "UNAUTHORIZED"),
        ({"authorization": "Bearer sk_unknown"}, "INVALID_API_KEY"),
        ({"authorization": "Bearer sk_traffical"}, "INVALID_API_KEY"),
    ],
)
def test_credentials_that_open_nothing_are_401(headers: dict[str, str], code: str) -> None:
    body = encode({"flags": ["open"], "context": {}})
    answer = Caller().call("POST", BULK, body, headers, key=None)
    assert (answer.status, answer.json()["error"]["code"]) == (401, code)


def test_the_scheme_is_case_insensitive() -> None:
    answer = Caller().call(
        "GET", "/v1/sdk/context", headers={"authorization": "bearer sk_demo_server"}, key=None
    )
    assert answer.json() == {"orgId": "org_01hx", "environmentId": "env_01hx"}


def test_a_key_without_the_scope_is_403() -> None:
    body = encode({"flags": ["open"], "context": {}})
    assert Caller().call("POST", BULK, body, key=b"sk_events").status == 403
    assert Caller().call("POST", EVENTS, batch(event()), key=b"sk_events").status == 202


def test_unknown_keys_are_401_however_many_come() -> None:
    caller = Caller()
    caller.parts.limiter.wait_s = 2.5
    answer = caller.call("GET", "/v1/sdk/context", key=b"sk_guess")
    assert (answer.status, answer.json()["error"]["code"]) == (401, "INVALID_API_KEY")
    assert "retry-after" not in answer.headers
    assert caller.call("GET", "/v1/sdk/context").status == 200


def test_a_limited_key_is_429_with_retry_after() -> None:
    config = Config(own=(FeatherSettings(feather_rate_per_s=1.0),))
    caller = Caller(make_services(config))
    caller.parts.limiter.wait_s = 0.2
    answer = caller.call("POST", BULK, b"not even read")
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    assert answer.json()["error"]["code"] == "RATE_LIMITED"


def test_without_a_bundle_every_requested_flag_is_an_error() -> None:
    body = encode({"flags": ["b", "a", "b"], "context": {}})
    answer = Caller().call("POST", BULK, body, key=b"sk_other")
    document = answer.json()
    assert answer.status == 503
    assert list(document["results"]) == ["b", "a"]
    assert document["results"]["a"] == {"value": None, "reason": "ERROR"}
    assert document["meta"]["cacheAge"] == 0
    one = Caller().call("POST", "/v1/evaluate", encode({"flagKey": "f", "context": {}}), key=b"sk_other")
    assert (one.status, one.json()["value"], one.json()["reason"]) == (503, None, "ERROR")
    assert one.json()["flagKey"] == "f"


def test_a_store_that_cannot_be_read_is_overload_and_never_401() -> None:
    caller = Caller()
    caller.parts.snapshots.error = StoreError("store: input/output error")
    answer = caller.call("GET", "/v1/sdk/context")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_other_methods_are_405_with_allow_before_auth() -> None:
    answer = Caller().call("GET", BULK, key=None)
    assert (answer.status, answer.headers["allow"]) == (405, "POST, OPTIONS")
    assert answer.json()["error"]["code"] == "METHOD_NOT_ALLOWED"


def test_unknown_paths_are_404_in_the_envelope() -> None:
    for path in ("/", "/v1", "/v1/evaluate/", "/v1/Evaluate", "/v1/evaluate%2Fbulk", "///v1/evaluate"):
        answer = Caller().call("POST", path)
        assert (answer.status, answer.json()["error"]["code"]) == (404, "RESOURCE_NOT_FOUND"), path


def test_a_preflight_is_204_without_auth_and_answers_may_be_read_by_scripts() -> None:
    preflight = Caller().call("OPTIONS", BULK, key=None)
    assert (preflight.status, preflight.body) == (204, b"")
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert preflight.headers["access-control-allow-headers"] == "authorization, content-type"
    assert preflight.headers["access-control-allow-methods"] == "POST"
    refused = Caller().call("POST", BULK, b"{")
    assert refused.headers["access-control-allow-origin"] == "*"


def test_a_batch_of_one_and_of_a_hundred_is_kept_as_received() -> None:
    for count in (1, 100):
        caller = Caller()
        body = batch(*[event()] * count)
        answer = caller.call("POST", EVENTS, body)
        assert (answer.status, answer.body, answer.headers["content-length"]) == (202, b"", "0")
        (record,) = caller.parts.journal.records
        assert (record["body"], record["whole"]) == (body, True)
        assert (record["dialect"], record["environment"]) == ("feather", "production")


@pytest.mark.parametrize("count", [0, 101])
def test_a_batch_of_none_or_too_many_is_422(count: int) -> None:
    caller = Caller()
    assert caller.call("POST", EVENTS, batch(*[event()] * count)).status == 422
    assert caller.parts.journal.records == []


def test_events_of_another_organisation_are_left_out_byte_for_byte() -> None:
    caller = Caller()
    own = b'{ "orgId":"org_01hx", "value": 1.50, ' + encode(event(orgId=..., value=...))[1:]
    body = b'{"events":[' + encode(event(orgId="org_2")) + b", " + own + b" ]}"
    assert caller.call("POST", EVENTS, body).status == 202
    (record,) = caller.parts.journal.records
    assert (record["body"], record["whole"]) == (b"[" + own + b"]", False)


@pytest.mark.parametrize("number", [b"1e999", b"-1E+999"])
def test_a_number_beyond_a_double_is_400_wherever_it_stands(number: bytes) -> None:
    caller = Caller()
    good = encode(event())
    bad = b'{"more":{"deep":[%b]},' % number + good[1:]
    for body in (b'{"events":[%b,%b]}' % (good, bad), b'{"x":%b,"events":[%b]}' % (number, good)):
        answer = caller.call("POST", EVENTS, body)
        assert (answer.status, answer.json()["error"]["code"]) == (400, "INVALID_JSON")
    assert caller.parts.journal.records == []


def test_a_batch_of_foreign_events_only_writes_nothing() -> None:
    caller = Caller()
    assert caller.call("POST", EVENTS, batch(event(orgId="org_2"))).status == 202
    assert caller.parts.journal.records == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"value": None}, "value"),
        ({"value": [1]}, "value"),
        ({"value": ...}, "value"),
        ({"reason": "BECAUSE"}, "reason"),
        ({"sdkType": "toaster"}, "sdkType"),
        ({"evaluatedAt": "yesterday"}, "evaluatedAt"),
        ({"evaluatedAt": 5}, "evaluatedAt"),
        ({"flagKey": ...}, "flagKey"),
        ({"ruleId": None}, "ruleId"),
    ],
)
def test_one_bad_event_refuses_the_batch_and_names_its_place(changes: dict[str, object], field: str) -> None:
    caller = Caller()
    answer = caller.call("POST", EVENTS, batch(event(), event(), event(**changes)))
    error = answer.json()["error"]
    assert (answer.status, error["details"]["path"]) == (422, f"events[2].{field}")
    assert caller.parts.journal.records == []


def test_an_error_does_not_send_a_long_text_back() -> None:
    answer = Caller().call("POST", EVENTS, batch(event(reason="x" * 60_000)))
    assert (answer.status, len(answer.body) < 1_000) == (422, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": "CLIENT_RESTRICTED"},
        {"reason": "RULE_MATCH"},
        {"environmentId": "env_other"},
        {"evaluatedAt": "2026-02-01T10:30:00"},
        {"evaluatedAt": "2026-02-01T10:30:00+02:00"},
        {"value": 0},
        {"value": ""},
        {"userIdHash": "ab", "anonymousIdHash": "cd", "ruleId": "r"},
    ],
)
def test_events_that_the_contract_accepts_are_kept(changes: dict[str, object]) -> None:
    assert Caller().call("POST", EVENTS, batch(event(**changes))).status == 202


@pytest.mark.parametrize(("full", "synced"), [(JournalFullError("ring"), None), (None, JournalError("EIO"))])
def test_what_was_not_kept_is_503_buffer_full(full: Exception | None, synced: Exception | None) -> None:
    caller = Caller()
    caller.parts.journal.full, caller.parts.journal.sync_error = full, synced
    answer = caller.call("POST", EVENTS, batch(event()))
    assert (answer.status, answer.json()["error"]["code"]) == (503, "BUFFER_FULL")
    assert answer.headers["retry-after"] == "1"


def test_ack_buffered_does_not_wait_for_the_disk() -> None:
    caller = Caller(make_services(msgspec.structs.replace(Config(), journal=Journal(ack="buffered"))))
    caller.parts.journal.sync_error = JournalError("EIO")
    assert caller.call("POST", EVENTS, batch(event())).status == 202


def test_a_key_revoked_while_its_body_arrives_opens_nothing() -> None:
    caller = Caller()
    revoked = type(caller.parts.snapshots.snapshot)(number=2)
    del revoked.keys[b"sk_demo_server"]

    def publish() -> None:
        caller.parts.snapshots.snapshot = revoked

    body = encode({"flags": ["open"], "context": {}})
    answer = caller.call("POST", BULK, [body[:5], body[5:]], before_end=publish)
    assert (answer.status, answer.json()["error"]["code"]) == (401, "INVALID_API_KEY")


def test_an_exception_is_500_in_the_envelope_and_leaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caller = Caller()
    served = caller.parts.snapshots.snapshot.views["production"].bound["feather"]

    def fail(*_: object) -> bytes:
        raise KeyError("secret")

    served.bundle.put_map = fail
    answer = caller.call("POST", BULK, encode({"flags": ["open"], "context": {"userId": "someone"}}))
    assert (answer.status, answer.json()["error"]["code"]) == (500, "INTERNAL_ERROR")
    assert b"secret" not in answer.body
    (record,) = caplog.records
    logged = JsonLine().format(record)
    assert "KeyError" in logged
    assert "test_http_feather.py" in logged
    assert not any(text in logged for text in ("sk_demo_server", "someone", "secret"))


def test_every_answer_is_counted_by_endpoint_and_status() -> None:
    caller = Caller()
    caller.call("POST", BULK, encode({"flags": ["open"], "context": {}}))
    caller.call("POST", BULK, b"{")
    caller.call("POST", "/v1/nothing")
    caller.call("DELETE", BULK)
    caller.call("OPTIONS", BULK)
    assert caller.parts.counters.seen[2:] == [
        ("feather", "none", 404),
        ("feather", "none", 405),
        ("feather", "none", 204),
    ]
    assert caller.parts.counters.seen[:2] == [
        ("feather", "evaluate_bulk", 200),
        ("feather", "evaluate_bulk", 400),
    ]
