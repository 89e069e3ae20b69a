"""Feather against a real server process: docs/apis/feather.md: What must hold, and every status."""

from __future__ import annotations

import contextlib
import http.client
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import CLIENT_KEY, OTHER_KEY, Running, wait_until

BULK = "/v1/evaluate/bulk"
ONE = "/v1/evaluate"
EVENTS = "/v1/telemetry/events"


def event(**changes: Any) -> dict[str, Any]:
    return {
        "flagKey": "plain",
        "flagId": "flag_1",
        "environmentId": "env_e2e",
        "orgId": "org_e2e",
        "value": True,
        "reason": "DEFAULT",
        "sdkType": "server",
        "sdkVersion": "1.0.0",
        "evaluatedAt": "2026-02-01T10:30:00.000Z",
        **changes,
    }


def test_a_restricted_flag_under_a_client_key_equals_an_unknown_one_byte_for_byte(server: Running) -> None:
    bodies = []
    for flag in ("restricted", "restricted-off", "no-such-flag"):
        answer = server.ask("POST", ONE, {"flagKey": flag, "context": {}}, key=CLIENT_KEY)
        assert answer.status == 200
        text = answer.body.decode().replace(f'"{flag}"', '"KEY"')
        bodies.append(re.sub(r'"requestId":"[^"]+"', "", text))
    assert len(set(bodies)) == 1
    results = server.bulk("restricted", "no-such-flag", key=CLIENT_KEY)
    assert results["restricted"] == results["no-such-flag"] == {"value": None, "reason": "FLAG_NOT_FOUND"}
    assert server.value("restricted") is True


def test_out_of_the_bucket_the_next_rule_decides_with_its_own_reason(server: Running) -> None:
    second = server.bulk("falls-through", userId="u", attributes={"country": "DE"})["falls-through"]
    assert second == {"value": "b", "reason": "RULE_MATCH", "ruleId": "second"}
    third = server.bulk("falls-through", userId="u", attributes={"country": "FR"})["falls-through"]
    assert third == {"value": "c", "reason": "ROLLOUT", "ruleId": "third"}


def test_a_disabled_rule_is_skipped_and_empty_conditions_match_everyone(server: Running) -> None:
    assert server.bulk("skips-disabled")["skips-disabled"]["ruleId"] == "awake"


@pytest.mark.parametrize(
    ("attributes", "both", "either"),
    [
        ({"country": "DE", "plan": "pro"}, "matched", "matched"),
        ({"country": "DE"}, "default", "matched"),
        ({"plan": "pro"}, "default", "matched"),
        ({}, "default", "default"),
    ],
)
def test_conditions_are_joined_by_and_or_by_or(
    server: Running, attributes: dict[str, str], both: str, either: str
) -> None:
    results = server.bulk("both", "either", attributes=attributes)
    assert (results["both"]["value"], results["either"]["value"]) == (both, either)


def test_disabled_beats_every_rule_but_not_masking(server: Running) -> None:
    assert server.bulk("off")["off"] == {"value": "default", "reason": "DISABLED"}
    assert server.bulk("restricted-off", key=CLIENT_KEY)["restricted-off"]["reason"] == "FLAG_NOT_FOUND"


@pytest.mark.parametrize(("count", "status"), [(0, 422), (1, 200), (100, 200), (101, 422)])
def test_one_to_a_hundred_flags_are_answered(server: Running, count: int, status: int) -> None:
    flags = [f"flag-{number}" for number in range(count)]
    answer = server.ask("POST", BULK, {"flags": flags, "context": {}})
    assert answer.status == status
    if status == 200:
        assert list(answer.json()["results"]) == flags


@pytest.mark.parametrize(("count", "status"), [(0, 422), (1, 202), (100, 202), (101, 422)])
def test_one_to_a_hundred_events_are_accepted(server: Running, count: int, status: int) -> None:
    answer = server.ask("POST", EVENTS, {"events": [event()] * count})
    assert answer.status == status
    if status == 202:
        assert (answer.body, answer.headers["content-length"]) == (b"", "0")


def test_a_missing_context_is_422_and_an_empty_one_is_not(server: Running) -> None:
    for path, body in ((ONE, {"flagKey": "plain"}), (BULK, {"flags": ["plain"]})):
        refused = server.ask("POST", path, body)
        assert (refused.status, refused.json()["error"]["details"]["path"]) == (422, "context")
        assert server.ask("POST", path, {**body, "context": {}}).status == 200


def test_booleans_numbers_and_texts_keep_their_type_and_form(server: Running) -> None:
    body = {"flags": ["plain", "one", "ratio", "text"], "context": {}}
    text = server.ask("POST", BULK, body).body
    assert b'"plain":{"value":true,' in text
    assert b'"one":{"value":1,' in text
    assert b'"ratio":{"value":1.5,' in text
    assert b'"text":{"value":"1",' in text


def test_a_rollout_names_its_rule_and_variant(server: Running) -> None:
    results = [server.bulk("half", userId=f"user_{n}")["half"] for n in range(40)]
    assert {"value": "variant-b", "reason": "ROLLOUT", "ruleId": "rule-1", "variant": "b"} in results
    assert {"value": "default", "reason": "DEFAULT"} in results


def test_a_regular_expression_is_answered_through_the_server(server: Running) -> None:
    assert server.value("pattern", attributes={"email": "someone@example.com"}) is True
    assert server.value("pattern", attributes={"email": "Someone@example.com"}) is False


def test_the_age_of_the_cache_is_whole_seconds_and_small_while_the_store_is_healthy(server: Running) -> None:
    ages = {
        server.ask("POST", BULK, {"flags": ["plain"], "context": {}}).json()["meta"]["cacheAge"]
        for _ in range(20)
    }
    assert all(isinstance(age, int) and 0 <= age <= 30 for age in ages)


def test_the_time_of_evaluation_is_now_in_utc_with_milliseconds(server: Running) -> None:
    meta = server.ask("POST", BULK, {"flags": ["plain"], "context": {}}).json()["meta"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", meta["evaluatedAt"])
    assert meta["evaluatedAt"][:10] in {
        time.strftime("%Y-%m-%d", time.gmtime(time.time() + shift)) for shift in (-5, 0)
    }
    assert meta["environmentId"] == "env_e2e"


@pytest.mark.parametrize("path", ["/v1/sdk/context", "/feather/v1/sdk/context"])
def test_the_sdk_context_names_the_key_s_ids(server: Running, path: str) -> None:
    assert server.ask("GET", path).json() == {"orgId": "org_e2e", "environmentId": "env_e2e"}


@pytest.mark.parametrize(
    ("method", "path", "key", "body", "status", "code"),
    [
        ("POST", BULK, None, b"{}", 401, "UNAUTHORIZED"),
        ("POST", BULK, "sk_unknown", b"{}", 401, "INVALID_API_KEY"),
        ("POST", EVENTS, "sk_unknown", b"{}", 401, "INVALID_API_KEY"),
        ("POST", BULK, "sk_e2e_server", b"{", 400, "INVALID_JSON"),
        ("POST", ONE, "sk_e2e_server", b"[]", 422, "VALIDATION_ERROR"),
        ("POST", EVENTS, "sk_e2e_server", b"", 400, "INVALID_JSON"),
        ("POST", "/v1/nothing", "sk_e2e_server", b"{}", 404, "RESOURCE_NOT_FOUND"),
        ("GET", BULK, "sk_e2e_server", None, 405, "METHOD_NOT_ALLOWED"),
        ("PUT", EVENTS, None, b"{}", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/v1/sdk/context", None, b"{}", 405, "METHOD_NOT_ALLOWED"),
        ("POST", BULK, "sk_e2e_server", b" " * (2**20 + 1), 413, "PAYLOAD_TOO_LARGE"),
    ],
)
def test_every_error_has_its_status_and_the_envelope(
    server: Running, method: str, path: str, key: str | None, body: bytes | None, status: int, code: str
) -> None:
    answer = server.ask(method, path, body=body, key=key)
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


def test_a_preflight_is_answered_without_a_key(server: Running) -> None:
    answer = server.ask("OPTIONS", BULK, key=None, headers={"Origin": "https://shop.example"})
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "authorization" in answer.headers["access-control-allow-headers"]


def test_another_environment_s_key_sees_only_its_own(server: Running) -> None:
    assert server.value("plain", key=OTHER_KEY) is False
    assert server.value("half", key=OTHER_KEY) is None
    context = server.ask("GET", "/v1/sdk/context", key=OTHER_KEY).json()
    assert context == {"orgId": "org_other", "environmentId": "env_other"}


def test_operations_answer_on_the_loopback_address(server: Running) -> None:
    assert server.ask("GET", "/healthz", key=None).json() == {"status": "ok"}
    for path in ("/readyz", "/metrics"):
        assert server.ask("GET", path, key=None).status == 404
    ready = server.operations("/readyz").json()
    assert (ready["ready"], ready["reasons"], ready["notes"]) == (True, [], [])
    assert sorted(worker["pid"] for worker in ready["workers"]) == sorted(server.workers())
    assert [worker["worker"] for worker in ready["workers"]] == [0, 1]


def test_metrics_are_told_to_nobody_who_asks_under_another_name(
    serve: Callable[..., Running], data: Path
) -> None:
    running = serve(
        "--workers", "1", data=data, environment={"FANION_SERVER_OPERATIONS_NAMES": "fanion.internal"}
    )

    def status(path: str, host: str) -> int:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", running.operations_port)
        ) as connection:
            connection.request("GET", path, headers={"Host": host})
            return connection.getresponse().status

    wait_until(lambda: status("/readyz", "page.example") == 200)
    assert [status("/metrics", host) for host in ("page.example", "fanion.internal", "10.0.0.7:8081")] == [
        *(403, 200, 200)
    ]


def test_metrics_are_counted_over_all_workers(server: Running) -> None:
    def count() -> int:
        text = server.operations("/metrics").body.decode()
        line = re.search(
            r'^fanion_http_responses_total\{.*"sdk_context".*"200".*\} (\d+)$', text, re.MULTILINE
        )
        return int(line.group(1)) if line else 0

    before = count()
    for _ in range(40):
        server.ask("GET", "/v1/sdk/context")
    assert count() == before + 40


def test_no_log_line_holds_a_key_or_an_attribute(server: Running, shared_data: Path) -> None:
    server.bulk("plain", userId="someone-secret", attributes={"email": "secret@example.com"})
    server.ask("GET", "/v1/sdk/context", key="sk_guess_secret")
    text = shared_data.with_name("log").read_text()
    assert "sk_e2e" not in text
    assert "secret" not in text
