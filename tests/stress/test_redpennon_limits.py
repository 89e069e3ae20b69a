"""Red Pennon's limits over two workers: what a flood lets through, to the figure (docs/apis/redpennon.md:
Governance).

The flood comes over many connections with several requests in flight on each, so that both workers are asked at
once. What passes is held against the limiter's own arithmetic for the time that the flood took, never against a
speed of the machine.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Running, publish, start
from tests.rounds import rounds

RATED = "6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7b10"
STEADY = "6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7b11"
CAPPED = "6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7b12"
CONNECTIONS = 64
USERS = rounds(20_000, 100_000)
DEPTH = 32
"""Requests in flight on a connection."""
SMALL_WINDOWS = {"FANION_JOURNAL_EVENT_IDS": "65536", "FANION_JOURNAL_USED_TRACES": "65536"}

ORGANISATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "org-rated": (RATED, {"plan": "enterprise", "limits": {"rate_per_s": 50, "burst": 50}}),
    "org-steady": (STEADY, {"plan": "enterprise", "limits": {"rate_per_s": 50, "burst": 50}}),
    "org-capped": (CAPPED, {"plan": "free"}),
}


def publish_world(data: Path) -> None:
    flag = {"type": "boolean", "default_value": True}
    organisations = {
        id: {
            **settings,
            "projects": {
                "shop": {"environments": {"production": {"keys": [{"key": key}]}}, "flags": {"flag": flag}}
            },
        }
        for id, (key, settings) in ORGANISATIONS.items()
    }
    world = data.with_name("world.json")
    world.write_text(json.dumps({"fanion": 1, "organisations": organisations}))
    publish(data, world)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("limits") / "data"
    publish_world(made)
    return made


@pytest.fixture(scope="module")
def pennon(data: Path) -> Iterator[Running]:
    running = start(data.with_name("log"), "--workers", "2", data=data, environment=SMALL_WINDOWS)
    assert len(running.workers()) == 2
    yield running
    assert running.stop() == 0


def request(key: str, user: str) -> bytes:
    body = b'{"user":{"id":"%b"}}' % user.encode()
    return (
        b"POST /v1/variables/flag HTTP/1.1\r\nHost: test\r\nX-API-Key: %b\r\nContent-Length: %d\r\n\r\n%b"
        % (key.encode(), len(body), body)
    )


class Connection:
    """A connection that sends several requests at once and reads as many answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, requests: Sequence[bytes]) -> list[str]:
        """For each request, "200" or the code of the refusal."""
        self.writer.write(b"".join(requests))
        found = []
        for _ in requests:
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await self.reader.readexactly(length)
            found.append("200" if head.startswith(b"http/1.1 200") else json.loads(body)["code"])
        return found


async def connect(port: int, count: int) -> list[Connection]:
    pairs = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(count)))
    return [Connection(reader, writer) for reader, writer in pairs]


async def flood(port: int, requests: Sequence[bytes]) -> tuple[Counter[str], float]:
    """What came of all requests, sent as fast as the connections take them, and how long it took."""
    connections = await connect(port, CONNECTIONS)
    left = iter(range(0, len(requests), DEPTH))
    found: Counter[str] = Counter()

    async def work(connection: Connection) -> None:
        for at in left:
            found.update(await connection.ask(requests[at : at + DEPTH]))

    began = time.monotonic()
    await asyncio.gather(*map(work, connections))
    took_s = time.monotonic() - began
    for connection in connections:
        connection.writer.close()
    return found, took_s


async def trickle(
    port: int, each: bytes, rate_per_s: int, seconds: float
) -> tuple[Counter[str], float, float]:
    """What came of `rate_per_s` requests a second, in slices of ten milliseconds; how long that took, and for how
    much of it nothing was asked although a second's worth lay ready: on a busy machine, and then it is lost."""
    connections = await connect(port, 10)
    found: Counter[str] = Counter()
    began = time.monotonic()
    slices = int(seconds * 100)
    asked_at, lost_s = began, 0.0
    for number in range(slices):
        due = began + number / 100
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        sent_at = time.monotonic()
        found.update(await connections[number % 10].ask([each] * (rate_per_s // 100)))
        lost_s += max(0.0, time.monotonic() - asked_at - 1)  # the server did it somewhere between the two
        asked_at = sent_at
    took_s = time.monotonic() - began
    for connection in connections:
        connection.writer.close()
    return found, took_s, lost_s


def test_a_thousand_at_once_let_the_burst_through(pennon: Running) -> None:
    found, took_s = asyncio.run(flood(pennon.port, [request(RATED, "u")] * 1_000))
    assert found.total() == 1_000
    assert set(found) == {"200", "rate_limit_exceeded"}
    # 50, and one for each 20 ms that the thousand took.
    assert 50 <= found["200"] <= 51 + 50 * took_s, (found, took_s)


@pytest.mark.heavy
def test_a_thousand_a_second_for_ten_seconds_let_the_rate_through(pennon: Running) -> None:
    found, took_s, lost_s = asyncio.run(trickle(pennon.port, request(STEADY, "u"), 1_000, 10.0))
    expected = 50 + 50 * took_s
    assert found.total() == 10_000
    assert 0.98 * (expected - 50 * lost_s) <= found["200"] <= 1.02 * expected, (found, took_s, lost_s)


def test_cap_of_a_thousand_lets_exactly_a_thousand_of_many_in(pennon: Running) -> None:
    requests = [request(CAPPED, f"user-{number}") for number in range(USERS)]
    found, _ = asyncio.run(flood(pennon.port, requests))
    assert found == {"200": 1_000, "monthly_active_users_exceeded": USERS - 1_000}


@pytest.mark.heavy
def test_users_let_in_stay_in_over_a_restart_and_no_one_else_comes_in(tmp_path: Path) -> None:
    data = tmp_path / "data"
    publish_world(data)
    requests = [request(CAPPED, f"user-{number}") for number in range(2_000)]
    let_in: set[int] = set()

    async def ask_all(port: int) -> set[int]:
        (connection,) = await connect(port, 1)
        answers = [await connection.ask(requests[at : at + DEPTH]) for at in range(0, len(requests), DEPTH)]
        flat = [answer for part in answers for answer in part]
        connection.writer.close()
        return {number for number, answer in enumerate(flat) if answer == "200"}

    for signal_number in (15, 9):
        running = start(tmp_path / "log", "--workers", "2", data=data, environment=SMALL_WINDOWS)
        found = asyncio.run(ask_all(running.port))
        assert len(found) == 1_000
        assert let_in in (set(), found)
        let_in = found
        running.stop(signal_number)
    running = start(tmp_path / "log", "--workers", "1", data=data, environment=SMALL_WINDOWS)
    assert asyncio.run(ask_all(running.port)) == let_in
    assert running.stop() == 0
