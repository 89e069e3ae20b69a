"""stitchd's events, and what is refused on every route, against a real server process (docs/apis/stitchd.md)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from fanion import app
from tests.e2e.server import Answer, Running, start
from tests.e2e.stitchd.asking import EVENT, GOOD, PAIR, ROUTES, kept, refused
from tests.e2e.stitchd_world import (
    EVENTS_KEY,
    FEATHER_KEY,
    KEY,
    OTHER_ENVIRONMENT,
    OTHER_KEY,
    UNSERVED_ENVIRONMENT,
    UNSERVED_KEY,
    ask,
    evaluate,
    publish_world,
)
from tests.unit.stitchd_worlds import ENVIRONMENT

# -- events


def count(answer: Answer) -> tuple[int, list[str]]:
    assert answer.status == 202, answer
    document = answer.json()
    assert set(document) == {"accepted_count", "rejected_keys"}
    return document["accepted_count"], document["rejected_keys"]


@pytest.mark.parametrize(
    ("metric", "value", "accepted"),
    [
        ("button_click", "true", True),
        ("button_click", "1", False),
        ("button_click", "null", False),
        ("button_click", None, False),
        ("page_view", None, True),
        ("page_view", "null", True),
        ("page_view", "1", True),
        ("page_view", "1.0", False),
        ("page_view", '"x"', False),
        ("purchase", "49.99", True),
        ("purchase", "1e3", True),
        ("purchase", "-1E-3", True),
        ("purchase", "50", False),
        ("purchase", "9223372036854775808", True),
        ("purchase", '"49.99"', False),
        ("purchase", "[1.5]", False),
        ("purchase", '{"double":1.5}', False),
        ("items", "9223372036854775807", True),
        ("items", "-9223372036854775808", True),
        ("items", "9223372036854775808", False),
        ("items", "1.0", False),
        ("items", "true", False),
        ("unknown", "1", False),
        ("", "1", False),
    ],
)
def test_event_is_counted_or_its_key_reported(
    server: Running, metric: str, value: str | None, accepted: bool
) -> None:
    rest = "" if value is None else f',"value": {value}'
    event = f'{{"metric_key":"{metric}","context_type":"user","context_key":"u1","colour":"red"{rest}}}'
    expected = (1, []) if accepted else (0, [metric])
    assert count(ask(server, "/events", body=event.encode())) == expected
    assert count(ask(server, "/events/batch", body=f'{{"events":[{event}]}}'.encode())) == expected


def test_batch_reports_every_rejected_event_in_order_and_keeps_the_others(
    server: Running, data: Path
) -> None:
    def event(metric: str, n: int, **members: Any) -> dict[str, Any]:
        return {"metric_key": metric, "context_type": "user", "context_key": f"batch-{n}", **members}

    events = [
        event("button_click", 0, value=False, timestamp_ms=1),
        event("nothing", 1, value=1),
        event("purchase", 2, value=2.5),
        event("purchase", 3, value=2),
        event("nothing", 4),
        event("page_view", 5),
    ]
    answer = ask(server, "/events/batch", {"events": events})
    assert count(answer) == (3, ["nothing", "purchase", "nothing"])
    found = [one for one in kept(data) if one["context_key"].startswith("batch-")]
    assert found == [events[0], events[2], events[5]]


def test_batch_with_nothing_left_writes_nothing(server: Running, data: Path) -> None:
    before = len(kept(data))
    assert count(ask(server, "/events/batch", {"events": []})) == (0, [])
    bad = EVENT | {"metric_key": "nothing"}
    assert count(ask(server, "/events/batch", {"events": [bad, bad]})) == (0, ["nothing", "nothing"])
    assert count(ask(server, "/events", bad)) == (0, ["nothing"])
    assert len(kept(data)) == before


def test_event_with_a_member_called_events_is_one_event(server: Running, data: Path) -> None:
    event = EVENT | {"context_key": "strange", "events": [1, 2]}
    assert count(ask(server, "/events", event)) == (1, [])
    assert [one for one in kept(data) if one["context_key"] == "strange"] == [event]


def test_full_batch_of_tiny_events_is_taken(server: Running) -> None:
    event = b'{"metric_key":"page_view","context_type":"user","context_key":"u","extra":1,"value":"bad"}'
    answer = ask(server, "/events/batch", body=b'{"events":[%b]}' % b",".join([event] * 20_000))
    assert count(answer)[0] == 0


def test_compressed_batch_is_read(server: Running) -> None:
    body = gzip.compress(json.dumps({"events": [EVENT] * 50}).encode())
    assert count(ask(server, "/events/batch", body=body, headers={"content-encoding": "gzip"})) == (50, [])


@pytest.mark.parametrize(
    "change",
    [
        {"metric_key": 5},
        {"context_type": None},
        {"context_key": ...},
        {"timestamp_ms": "now"},
        {"timestamp_ms": 1.5},
        {"timestamp_ms": 2**63},
    ],
)
def test_event_with_a_field_missing_or_mistyped_refuses_the_request(server: Running, change: Any) -> None:
    event = {name: value for name, value in (EVENT | change).items() if value is not ...}
    for rest, document in (("/events", event), ("/events/batch", {"events": [EVENT, event]})):
        text = refused(ask(server, rest, document), 400, "INVALID_ARGUMENT")
        assert next(iter(change)) in text


# -- what is refused on every route


@pytest.mark.parametrize("rest", ROUTES)
def test_good_request_of_every_route(server: Running, rest: str) -> None:
    status = 202 if rest.startswith("/events") else 200
    for prefix in ("", "/stitchd"):
        assert ask(server, rest, GOOD[rest], prefix=prefix).status == status
    extended = GOOD[rest] | {"unknown": {"a": [1]}} if isinstance(GOOD[rest], dict) else GOOD[rest]
    assert ask(server, rest, extended, headers={"content-type": "text/plain"}).status == status


@pytest.mark.parametrize("rest", ROUTES)
def test_credentials_of_every_route(server: Running, rest: str) -> None:
    good = GOOD[rest]
    for key in (None, ""):
        text = refused(ask(server, rest, good, key=key), 401, "UNAUTHENTICATED")
        assert text == "missing x-sdk-key header"
    bearer = {"authorization": f"Bearer {KEY}"}
    refused(ask(server, rest, good, key=None, prefix="/stitchd", headers=bearer), 401, "UNAUTHENTICATED")
    assert ask(server, rest, good, headers={"authorization": "Bearer nonsense"}).status in (200, 202)
    for key in ("sdk_live_unknown_key", FEATHER_KEY, OTHER_KEY):
        text = refused(ask(server, rest, good, key=key), 401, "UNAUTHENTICATED")
        assert text == "sdk key not found"
    answer = ask(server, rest, good, key=UNSERVED_KEY, environment=UNSERVED_ENVIRONMENT)
    refused(answer, 401, "UNAUTHENTICATED")
    answer = ask(server, rest, good, environment=OTHER_ENVIRONMENT)
    assert refused(answer, 401, "UNAUTHENTICATED") == "sdk key not found"


@pytest.mark.parametrize("rest", ROUTES)
def test_environment_id_that_is_no_uuid(server: Running, rest: str) -> None:
    for id in ("nonsense", "env_one", ENVIRONMENT[:-1], "%ff" * 12):
        text = refused(ask(server, rest, GOOD[rest], environment=id), 400, "INVALID_ARGUMENT")
        assert text.startswith("invalid environment_id: ")


@pytest.mark.parametrize("rest", ROUTES)
@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"{", b'"', b"\xff", b"{}", b"null", b"true", b"[5]", b'{"flag_key":"x"}', b"[" * 100],
)
def test_body_of_another_shape(server: Running, rest: str, body: bytes) -> None:
    refused(ask(server, rest, body=body), 400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("rest", ROUTES)
def test_unknown_members_may_not_nest_without_end(server: Running, rest: str) -> None:
    good = json.dumps(GOOD[rest] if isinstance(GOOD[rest], dict) else GOOD[rest][0])
    for depth, status in ((30, (200, 202)), (100, (400,)), (5000, (400,))):
        body = good[:-1] + ',"unknown":' + "[" * depth + "]" * depth + "}"
        if isinstance(GOOD[rest], list):
            body = f"[{body}]"
        answer = ask(server, rest, body=body.encode())
        assert answer.status in status
        if status == (400,):
            refused(answer, 400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("rest", ROUTES)
def test_invalid_text_anywhere_is_refused(server: Running, rest: str) -> None:
    good = json.dumps(GOOD[rest] if isinstance(GOOD[rest], dict) else GOOD[rest][0]).encode()
    body = good[:-1] + b',"unknown":"\xff"}'
    refused(
        ask(server, rest, body=body if isinstance(GOOD[rest], dict) else b"[%b]" % body),
        400,
        "INVALID_ARGUMENT",
    )


@pytest.mark.parametrize("rest", ROUTES)
def test_method_path_and_encoding(server: Running, rest: str) -> None:
    answer = ask(server, rest, method="GET")
    refused(answer, 405, "INVALID_ARGUMENT")
    assert answer.headers["allow"] == "POST"
    refused(ask(server, rest + "/more", GOOD[rest]), 404, "NOT_FOUND")
    answer = ask(server, rest, GOOD[rest], headers={"content-encoding": "br"})
    refused(answer, 415, "INVALID_ARGUMENT")
    answer = ask(server, rest, GOOD[rest], headers={"content-encoding": "gzip"})
    refused(answer, 400, "INVALID_ARGUMENT")


# Each takes the two seconds for which a body is waited for that is refused already.
@pytest.mark.parametrize(
    "rest", [ROUTES[0], *(pytest.param(rest, marks=pytest.mark.heavy) for rest in ROUTES[1:])]
)
def test_size(server: Running, rest: str) -> None:
    size = 5 * 1024 * 1024 + 1
    head = f"POST /v1/environments/{ENVIRONMENT}{rest} HTTP/1.1\r\nHost: x\r\nx-sdk-key: {KEY}\r\n"
    found = b""
    with server.connect() as connection:
        connection.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode())
        while not found.endswith(b"}") and (piece := connection.recv(65_536)):
            found += piece
    assert found.startswith(b"HTTP/1.1 413 ")
    assert found.endswith(b'"code":"INVALID_ARGUMENT"}')


def test_unknown_flag(server: Running) -> None:
    for name in ("nothing", "", "elsewhere", "x" * 5000):
        refused(evaluate(server, name), 404, "NOT_FOUND")


def test_key_with_scopes_opens_what_they_name(server: Running) -> None:
    assert ask(server, "/events", EVENT, key=EVENTS_KEY).status == 202
    refused(ask(server, "/evaluate", GOOD["/evaluate"], key=EVENTS_KEY), 403, "PERMISSION_DENIED")


def test_guessing_keys_never_gets_429(data: Path, tmp_path: Path) -> None:
    limited = {"FANION_LIMITER_BAD_KEYS_PER_MINUTE": "2"}
    own = tmp_path / "data"
    publish_world(own)
    server = start(tmp_path / "log", "--workers", "1", data=own, environment=limited)
    try:
        for _ in range(8):
            refused(
                ask(server, "/evaluate", GOOD["/evaluate"], key="sdk_live_guessed"), 401, "UNAUTHENTICATED"
            )
        assert ask(server, "/evaluate", GOOD["/evaluate"]).status == 200
    finally:
        server.stop()


def test_demo_world_answers_the_example_requests(tmp_path: Path) -> None:
    assert any("x-sdk-key: sdk_live_demo" in line for line in app.demo_notes())
    server = start(tmp_path / "log", "--demo", "--workers", "1")
    environment = "5b1f6a52-0000-4000-8000-000000000001"
    here: dict[str, Any] = {"key": "sdk_live_demo", "environment": environment}
    try:
        request = {"flag_key": "my-flag", "context_type": "user", "context_key": "user-123"}
        assert ask(server, "/evaluate", request, **here).json()["variant_key"] == "treatment"
        assert ask(server, "/segments/list-check", PAIR, **here).json() == {"is_member": True}
        assert count(ask(server, "/events", EVENT, **here)) == (1, [])
        views = [EVENT, {k: v for k, v in EVENT.items() if k != "value"} | {"metric_key": "page_view"}]
        buy = EVENT | {"metric_key": "purchase", "value": 49.99}
        assert count(ask(server, "/events/batch", {"events": [*views, buy]}, **here)) == (3, [])
    finally:
        assert server.stop() == 0
