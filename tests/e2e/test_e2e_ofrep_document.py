"""Every operation with every status against the protocol's own OpenAPI document, from a real server.

A row is a request and the status that it has to have. At the end each status of the document has been answered, but
500, which nothing may.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.e2e.ofrep_streams import CLIENT as STREAM_CLIENT
from tests.e2e.ofrep_streams import address, write_world
from tests.e2e.server import Answer, Running, publish, start
from tests.unit.ofrep_schema import (
    BULK,
    SINGLE,
    check_answer,
    check_message,
    check_own_error,
    check_request,
    statuses,
)
from tests.unit.ofrep_world import CLIENT, FLAGS, FOLDER, SERVER

PERSON = {"context": {"targetingKey": "user-1", "plan": "pro", "country": "DE"}}
RATED, SUSPENDED, LAPSED = "document_rated", "document_suspended", "document_lapsed"


class Row(NamedTuple):
    """A request. `flag`: as it stands in the URL; None: all flags. `document`: a body that the protocol allows;
    `body`: any other."""

    status: int
    flag: str | None = None
    document: dict[str, Any] | None = None
    body: bytes | None = None
    key: str | None = SERVER
    headers: dict[str, str] = {}  # noqa: RUF012
    method: str = "POST"
    query: str = ""
    code: str | None = None


def of_both(status: int, **members: Any) -> list[Row]:
    """The same request for one flag and for all."""
    members.setdefault("document", None if "body" in members else PERSON)
    return [Row(status, flag, **members) for flag in (None, "plain")]


ANSWERED = [
    *of_both(200),
    *of_both(200, key=CLIENT),
    *of_both(200, key=None, headers={"X-API-Key": SERVER}),
    *of_both(200, key=None, headers={"x-api-key": SERVER, "authorization": "Basic of-a-proxy"}),
    *of_both(200, headers={"content-type": "application/json; charset=utf-8", "accept": "*/*"}),
    *of_both(200, headers={"content-type": "text/plain", "traceparent": "00-0af7651916cd43dd-b7-01"}),
    *of_both(200, document={"context": {"targetingKey": ""}}),
    *of_both(200, document={"context": {}}),
    *of_both(200, document={}),
    *of_both(200, body=b""),
    *of_both(200, document={"context": {"targetingKey": "user-1", "deep": {"e": [1, 2.5, None, {"a": "\u00e4"}]}}}),
    *of_both(200, document={"context": {"targetingKey": "user-1"}, "more": "members"}),
    *(
        Row(200, flag, PERSON)
        for flag in (
            "half", "off", "count", "price", "settings", "colours", "long", "blank", "in-beta", "checkout-flow",
            "feather:shared", "redpennon:shared", "r-flow", "r-limit", "r-gone", "t.colour", "t.size", "t.what%3F",
            "s-org", "s-off", "s-double", "checkout%2Dflow",
        )
    ),
    Row(200, None, {"context": {"targetingKey": "a", "fanion": {"flags": ["plain", "shared", "nothing"]}}}),
    Row(200, None, PERSON, query="?flagConfigEtag=550e8400&flagConfigLastModified=1771622898"),
    Row(200, None, PERSON, query="?flagConfigLastModified=2026-02-20T22:08:18Z"),
    Row(200, None, PERSON, headers={"if-none-match": '"another"'}),
    Row(304, None, PERSON, headers={"if-none-match": "*"}),
]  # fmt: skip
REFUSED = [
    *of_both(400, body=b"{", code="PARSE_ERROR"),
    *of_both(400, body=b"\xff", code="PARSE_ERROR"),
    *of_both(400, body=b'{"context":{"a":NaN}}', code="PARSE_ERROR"),
    *of_both(400, body=b'{"context":' + b"[" * 200 + b"]" * 200 + b"}", code="PARSE_ERROR"),
    *of_both(400, body=b"[]", code="INVALID_CONTEXT"),
    *of_both(400, body=b'{"context":"user-1"}', code="INVALID_CONTEXT"),
    *of_both(400, body=b'{"context":null}', code="INVALID_CONTEXT"),
    *of_both(400, body=b'{"context":{"targetingKey":1}}', code="INVALID_CONTEXT"),
    *of_both(400, body=b'{"context":{"targetingKey":null}}', code="INVALID_CONTEXT"),
    *of_both(400, document={"context": {"fanion": 1}}, code="INVALID_CONTEXT"),
    Row(400, "half", {"context": {}}, code="TARGETING_KEY_MISSING"),
    Row(400, "s-paid", {"context": {"plan": "pro"}}, code="TARGETING_KEY_MISSING"),
    Row(400, "shared", PERSON, code="GENERAL"),
    Row(400, "f-broken", PERSON, code="GENERAL"),
    *of_both(401, key=None),
    *of_both(401, key="nobody's"),
    *of_both(401, key="ofrep_other_api_key"),
    *of_both(401, key=None, headers={"authorization": "Basic x"}),
    *of_both(403, key="ofrep_events_key"),
    *of_both(403, key=SUSPENDED),
    *of_both(403, key=LAPSED),
    *(Row(404, flag, PERSON, code="FLAG_NOT_FOUND") for flag in ("nothing", "feather:plain", "%ff", "a/b", "~")),
    Row(404, "hidden", PERSON, key=CLIENT, code="FLAG_NOT_FOUND"),
    *of_both(429, key=RATED),
]  # fmt: skip
NOT_THE_DOCUMENT_S = [
    *of_both(405, method="GET", document=None),
    *of_both(405, method="PUT"),
    *of_both(413, body=b'{"context":{"a":"' + b"a" * 1_100_000 + b'"}}'),
    *of_both(415, headers={"content-encoding": "br"}),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("document")
    limits = {"limits": {"rate_per_s": 0.0001, "burst": 1}}
    closed = {"plan": "basic", "subscription_active": False}
    organisations = {}
    for key, members in ((RATED, limits), (SUSPENDED, {"suspended": True}), (LAPSED, closed)):
        environments = {"p": {"id": f"env_{key}", "keys": [{"key": key}]}}
        project = {
            "environments": environments,
            "flags": {"plain": {"type": "boolean", "default_value": True}},
        }
        organisations[key] = {"projects": {"p": project}, **members}
    more = folder / "more.json"
    more.write_text(json.dumps({"fanion": 1, "organisations": organisations}))
    publish(folder / "data", FOLDER / "world.yaml", more, write_world(folder))
    running = start(folder / "log", "--workers", "1", "--ack", "buffered", data=folder / "data")
    running.ask("POST", FLAGS, PERSON, key=RATED)  # its one request
    yield running
    assert running.stop() == 0


def ask(running: Running, row: Row, mount: str = "") -> Answer:
    path = mount + FLAGS + ("" if row.flag is None else f"/{row.flag}") + row.query
    return running.ask(row.method, path, row.document, body=row.body, key=row.key, headers=row.headers)


def decoded(answer: Answer) -> Any:
    return json.loads(answer.body) if answer.body else None


@pytest.mark.parametrize("mount", ["", "/ofrep"])
def test_every_answer_of_every_operation_is_as_the_document_has_it(server: Running, mount: str) -> None:
    seen: dict[str, set[int]] = {SINGLE: set(), BULK: set()}
    for row in (*ANSWERED, *REFUSED):
        operation = BULK if row.flag is None else SINGLE
        if row.document is not None:
            check_request(operation, row.document)
        answer = ask(server, row, mount)
        assert answer.status == row.status, row
        body = decoded(answer)
        check_answer(operation, answer.status, answer.headers, body)
        assert row.code is None or body["errorCode"] == row.code, row
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cache-control"] in ("no-store", "private, no-cache")
        seen[operation].add(answer.status)
    for operation, answered in seen.items():
        assert answered == statuses(operation) - {500}


@pytest.mark.parametrize("row", NOT_THE_DOCUMENT_S, ids=lambda row: f"{row.status} {row.flag}")
def test_statuses_that_the_document_has_not_are_errors_of_its_shape(server: Running, row: Row) -> None:
    answer = ask(server, row)
    assert answer.status == row.status
    check_own_error(answer.headers, decoded(answer))


@pytest.mark.parametrize("path", [FLAGS, f"{FLAGS}/plain"])
def test_a_browser_that_asks_first_may_send_what_the_document_names_and_more(
    server: Running, path: str
) -> None:
    wanted = "authorization,content-type,if-none-match,x-api-key,x-trace"
    headers = {
        "origin": "https://shop.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": wanted,
    }
    answer = server.ask("OPTIONS", path, key=None, headers=headers)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].replace(" ", "").split(",")
    assert set(wanted.split(",")) <= set(allowed)


def test_the_tag_of_an_answer_is_the_one_that_is_answered_304(server: Running) -> None:
    first = ask(server, Row(200, None, PERSON))
    for sent in ('"x", ' + first.headers["etag"], "W/" + first.headers["etag"]):
        again = ask(server, Row(304, None, PERSON, headers={"if-none-match": sent}))
        check_answer(BULK, again.status, again.headers, decoded(again))
        assert (again.status, again.headers["etag"]) == (304, first.headers["etag"])


def test_a_stream_is_named_and_speaks_as_the_document_has_it(server: Running) -> None:
    uri = address(server, STREAM_CLIENT)
    request = f"GET {uri} HTTP/1.1\r\nHost: a\r\nLast-Event-ID: long-ago\r\nAccept: text/event-stream\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(request.encode())
        received = b""
        while b"data:" not in received or not received.endswith((b"\n\n", b"\n\n\r\n")):
            piece = connection.recv(65_536)
            assert piece, received
            received += piece
    head, _, rest = received.partition(b"\r\n\r\n")
    assert b"content-type: text/event-stream" in head.lower()
    lines = [line for line in rest.decode().splitlines() if ": " in line]
    message: dict[str, Any] = dict(line.split(": ", 1) for line in lines)
    if "retry" in message:
        message["retry"] = int(message["retry"])
    check_message(message)
