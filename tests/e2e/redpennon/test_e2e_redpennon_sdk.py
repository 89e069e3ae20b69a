"""The published Python SDK against a real server, where a Python that has it is at hand; its wire requests always.

The SDK needs Python 3.12. REDPENNON_PYTHON names an interpreter with the `redpennon` package; without it
this interpreter and the `python3.12` and later ones on PATH are tried.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fanion.dialects import canonical_forms
from fanion.journal.event import expand
from fanion.journal.reader import JournalReader
from tests.e2e.redpennon_world import OPEN, SUSPENDED
from tests.e2e.server import Running

DRIVER = Path(__file__).with_name("redpennon_sdk_driver.py")
CANDIDATES = ("python3.12", "python3.13", "python3.14")


def sdk_python() -> str:
    """An interpreter that can import the SDK; skips when there is none. One that is named must have it."""
    named = os.environ.get("REDPENNON_PYTHON")
    found = [named] if named else [sys.executable, *filter(None, map(shutil.which, CANDIDATES))]
    for python in found:
        tried = subprocess.run([python, "-c", "import redpennon"], capture_output=True, timeout=30)
        if tried.returncode == 0:
            return python
    if named:
        pytest.fail(f"REDPENNON_PYTHON is {named}, which can't import the package `redpennon`")
    pytest.skip(
        "no Python 3.12 or later with the package `redpennon` here; REDPENNON_PYTHON can name one "
        f"(tried {', '.join(found)})"
    )


def test_published_sdk_works_against_fanion(pennon: Running, data: Path) -> None:
    base_url = f"http://127.0.0.1:{pennon.port}"
    done = subprocess.run(
        [sdk_python(), str(DRIVER), base_url, OPEN, SUSPENDED], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    out: dict[str, Any] = json.loads(done.stdout)

    assert out["single"].pop("evaluation_trace").startswith("rpe_v1:")
    assert out["single"] == {
        "key": "checkout-flow",
        "value": "A",
        "variation": "variant-a",
        "reason": "targeting_rule_matched",
        "feature": "checkout",
    }
    assert out["anonymous"]["key"] == "checkout-flow"
    assert out["anonymous"]["reason"] == "no_rule_matched"
    assert out["anonymous"]["evaluation_trace"] is None
    assert out["keys"] == {"weird/key": "w", "a b": "s", "q?x=1": "q", "p%2Fq": "p", "café": "c"}
    assert out["unknown"] == "default"
    assert {name: result["reason"] for name, result in out["batch"].items()} == {
        "plain": "default_variation",
        "no-such-key": "variable_not_found",
        "Off": "targeting_disabled",
    }
    assert out["values"] == {"plain": "C", "off": 1, "t-json": {"a": [1, None]}}
    assert out["tracked"] == {"accepted": 2, "duplicates": 0}
    assert out["tracked_again"] == {"accepted": 0, "duplicates": 1}
    assert out["tracked_none"] == {"accepted": 0, "duplicates": 0}
    assert out["bad_event"] == {"status": 400, "message": "events[0].event is required.", "code": None}
    assert out["unauthorised"] == {"status": 401, "message": "Invalid or missing API key.", "code": None}
    assert out["unauthorised_value"] == "default"
    assert out["suspended"]["status"] == 403
    assert out["suspended"]["code"] == "organisation_suspended"
    assert out["suspended_values"] == {"plain": "default"}
    events = [one.event for record in JournalReader(data).read() for one in expand(record, canonical_forms())]
    assert {one.metric: one.disposition for one in events if str(one.metric).startswith("sdk-")} == {
        "sdk-purchase": "verified",
        "sdk-view": "kept",
    }


def wire(pennon: Running, path: str, body: bytes) -> tuple[bytes, bytes]:
    """A request as the SDK's httpx writes it (docs/apis/redpennon.md: SDKs on the wire); the answer's status
    line and body."""
    request = (
        b"POST %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n"
        b"Connection: keep-alive\r\nUser-Agent: python-httpx/0.28.1\r\nX-API-Key: %b\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (path.encode(), pennon.port, OPEN.encode(), len(body), body)
    )
    with pennon.connect() as connection:
        connection.sendall(request)
        received = b""
        while True:
            received += connection.recv(65_536)
            head, separator, rest = received.partition(b"\r\n\r\n")
            if separator:
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                if len(rest) >= length:
                    return head.split(b"\r\n")[0], rest


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (
            "/v1/variables/plain",
            b"{}",
            (
                b'{"key":"plain","value":"C","variation":"control","reason":"default_variation","feature":"plain",'
                b'"evaluation_trace":null}'
            ),
        ),
        (
            "/v1/variables/weird%2Fkey",
            b"{}",
            (
                b'{"key":"weird/key","value":"w","variation":"on","reason":"default_variation","feature":"types",'
                b'"evaluation_trace":null}'
            ),
        ),
        (
            "/v1/variables/caf%C3%A9",
            b"{}",
            '{"key":"café","value":"c","variation":"on","reason":"default_variation","feature":"types",'
            '"evaluation_trace":null}'.encode(),
        ),
        (
            "/v1/variables",
            b'{"keys":["off","nope"]}',
            (
                b'{"results":{"off":{"key":"off","value":null,"variation":null,"reason":"targeting_disabled",'
                b'"feature":"off","evaluation_trace":null},"nope":{"key":"nope","value":null,"variation":null,'
                b'"reason":"variable_not_found","feature":null,"evaluation_trace":null}}}'
            ),
        ),
    ],
)
def test_wire_requests_of_the_sdk_are_answered_byte_for_byte(
    pennon: Running, path: str, body: bytes, expected: bytes
) -> None:
    assert wire(pennon, path, body) == (b"HTTP/1.1 200 OK", expected)


def test_wire_request_with_every_member_of_a_user(pennon: Running) -> None:
    body = (
        b'{"user":{"id":"u1","email":"e","organisation_id":"o","ip":"1.2.3.4","audiences":["a"],'
        b'"app_version":"1.0","platform":"web","country":"DE","custom_data":{"k":["v"]}}}'
    )
    status, answer = wire(pennon, "/v1/variables/checkout-flow", body)
    assert status == b"HTTP/1.1 200 OK"
    assert answer.startswith(
        b'{"key":"checkout-flow","value":"A","variation":"variant-a","reason":"targeting_rule_matched",'
        b'"feature":"checkout","evaluation_trace":"rpe_v1:'
    )


def test_wire_request_with_every_member_of_an_event(pennon: Running) -> None:
    body = (
        b'{"events":[{"event":"wire","variable":"plain","variation":"control","user":{"id":"u1"},"value":1.5,'
        b'"occurred_at":"2026-02-01T10:30:00Z","evaluation_trace":"rpe_v1:x","event_id":"wire-1"}]}'
    )
    assert wire(pennon, "/v1/events", body) == (b"HTTP/1.1 202 Accepted", b'{"accepted":1}')
    assert wire(pennon, "/v1/events", body) == (b"HTTP/1.1 202 Accepted", b'{"accepted":0,"duplicates":1}')


def test_key_of_two_dots_is_folded_by_the_client_and_not_found(pennon: Running) -> None:
    assert wire(pennon, "/v1", b"{}") == (b"HTTP/1.1 404 Not Found", b'{"error":"Not found."}')
