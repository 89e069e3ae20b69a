"""Sending events (`fanion.tracking`) to a server that is a stand-in: it answers what a test wants it to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from fanion import tracking
from fanion.tracking import Counts, EventSender
from tests.unit.neutral_standins import PATH, is_batch

METRIC = {"type": "metric", "unit": {"kind": "userId", "id": "u"}, "metric": "m"}
WAIT_S = 20.0


class Stand(ThreadingHTTPServer):
    """Remembers events by id, as the server does. `say`: status, headers and body of the next answers; after them
    each batch is taken. `lose`: how many answers are lost after the batch was kept. `gate`: answers wait for it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.say: list[tuple[int, dict[str, str], bytes]] = []
        self.lose = 0
        self.gate = threading.Event()
        self.gate.set()
        self.asked: list[tuple[str, str, list[Any]]] = []
        self.kept: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Stand

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers["Authorization"], document["events"]))
        self.server.gate.wait(WAIT_S)
        status, headers, body = 200, {}, b""
        if self.server.say:
            status, headers, body = self.server.say.pop(0)
        else:
            assert is_batch(document), document
            known = [n for n, event in enumerate(document["events"]) if event["id"] in self.server.kept]
            self.server.kept |= {event["id"]: event for event in document["events"]}
            answer = {"accepted": len(document["events"]) - len(known), "duplicates": known, "rejected": []}
            body = json.dumps(answer).encode()
            if self.server.lose:
                self.server.lose -= 1
                self.close_connection = True
                return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    monkeypatch.setattr(tracking, "GATHER_S", 0.01)
    monkeypatch.setattr(tracking, "PAUSE_FIRST_S", 0.01)
    server = Stand()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.gate.set()
    server.shutdown()
    server.server_close()


def test_events_arrive_in_batches_with_ids_and_times_of_their_own(stand: Stand) -> None:
    sender = EventSender(stand.url + "/behind/", "key")
    for n in range(1_200):
        sender.put(METRIC | {"value": n})
    sender.close(WAIT_S)
    assert sender.counts == Counts(accepted=1_200)
    assert sorted(event["value"] for event in stand.kept.values()) == list(range(1_200))
    assert {(path, key) for path, key, _ in stand.asked} == {("/behind" + PATH, "Bearer key")}
    assert max(len(events) for _, _, events in stand.asked) <= tracking.BATCH_EVENTS
    assert all("time" in event for event in stand.kept.values())


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_batch_that_could_not_be_kept_is_sent_again_with_the_same_ids(stand: Stand, status: int) -> None:
    stand.say = [(status, {"Retry-After": "0"}, b"later")] * 2
    sender = EventSender(stand.url, "key")
    sender.put(METRIC)
    sender.close(WAIT_S)
    assert sender.counts == Counts(accepted=1)
    first, second, third = stand.asked
    assert first == second == third
    assert sender.problem == ""


def test_an_answer_that_was_lost_makes_nothing_count_twice(stand: Stand) -> None:
    stand.lose = 2
    sender = EventSender(stand.url, "key")
    for _ in range(3):
        sender.put(METRIC)
    sender.close(WAIT_S)
    assert len(stand.kept) == 3
    assert sender.counts.accepted + sender.counts.duplicates == 3
    assert sender.counts.duplicates > 0


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 415])
def test_what_is_refused_is_not_sent_again_and_the_next_batch_goes_on(stand: Stand, status: int) -> None:
    stand.say = [(status, {}, b"wrong")]
    sender = EventSender(stand.url, "key")
    sender.put(METRIC)
    sender.close(WAIT_S)
    assert sender.counts == Counts(refused=1)
    assert f"{status}: wrong" in sender.problem
    sender.put(METRIC)
    sender.close(WAIT_S)
    assert sender.counts == Counts(refused=1, accepted=1)


def test_an_answer_of_another_server_is_no_success(stand: Stand) -> None:
    stand.say = [(200, {}, b"<html>")]
    sender = EventSender(stand.url, "key")
    sender.put(METRIC)
    sender.close(WAIT_S)
    assert sender.counts == Counts(refused=1)


def test_rejected_events_are_counted(stand: Stand) -> None:
    said = {"accepted": 0, "duplicates": [], "rejected": [{"index": 0, "reason": "metric: Required"}]}
    stand.say = [(200, {}, json.dumps(said).encode())]
    sender = EventSender(stand.url, "key")
    sender.put({"type": "metric"})
    sender.close(WAIT_S)
    assert sender.counts == Counts(rejected=1)
    assert "metric: Required" in sender.problem


def test_a_full_queue_drops_and_counts_and_never_waits(stand: Stand) -> None:
    stand.gate.clear()
    sender = EventSender(stand.url, "key", queue_events=10)
    begun = time.monotonic()
    for _ in range(1_000):
        sender.put(METRIC)
    assert time.monotonic() - begun < WAIT_S / 4
    counts = sender.counts
    assert counts.queued + counts.dropped == 1_000
    assert counts.queued <= 10 + tracking.BATCH_EVENTS
    stand.gate.set()
    sender.close(WAIT_S)
    assert sender.counts.accepted + sender.counts.dropped == 1_000


def test_the_queue_is_bounded_in_bytes_and_so_is_an_event(stand: Stand) -> None:
    stand.gate.clear()
    sender = EventSender(stand.url, "key", queue_bytes=2_000)
    large = METRIC | {"properties": {"a": "x" * 900}}
    for _ in range(100):
        sender.put(large)
    assert sender.counts.dropped >= 90
    sender.put(METRIC | {"properties": {"a": "x" * tracking.EVENT_BYTES_MAX}})
    assert sender.counts.unsendable == 1
    stand.gate.set()
    sender.close(WAIT_S)


class Loud:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("value", ["cut \ud83d", Loud()])
def test_what_can_not_be_written_is_counted_and_never_raised(stand: Stand, value: object) -> None:
    sender = EventSender(stand.url, "key")
    sender.put(METRIC | {"properties": {"a": value}})
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    sender.put(METRIC | {"properties": {"a": deep}})
    assert sender.counts == Counts(unsendable=2)
    sender.close()


def test_nobody_is_waited_for_longer_than_close_may_take() -> None:
    sender = EventSender("http://127.0.0.1:1", "key")  # nothing listens there
    sender.put(METRIC)
    begun = time.monotonic()
    sender.close(0.3)
    assert time.monotonic() - begun < WAIT_S / 4
    assert sender.counts.dropped + sender.counts.queued == 1
    assert "no answer" in sender.problem


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://a", "http://", "/path"])
def test_an_address_that_is_none_is_told_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        EventSender(url, "key")


@pytest.mark.parametrize("key", ["a\r\nx: y", "schlüssel", "\0"])
def test_a_key_that_no_header_holds_is_told_at_once_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="API key") as told:
        EventSender("http://localhost", key)
    assert key not in str(told.value)


def test_many_threads_may_put(stand: Stand) -> None:
    sender = EventSender(stand.url, "key")

    def put() -> None:
        for _ in range(200):
            sender.put(METRIC)

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sender.close(WAIT_S)
    assert sender.counts == Counts(accepted=1_600)
    assert len(stand.kept) == 1_600


EXITS = """
import os, sys
from fanion import tracking
from fanion.tracking import EventSender
tracking.EXIT_S = 20.0
sender = EventSender(sys.argv[1], "key")
event = {"type": "metric", "unit": {"kind": "userId", "id": "u"}, "metric": "parent"}
sender.put(event)
if sys.argv[2] == "fork":
    child = os.fork()
    if not child:
        assert sender.counts.queued == 0, sender.counts
        sender.put({**event, "metric": "child"})
        sender.close(20)
        os._exit(sender.counts.accepted != 1)
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize(("way", "metrics"), [("exit", ["parent"]), ("fork", ["child", "parent"])])
def test_what_is_queued_is_sent_at_exit_and_a_child_sends_its_own_alone(
    stand: Stand, way: str, metrics: list[str]
) -> None:
    command = [sys.executable, "-c", EXITS, stand.url, way]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert sorted(event["metric"] for event in stand.kept.values()) == metrics
    assert sum(len(events) for _, _, events in stand.asked) == len(metrics)
