"""Hostile and broken clients against a real server: slow ones, giants, bombs, odd JSON and framing, storms."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e import slow_clients
from tests.e2e.server import (
    CLIENT_KEY,
    OTHER_KEY,
    SERVER_KEY,
    WORLD,
    Running,
    publish,
    read_all,
    wait_until,
)
from tests.e2e.test_e2e_feather import event

BULK = "/v1/evaluate/bulk"
BODY = b'{"flags":["plain"],"context":{}}'
KEY = f"Authorization: Bearer {SERVER_KEY}\r\n".encode()


CLOSE = b"Connection: close\r\n"
"""Of a last request: whoever reads needn't wait for what may come."""


def post(path: str = BULK, body: bytes = BODY, headers: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%b%b%b\r\n%b" % (path.encode(), KEY, headers, length, body)


def chunked(body: bytes, headers: bytes = b"") -> bytes:
    head = b"POST %b HTTP/1.1\r\nHost: a\r\n%b%bTransfer-Encoding: chunked\r\n\r\n" % (
        BULK.encode(),
        KEY,
        headers,
    )
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def status_of(received: bytes) -> int:
    return int(received[9:12]) if received.startswith(b"HTTP/1.1 ") else 0


def memory_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError(f"no memory figure for {pid}")


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  # counts only


@pytest.mark.slow
def test_slow_clients_are_closed_in_time_and_good_ones_are_served(server: Running) -> None:
    outcome = slow_clients.run(server.port, 400, SERVER_KEY)
    assert outcome.refused == 0
    print(outcome.open_s)
    assert all(outcome.open_s[kind] for kind in slow_clients.ENDED), outcome.open_s
    assert status_of(outcome.first_answers["body"]) == 408


@pytest.mark.heavy
def test_a_body_that_drips_ends_at_its_total_time(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(post(body=b"")[:-2].replace(b"Length: 0", b"Length: 1000") + b"\r\n")
        connection.settimeout(0.5)
        received = b""
        for _ in range(999):  # at two a second, so that it ends long before its length
            try:
                connection.sendall(b" ")
                received = connection.recv(1000)
            except TimeoutError:
                continue
            except ConnectionError:
                pass
            break
        assert status_of(received) == 408


def test_a_declared_giant_is_refused_at_once_without_reading_it(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(post(body=b"")[:-2].replace(b"Length: 0", b"Length: 1000000000") + b"\r\n")
        connection.settimeout(30)
        assert status_of(connection.recv(1000)) == 413


def test_a_chunked_giant_is_refused_while_it_comes_and_memory_stays(server: Running) -> None:
    before = sum(map(memory_kib, server.workers()))
    head = b"POST %b HTTP/1.1\r\nHost: a\r\n%bTransfer-Encoding: chunked\r\n\r\n" % (BULK.encode(), KEY)
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with server.connect() as connection:
        connection.settimeout(60)
        connection.sendall(head)
        try:
            for _ in range(1_000):
                connection.sendall(piece)
        except OSError:
            pass  # the server has stopped reading
        received = read_all(connection)
    assert status_of(received) in (413, 0)  # 0: the answer was lost with what the kernel had not delivered
    assert sum(map(memory_kib, server.workers())) - before < 64 * 1024
    assert server.ask("POST", BULK, body=b" " * (2**20 + 1)).status == 413


def test_a_bomb_is_refused(server: Running) -> None:
    bomb = gzip.compress(b" " * 200_000_000, 9)
    assert server.ask("POST", BULK, body=bomb, headers={"Content-Encoding": "gzip"}).status == 413
    small = gzip.compress(BODY)
    assert server.ask("POST", BULK, body=small, headers={"Content-Encoding": "gzip"}).status == 200


@pytest.mark.parametrize("depth", [10, 64, 65, 1_000, 100_000])
def test_nesting_is_bounded(server: Running, depth: int) -> None:
    body = b'{"flags":["plain"],"context":{},"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    assert server.ask("POST", BULK, body=body).status == (200 if depth <= 64 else 400)


@pytest.mark.parametrize(
    ("number", "status"),
    [
        ("NaN", 400),
        ("Infinity", 400),
        ("1e999", 400),
        ("1" * 4_000, 400),
        ("-0", 200),
        ("9007199254740993", 200),
        ("9223372036854775808", 200),
    ],
)
def test_numbers_at_the_edges(server: Running, number: str, status: int) -> None:
    body = b'{"flags":["plain"],"context":{"attributes":{"n":%b}}}' % number.encode()
    assert server.ask("POST", BULK, body=body).status == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"flags":["\xff"],"context":{}}', 400),
        (b'{"flags":["\\ud800"],"context":{}}', 200),
        (b'{"flags":["\\u0000"],"context":{}}', 200),
        (b"\xef\xbb\xbf" + BODY, 200),
        (BODY + b"x", 400),
        (b'{"flags":["off"],"flags":["plain"],"context":{}}', 200),
    ],
)
def test_text_that_is_not_what_it_says(server: Running, body: bytes, status: int) -> None:
    assert server.ask("POST", BULK, body=body).status == status


@pytest.mark.parametrize("keys", [1_000, 1_001, 60_000])
def test_members_are_bounded(server: Running, keys: int) -> None:
    attributes = ",".join(f'"k{number}":1' for number in range(keys))
    body = b'{"flags":["plain"],"context":{"attributes":{%b}}}' % attributes.encode()
    assert server.ask("POST", BULK, body=body).status == (
        200 if keys <= 1_000 else 422 if keys < 2_000 else 400
    )


REFUSED_FRAMING = {
    "two Hosts": post(headers=b"Host: b\r\n"),
    "no Host": post().replace(b"Host: a\r\n", b""),
    "two keys": post(headers=b"Authorization: Bearer sk_other_server\r\n"),
    "lengths that differ": post(headers=b"Content-Length: 5\r\n"),
    "length +4": post().replace(b"Length: ", b"Length: +"),
    "length -1": post().replace(b"Length: 32", b"Length: -1"),
    "length 2^64": post().replace(b"Length: 32", b"Length: 18446744073709551616"),
    "unknown transfer encoding": chunked(BODY).replace(b"chunked\r\n", b"xchunked\r\n"),
    "identity transfer encoding": chunked(BODY).replace(b"chunked\r\n", b"identity\r\n"),
    "space before the colon": chunked(BODY).replace(b"Transfer-Encoding:", b"Transfer-Encoding :"),
    "folded header": post(headers=b"X-A: b\r\n c\r\n"),
    "NUL in a header": post(headers=b"X-A: b\x00c\r\n"),
    "chunk size overflow": chunked(BODY).replace(b"20\r\n{", b"ffffffffffffffff1\r\n{"),
    "chunk size not hex": chunked(BODY).replace(b"20\r\n{", b"zz\r\n{"),
    "150 headers": post(headers=b"".join(b"X-%d: a\r\n" % number for number in range(150))),
    "600 KB of headers": post(headers=b"X-A: " + b"a" * 600_000 + b"\r\n"),
    "100 KB path": post("/" + "a" * 100_000),
}


@pytest.mark.parametrize("name", REFUSED_FRAMING)
def test_ambiguous_framing_is_refused_and_nothing_behind_it_is_served(server: Running, name: str) -> None:
    behind = b"GET /v1/sdk/context HTTP/1.1\r\nHost: a\r\n" + KEY + CLOSE + b"\r\n"
    received = server.talk(REFUSED_FRAMING[name] + behind)
    assert status_of(received) in (400, 414, 431, 0), received[:200]
    assert b'"orgId"' not in received or name in ("two Hosts", "two keys", "no Host")


def test_http_1_0_needs_no_host(server: Running) -> None:
    received = server.talk(b"GET /v1/sdk/context HTTP/1.0\r\n" + KEY + b"\r\n")
    assert received.startswith(b"HTTP/1.0 200 ")


def test_a_length_beside_chunks_counts_for_nothing_and_ends_the_connection(server: Running) -> None:
    behind = b"GET /v1/sdk/context HTTP/1.1\r\nHost: a\r\n" + KEY + b"\r\n"
    received = server.talk(chunked(BODY, b"Content-Length: 5\r\n") + behind)
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"orgId" not in received


@pytest.mark.parametrize("size", [1_000, 60_000])
def test_a_long_header_within_the_limit_is_served(server: Running, size: int) -> None:
    assert status_of(server.talk(post(headers=CLOSE + b"X-A: " + b"a" * (size // 2) + b"\r\n"))) == 200


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    count = 1_000
    requests = b"".join(
        post("/v1/evaluate", b'{"flagKey":"flag-%d","context":{}}' % number) for number in range(count)
    )
    sender_error: list[OSError] = []
    with server.connect() as connection:

        def send() -> None:
            try:
                connection.sendall(requests)
            except OSError as error:
                sender_error.append(error)

        sender = threading.Thread(target=send)
        sender.start()
        reader = connection.makefile("rb")
        for number in range(count):
            assert reader.readline().startswith(b"HTTP/1.1 200")
            length = 0
            while (line := reader.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert json.loads(reader.read(length))["flagKey"] == f"flag-{number}"
        sender.join()
        reader.close()
    assert not sender_error


def test_aborted_and_half_closed_connections_leave_nothing_behind(server: Running) -> None:
    workers = server.workers()
    wait_until(lambda: True)
    before = sum(map(descriptors, workers))
    for _ in range(50):
        server.talk(post(), then_close=True)
        with server.connect() as aborted:
            aborted.sendall(post(body=b"x" * 100)[:-50])
    wait_until(lambda: sum(map(descriptors, workers)) <= before + 4)
    assert server.value("plain") is True


def test_a_body_of_chunks_of_one_byte_is_refused_before_it_costs_seconds(server: Running) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: a\r\n%bTransfer-Encoding: chunked\r\n\r\n" % (
        BULK.encode(),
        KEY + CLOSE,
    )
    received = server.talk(head + b"1\r\n \r\n" * 100_000)
    assert status_of(received) == 400
    assert b"too many pieces" in received
    assert (
        status_of(server.talk(head + b"1\r\n \r\n" * 100 + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)))
        == 200
    )


KEYS = (SERVER_KEY, CLIENT_KEY, OTHER_KEY, "sk_unknown", None)


@pytest.mark.parametrize("key", KEYS)
def test_no_key_opens_another_environment(server: Running, key: str | None) -> None:
    asked = [
        server.ask("POST", "/v1/evaluate", {"flagKey": "half", "context": {"userId": "user_1"}}, key=key),
        server.ask("POST", BULK, {"flags": ["half", "both"], "context": {}}, key=key),
        server.ask("GET", "/v1/sdk/context", key=key),
        server.ask("POST", "/v1/telemetry/events", {"events": [event()]}, key=key),
    ]
    # without the request's id: it is random, and holds "e2e" now and then
    bodies = [re.sub(rb'"requestId":"[^"]*"', b"", answer.body) for answer in asked]
    if key in (SERVER_KEY, CLIENT_KEY):
        assert [answer.status for answer in asked] == [200, 200, 200, 202]
    elif key == OTHER_KEY:
        assert [answer.status for answer in asked] == [200, 200, 200, 202]
        assert not any(b"e2e" in body or b"variant-b" in body for body in bodies)
        assert b"RULE_MATCH" not in asked[1].body
    else:
        assert {answer.status for answer in asked} == {401}
        assert not any(b"e2e" in body for body in bodies)


def test_a_storm_of_connections_is_served_and_leaves_the_server_as_it_was(server: Running) -> None:
    statuses: list[int] = []

    def ask() -> None:
        for _ in range(10):
            statuses.append(server.ask("POST", BULK, body=BODY).status)

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == 400
    assert set(statuses) <= {200, 429, 503}
    assert server.value("plain") is True


def test_connections_of_strangers_leave_files_for_events_and_publications(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    publish(data, WORLD)
    environment = {"FANION_JOURNAL_SEGMENT_BYTES": "65536"}  # of which each takes a file
    running = serve("--workers", "1", "--ack", "buffered", data=data, environment=environment, files=200)
    with contextlib.ExitStack() as held:
        own = held.enter_context(contextlib.closing(http.client.HTTPConnection("127.0.0.1", running.port)))
        assert running.ask_on(own, "POST", BULK, body=BODY).status == 200
        for _ in range(400):
            held.enter_context(running.connect())
        for _ in range(100):
            answer = running.ask_on(own, "POST", "/v1/telemetry/events", {"events": [event()] * 100})
            assert answer.status == 202
        publish(data, WORLD)
        assert running.ask_on(own, "POST", BULK, body=BODY).status == 200
    assert "server.backpressure" in running.log.read_text()
    assert "Too many open files" not in running.log.read_text()
