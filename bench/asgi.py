"""The ASGI application of one worker, driven in process: no socket, no HTTP parsing, everything else real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fanion.config import Config
from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.services import Services
from fanion.engine.evaluator import open_environment
from fanion.http.app import make_handler
from fanion.http.request import BodyWatch
from fanion.model.api_key import KeyRecord
from fanion.store.reload import Reloader
from fanion.store.store import Store

REQUESTS = 100
"""Requests to one turn of the event loop, so that starting it costs next to nothing."""


class Snapshot:
    """One mapped environment and one key that opens it."""

    number = 1

    def __init__(self, bundle: Any, dialect: Dialect, raw_key: bytes, environment: str) -> None:
        self.confirmed_at = time.monotonic()
        self.bound = {dialect.name: dialect.bind(bundle)}
        self._raw_key = raw_key
        self._record = KeyRecord(
            id="key_bench", environment=environment, organisation="org_bench", kind="server"
        )

    def current(self) -> Snapshot:
        return self

    def key(self, raw_key: bytes) -> KeyRecord | None:
        return self._record if raw_key == self._raw_key else None

    known_key = key

    def view(self, environment: str) -> Any:
        return self


class View:
    def __init__(self, bound: dict[str, Any]) -> None:
        self.bound = bound


class Worker:
    """A data directory's store as a worker has it open; `reloader` takes a snapshot's place."""

    def __init__(self, data: Path, dialect: Dialect) -> None:
        self.store = Store.open(data)

        def make_view(environment: str, buffer: memoryview, unit_key: object) -> View:
            def is_member(name: str, member: str) -> bool:
                return self.reloader.serving.member(environment, name, member.encode())

            return View({dialect.name: dialect.bind(open_environment(environment, buffer, is_member))})

        self.reloader: Reloader[View] = Reloader(self.store, self.store.word, make_view)

    def close(self) -> None:
        self.reloader.close()
        self.store.close()


class Quiet:
    """Limits and counts that cost nothing, so that they are not what is measured."""

    def answered(self, dialect: str, endpoint: str, status: int) -> None:
        return None

    def take(self, scope_hash: int, rate_per_s: float, burst: int, cost: int = 1) -> float:
        return 0.0


class Driver:
    """Sends one request `REQUESTS` times a call, on an event loop of its own."""

    def __init__(self, snapshot: Any, dialects: Sequence[Dialect], journal: Any = None) -> None:
        quiet: Any = Quiet()
        self.loop = asyncio.new_event_loop()
        services = Services(Config(), snapshot, journal, quiet, quiet)

        async def make() -> Any:
            return make_handler(services, dialects, BodyWatch(self.loop, services.config.limits))

        self.handle = self.loop.run_until_complete(make())

    def close(self) -> None:
        self.loop.close()

    def request(
        self, path: str, body: bytes, headers: dict[str, str], count: int = REQUESTS, method: str = "POST"
    ) -> bytes:
        """The last answer's body; raises AssertionError where the last status is no success (304 is one)."""
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        pairs += [(b"host", b"localhost"), (b"content-length", b"%d" % len(body))]
        scope = {
            "type": "http",
            "method": method,
            "raw_path": path.encode(),
            "path": path,
            "query_string": b"",
            "headers": pairs,
            "http_version": "1.1",
            "client": ("127.0.0.1", 1),
        }
        return self.loop.run_until_complete(self._requests(scope, body, count))

    async def _requests(self, scope: dict[str, Any], body: bytes, count: int) -> bytes:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        for _ in range(count):
            sent.clear()
            await self.handle(scope, receive, send)
        assert sent[0]["status"] < 300 or sent[0]["status"] == 304, sent
        answer: bytes = sent[1]["body"]
        return answer
