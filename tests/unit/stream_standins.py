"""A worker's event streams with all that stands around them: a generation, a connection, the world."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from fanion.config import Config, Server
from fanion.dialects.wire.endpoint import Route
from fanion.dialects.wire.fault import Fault
from fanion.dialects.wire.reply import Head, Headers
from fanion.dialects.wire.stream import SSE, Listener, StreamEndpoint
from fanion.errors import StoreError
from fanion.http import streams as module
from fanion.http.app import make_handler
from fanion.http.request import BodyWatch
from fanion.http.streams import Streams
from fanion.model.api_key import KeyRecord
from tests.unit.http_standins import DIALECT, FakeCounters, FakeJournal, FakeLimiter, Services

KEY = b"k" * 32


class Snapshot:
    """A generation: what each environment is answered from, and what each key opens."""

    def __init__(self, number: int, **contents: bytes) -> None:
        self.number = number
        self.contents = {"production": b"one", **contents}
        self.holders: dict[bytes, KeyRecord] = {KEY: record()}
        self.broken = False

    def content(self, environment: str) -> bytes:
        if self.broken:
            raise StoreError("the store can't be read")
        return self.contents[environment]

    def holder(self, key_hash: bytes) -> KeyRecord | None:
        if self.broken:
            raise StoreError("the store can't be read")
        return self.holders.get(key_hash)


def record(**members: Any) -> KeyRecord:
    return KeyRecord(
        **{"id": "k", "environment": "production", "organisation": "o", "kind": "client"} | members
    )


class Peer:
    """A connection: `text` is what it took; while it doesn't read, a send waits."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()
        self.reading.set()
        self.left = asyncio.Event()
        self.full = False
        self.sent: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []

    async def receive(self) -> Any:
        if self.messages:
            return self.messages.pop()
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> bool:
        self.sent.append(message)
        await self.reading.wait()
        return self.full

    @property
    def status(self) -> int:
        found: int = self.sent[0]["status"]
        return found

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def text(self) -> str:
        return b"".join(message["body"] for message in self.sent[1:]).decode()

    @property
    def is_over(self) -> bool:
        return self.sent[-1].get("more_body") is False


class World:
    """One worker's streams. `time`: monotonic seconds, `unix` those that tokens are judged by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **server: Any) -> None:
        self.time, self.unix = 1_000.0, 5_000.0
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.time))
        self.snapshot = Snapshot(1)
        self.listener = Listener(record(), KEY, 9_000.0, None)
        self.refused: Fault | None = None
        config = msgspec.structs.replace(Config(), server=Server(**server))
        snapshots: Any = SimpleNamespace(current=lambda: self.snapshot)
        self.counters = FakeCounters()
        self.services = Services(config, snapshots, FakeJournal(), FakeLimiter(), self.counters)
        self.services.token_ns = lambda: int(self.unix * 1e9)
        loop = asyncio.get_running_loop()
        self.streams = Streams(self.services, loop)
        endpoint = StreamEndpoint(
            "stream",
            Head(200, SSE),
            self.listen,
            lambda state, retry: b"<%b>" % state,
            lambda state: b"!%b" % state,
            scope="listen",
        )
        dialect = replace(DIALECT, routes=lambda services: [Route(b"/stream", {}, stream=endpoint)])
        watch = BodyWatch(loop, config.limits)
        self.handle = make_handler(self.services, [dialect], watch, self.streams)
        self.tasks: list[asyncio.Task[None]] = []

    def listen(self, snapshot: Any, query: bytes, headers: Headers) -> Listener:
        if self.refused is not None:
            raise self.refused
        return self.listener

    async def open(self, method: str = "GET", peer: Peer | None = None, **headers: str) -> Peer:
        peer = peer or Peer()
        scope: Any = {
            "http_version": "1.1",
            "method": method,
            "raw_path": b"/stream",
            "query_string": b"",
            "client": ("127.0.0.1", 1),
            "headers": [(b"host", b"a"), *((n.encode(), v.encode()) for n, v in headers.items())],
        }
        self.tasks.append(asyncio.ensure_future(self.handle(scope, peer.receive, peer.send)))
        await turns()
        return peer

    async def publish(self, **contents: bytes) -> None:
        self.snapshot = Snapshot(self.snapshot.number + 1, **contents)
        await self.look()

    async def look(self, passed_s: float = 0.1) -> None:
        self.time += passed_s
        self.unix += passed_s
        self.streams.look()
        await turns()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert len(self.streams) == 0


async def turns(count: int = 12) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
