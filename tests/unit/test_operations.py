"""The operations process: what it answers out of the heartbeats, within which bounds; the heartbeats themselves."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from fanion.process import operations as module
from fanion.process.operations import HostNames, Listener, Operations
from fanion.process.pulse import BEAT_INTERVAL_S, BEAT_UNREADY_S, Pulse
from fanion.process.sockets import operations_socket
from fanion.process.supervisor import Watched
from fanion.telemetry.heartbeats import LINE_CHARACTERS_MAX, Heartbeats, Standing


def readiness(heartbeats: Heartbeats) -> tuple[int, Any]:
    answer = Operations(heartbeats.rows, lambda: b"").answer(b"GET", b"/readyz")
    return answer.status, json.loads(answer.body)


def test_what_processes_beside_the_workers_say_is_a_note_and_stops_no_request() -> None:
    heartbeats = Heartbeats(2)
    worker, other = heartbeats.rows
    worker.beat()
    worker.say(Standing(7, (), ("the wall clock jumped",), 5))
    operations = Operations([worker], lambda: b"", [("pipeline", other, 15.0)])

    def notes() -> list[str]:
        answer = operations.answer(b"GET", b"/readyz")
        assert answer.status == 200
        document = json.loads(answer.body)
        assert document["reasons"] == []
        assert len(document["workers"]) == 1
        found: list[str] = document["notes"]
        return found

    assert notes() == ["the wall clock jumped", "pipeline: starting"]
    other.beat()
    other.say(Standing(8, ("the disk is full",), ("it is far behind",)))
    assert notes()[1:] == ["pipeline: the disk is full", "pipeline: it is far behind"]
    other.say(Standing(8, ()))
    assert notes() == ["the wall clock jumped"]
    other._beat[0] -= 16 * 10**9
    assert notes()[1:] == ["pipeline: no heartbeat for 16 s"]


def test_where_there_are_no_workers_what_others_say_is_what_counts() -> None:
    (other,) = Heartbeats(1).rows
    operations = Operations((), lambda: b"", [("pipeline", other, 15.0)])

    def told() -> tuple[int, list[str], list[str]]:
        answer = operations.answer(b"GET", b"/readyz")
        document = json.loads(answer.body)
        assert document["ready"] is (answer.status == 200)
        return answer.status, document["reasons"], document["notes"]

    assert told() == (503, ["pipeline: starting"], [])
    other.beat()
    other.say(Standing(8, (), ("rows are late",)))
    assert told() == (200, [], ["pipeline: rows are late"])
    other.say(Standing(8, ("the stream is away",), ("rows are late",)))
    assert told() == (503, ["pipeline: the stream is away"], ["pipeline: rows are late"])
    other.say(Standing(8, ()))
    other._beat[0] -= 16 * 10**9
    assert told() == (503, ["pipeline: no heartbeat for 16 s"], [])


def test_one_ready_worker_is_enough_and_the_others_are_named() -> None:
    heartbeats = Heartbeats(3)
    assert readiness(heartbeats) == (
        503,
        {
            "ready": False,
            "reasons": [f"worker {number}: starting" for number in range(3)],
            "notes": [],
            "workers": [
                {
                    "worker": number,
                    "pid": 0,
                    "ready": False,
                    "reasons": ["starting"],
                    "notes": [],
                    "generation": 0,
                }
                for number in range(3)
            ],
        },
    )
    first, second, _ = heartbeats.rows
    first.beat()
    first.say(Standing(7, (), ("the wall clock jumped",), 5))
    second.beat()
    second.say(Standing(8, ("store: cut off",), ("the wall clock jumped",), 4))
    status, document = readiness(heartbeats)
    assert (status, document["ready"]) == (200, True)
    assert document["reasons"] == ["worker 1: store: cut off", "worker 2: starting"]
    assert document["notes"] == ["the wall clock jumped"]
    assert [(worker["pid"], worker["generation"]) for worker in document["workers"]] == [
        (7, 5),
        (8, 4),
        (0, 0),
    ]


def test_a_worker_without_a_fresh_heartbeat_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    heartbeats = Heartbeats(1)
    heartbeats.rows[0].beat()
    heartbeats.rows[0].say(Standing(7, ()))
    assert readiness(heartbeats)[0] == 200
    later = time.monotonic_ns() + 4_000_000_000
    monkeypatch.setattr(time, "monotonic_ns", lambda: later)
    status, document = readiness(heartbeats)
    assert (status, document["reasons"]) == (503, ["worker 0: no heartbeat for 4 s"])


def test_a_standing_that_a_killed_writer_left_half_written_is_not_believed() -> None:
    heartbeats = Heartbeats(1)
    row = heartbeats.rows[0]
    row.say(Standing(7, ()))
    row._row[20] ^= 1
    assert row.standing() is None
    assert readiness(heartbeats)[0] == 503
    row.clear(Standing(reasons=("it ended with status -9",)))
    assert readiness(heartbeats)[1]["reasons"] == ["worker 0: it ended with status -9"]


def test_a_standing_fits_its_row_whatever_its_lines_are() -> None:
    row = Heartbeats(1).rows[0]
    for text in ("\0", "é", "😀", '"'):
        long = (text * 10_000,) * 50
        row.say(Standing(2**31, long, long, 2**63))
        found = row.standing()
        assert found is not None
        assert set(found.reasons) == {text * LINE_CHARACTERS_MAX}


def test_a_pulse_says_what_keeps_its_worker_from_requests() -> None:
    row = Heartbeats(1).rows[0]
    problems = ["journal: full"]
    pulse = Pulse(row, lambda: problems, list, lambda: 3)

    def reasons() -> tuple[str, ...]:
        pulse.say()
        found = row.standing()
        assert found is not None
        return found.reasons

    assert reasons() == ("journal: full",)
    problems.clear()
    assert reasons() == ()
    assert row.beat_ns > 0


def test_a_pulse_says_a_reason_before_its_next_beat() -> None:
    async def run() -> None:
        row = Heartbeats(1).rows[0]
        problems: list[str] = []
        pulse = Pulse(row, lambda: problems, list, lambda: 3)
        pulse.say_soon()  # of a worker that is just starting: its first beat says it
        pulse.start(asyncio.get_running_loop())
        pulse.say_soon()
        pulse.say_soon()
        problems.append("store: refused")
        await asyncio.sleep(0)
        found = row.standing()
        assert found is not None
        assert found.reasons == ("store: refused",)
        pulse.stop()

    asyncio.run(run())


@pytest.mark.parametrize("problem", ["", "journal: full"])
def test_a_worker_that_is_not_ready_beats_more_often(problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> float:
        loop = asyncio.get_running_loop()
        asked: list[float] = []
        monkeypatch.setattr(loop, "call_later", lambda delay_s, *_: asked.append(delay_s))
        pulse = Pulse(Heartbeats(1).rows[0], lambda: [problem] if problem else [], list, lambda: 3)
        for _ in range(2):
            pulse.start(loop)
        assert asked[0] == BEAT_UNREADY_S  # nothing was said yet
        return asked[1]

    assert asyncio.run(run()) == (BEAT_UNREADY_S if problem else BEAT_INTERVAL_S)


def test_only_a_beat_that_stands_still_is_counted() -> None:
    watched = Watched()
    assert [watched.look(beat) for beat in (0, 0, 5, 5, 5, 6, 6, 0, 0)] == [0, 0, 0, 1, 2, 0, 1, 0, 0]


async def exchange(*requests: bytes, close: bool = False) -> list[bytes]:
    """Answers to requests that are sent on connections opened in this order, all at once."""
    heartbeats = Heartbeats(1)
    heartbeats.rows[0].clear(Standing(reasons=("journal: full",)))
    operations = Operations(
        heartbeats.rows, lambda: b"fanion_up 1\n", documents={"toy": lambda: b'{"openapi":"3.1.0"}'}
    )
    listener = Listener(operations, HostNames("ops.internal", " a, B.example."))
    with operations_socket("127.0.0.1", 0) as listening:
        await listener.start(listening)
        pairs = []
        for request in requests:
            pairs.append(await asyncio.open_connection(*listening.getsockname()))
            pairs[-1][1].write(request)
            if close:
                pairs[-1][1].write_eof()
        found = []
        for reader, writer in pairs:
            try:
                found.append(await reader.read())
            except ConnectionError:
                found.append(b"reset")
            writer.close()
        listener.stop()
    return found


@pytest.mark.parametrize(
    ("request_head", "status", "body"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"200 OK", b'{"status":"ok"}'),
        (b"GET /metrics HTTP/1.0\r\n\r\n", b"200 OK", b"fanion_up 1\n"),
        (b"GET /readyz?verbose HTTP/1.1\r\n\r\n", b"503 Service Unavailable", b'"generation":0}]}'),
        (b"HEAD /healthz HTTP/1.1\r\n\r\n", b"200 OK", b""),
        (b"POST /healthz HTTP/1.1\r\n\r\n", b"405 Method Not Allowed", b'{"error":"the method must be GET"}'),
        (b"GET / HTTP/1.1\r\n\r\n", b"404 Not Found", b"}"),
        (b"GET /openapi/toy.json HTTP/1.1\r\nHost: a\r\n\r\n", b"200 OK", b'{"openapi":"3.1.0"}'),
        (b"GET /openapi/toy.json HTTP/1.1\r\nHost: rebound.test\r\n\r\n", b"403 Forbidden", b"}"),
        (b"GET /openapi/other.json HTTP/1.1\r\n\r\n", b"404 Not Found", b"}"),
    ],
)
@pytest.mark.parametrize("half_closed", [False, True])
def test_operations_socket_answers_one_request(
    request_head: bytes, status: bytes, body: bytes, half_closed: bool
) -> None:
    (received,) = asyncio.run(exchange(request_head, close=half_closed))
    assert received.startswith(b"HTTP/1.1 " + status)
    assert received.endswith(body)


@pytest.mark.parametrize("request_head", [b"nonsense\r\n\r\n", b"\xff \xff\r\n\r\n", b"a" * 20_000])
def test_operations_socket_closes_on_what_is_no_request(request_head: bytes) -> None:
    (received,) = asyncio.run(exchange(request_head))
    assert received in (b"", b"reset") or received.startswith(b"HTTP/1.1 404 ")


def test_a_caller_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXCHANGE_TIMEOUT_S", 0.05)
    (received,) = asyncio.run(exchange(b"GET /healthz HTTP/1.1\r\n"))
    assert received in (b"", b"reset")


def test_a_probe_is_answered_however_many_connections_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 4)
    monkeypatch.setattr(module, "EXCHANGE_TIMEOUT_S", 0.5)
    *held, asked = asyncio.run(exchange(*[b"GET "] * 12, b"GET /healthz HTTP/1.1\r\n\r\n", close=False))
    assert asked.startswith(b"HTTP/1.1 200 ")
    assert set(held) <= {b"", b"reset"}


BY_NAME = [
    "127.0.0.1:8081",
    "10.2.3.4",
    "[::1]:8081",
    "[fd00::7]",
    "localhost:8081",
    "LOCALHOST.",
    "a.localhost",
    "ops.internal:8081",
    "a",
    "b.Example:80",
]
OTHERS = [
    "evil.example:8081",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "x.a",
    "127.1",
    "[evil]",
    "",
    "ops",
]


@pytest.mark.parametrize("host", BY_NAME)
def test_who_asks_by_an_address_or_a_name_of_this_server_reads_all(host: str) -> None:
    head = f" HTTP/1.1\r\nhOsT: {host}\r\n\r\n".encode()
    metrics, ready = asyncio.run(exchange(b"GET /metrics" + head, b"GET /readyz" + head))
    assert metrics.startswith(b"HTTP/1.1 200 ")
    assert b'"workers"' in ready


@pytest.mark.parametrize("host", OTHERS)
def test_a_page_whose_own_name_resolves_here_reads_no_metrics_and_probes_go_on(host: str) -> None:
    head = f" HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    two = b" HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    asked = (b"GET /metrics" + head, b"GET /readyz" + head, b"GET /healthz" + head, b"GET /metrics" + two)
    metrics, ready, alive, twice = asyncio.run(exchange(*asked))
    for refused in (metrics, twice):
        assert refused.startswith(b"HTTP/1.1 403 ")
        assert b"fanion_up" not in refused
        assert b"server.operations_names" in refused
    assert (ready[:13], ready.rsplit(b"\r\n", 1)[1]) == (b"HTTP/1.1 503 ", b'{"ready":false}')
    assert alive.startswith(b"HTTP/1.1 200 ")
