"""The parts of Fanion that the gate's rows are made of, opened as a worker opens them; no other is used.

Kept thin and in one place, so that an older commit can be measured by the same rows.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench import bench_expression, exposures
from bench.gate import worlds
from fanion import app
from fanion._core.exposures import MarkTable, Recorder
from fanion.auth.limiter import Limiter
from fanion.bundle.compiler import compile_bundle
from fanion.config import Config, Server, Store
from fanion.definitions import load
from fanion.dialects import canonical_forms, served, vocabulary
from fanion.engine.evaluator import Bundle, open_environment
from fanion.journal.columns import Expander
from fanion.journal.reader import JournalReader
from fanion.journal.session import adopt
from fanion.journal.settings import JournalSettings
from fanion.journal.storage import Storage
from fanion.journal.writer import JournalState, JournalWriter
from fanion.process import worker
from fanion.process.lane import LaneLoop
from fanion.process.supervisor import Place
from fanion.telemetry.heartbeats import Heartbeats
from fanion.telemetry.metrics import Metrics

MAP_BYTES = 256 << 20
"""Valgrind grants no map of the size that a server takes."""

CONTEXT: tuple[Any, Any, Any] = ({"userId": "user_123"}, {"country": "DE", "plan": "pro"}, None)
OTHER: tuple[Any, Any, Any] = ({"userId": "user_123"}, {"country": "FR", "plan": "free"}, None)


class Core:
    """The compiled core over the gate's world, asked without any dialect's code around it."""

    def __init__(self, folder: Path) -> None:
        loaded = load([worlds.write(folder)], vocabulary())
        (lowered,) = [one for one in loaded.environments if one.environment == "env_gate"]
        table = {"feather": app.renderers()["feather"]}
        self.bundle: Bundle = open_environment("env_gate", compile_bundle(lowered, table))
        self.table = self.bundle.table("feather")

    def kernel(self, runs: int) -> Any:
        """One flag's decision over slots that are bound once."""
        return self.bundle.repeat(self.bundle.decision(self.table, "flag-500"), runs, *CONTEXT)

    def one(self, context: tuple[Any, Any, Any]) -> bytes:
        """From a dict to JSON bytes."""
        return self.bundle.put_one(self.table, "flag-500", False, *context, b"{", b"}")

    def fifty(self, keys: list[str]) -> bytes:
        return self.bundle.ask(*CONTEXT).put_map(self.table, keys, False, b"{", b"}")


class Computed:
    """A rule of flagd's format that is computed, and the same as branches."""

    def __init__(self) -> None:
        self.bundle = bench_expression.opened("two conditions")

    def ask(self, *, plain: bool = False) -> int:
        """From a dict to the outcome's number."""
        context = bench_expression.CONTEXT
        return self.bundle.ask(context.members, context.attributes, ()).evaluate(0 if plain else 1)[0]


class Recorded:
    """An environment whose splits are recorded, asked for one unit again and again."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.marks = MarkTable(str(folder / "marks"), 1 << 12)
        self.recorder = Recorder(self.marks)
        settings = JournalSettings(raise_priority=False, reserve_bytes=0, compress=False, stall_ms=60_000.0)
        self.journal = JournalWriter.open(folder, settings, self.loop)
        self.journal.lend(self.recorder.lend)
        made = exposures.worlds(folder).values()
        (self.bundle,) = [one for one in made if one.table("feather") >= 0]
        self.table = self.bundle.table("feather")
        (feather,) = [dialect for dialect in served() if dialect.name == "feather"]
        assert feather.units is not None
        places = feather.units(self.bundle)
        told: dict[str, Any] = {"assigned": False, "anonymous": False, "carried": None}
        self.bundle.expose(self.table, self.recorder, "feather", places, **told)

    def ask(self) -> Any:
        return exposures.feather(self.bundle, self.table, "user_123")

    def counts(self) -> dict[str, int]:
        return self.recorder.counts()

    def close(self) -> None:
        self.journal.close()
        self.marks.close()
        self.loop.close()


class StandIn:
    """A journal that takes everything and is durable at once: the event loop's thread is alone."""

    identity = (0, 1)
    first_sequence = 1

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.next_sequence = 1
        self.taken = 0
        self._done: asyncio.Future[None] = loop.create_future()
        self._done.set_result(None)

    def append(self, *, body: bytes, **_rest: Any) -> int:
        self.taken += len(body)
        self.next_sequence += 1
        return self.next_sequence - 1

    def durable(self, sequence: int) -> asyncio.Future[None]:
        return self._done

    def lend(self, take: Callable[[Any], None]) -> None:
        take(None)

    def state(self) -> JournalState:
        return JournalState(True)

    def metrics(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


def scope_of(request: worlds.Request) -> dict[str, Any]:
    """An ASGI scope but for its headers."""
    return {
        "type": "http",
        "method": request.method,
        "raw_path": request.path.encode(),
        "path": request.path,
        "query_string": b"",
        "http_version": "1.1",
        "client": ("127.0.0.1", 1),
    }


class Served:
    """The ASGI application of a worker over the gate's world, without a socket and with a stand-in journal."""

    server = Server()
    make_loop: Callable[[], asyncio.AbstractEventLoop] = staticmethod(asyncio.new_event_loop)

    def __init__(self, folder: Path) -> None:
        config, data = Config(store=Store(map_bytes=MAP_BYTES), server=self.server), folder / "data"
        app.publish(data, load([worlds.write(folder)], vocabulary()), config)
        Limiter.prepare(data, config.limiter.slots)
        Metrics.prepare(data)
        self.loop = self.make_loop()
        self.journal = StandIn(self.loop)
        place = Place(lambda notice: None, lambda: None, Heartbeats(1).rows[0], port=0, successor=False)
        made = worker.Worker(data, config, served(), place)
        self.application: Any = made.application()
        opened: Any = worker
        real = opened.JournalWriter
        opened.JournalWriter = type("Opened", (), {"open": lambda *_: self.journal})
        try:
            self.begin()
        finally:
            opened.JournalWriter = real

    def begin(self) -> None:
        self.loop.run_until_complete(self.start())

    async def start(self) -> None:
        started, self.kept = asyncio.Event(), asyncio.Event()
        told: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if told:
                await self.kept.wait()
            return {"type": "lifespan.startup"}

        async def send(message: dict[str, Any]) -> None:
            told.append(message)
            started.set()

        self.lifespan = asyncio.ensure_future(self.application({"type": "lifespan"}, receive, send))
        await started.wait()
        assert told[0]["type"] == "lifespan.startup.complete", told
        await asyncio.sleep(0.1)  # the event-id windows are made ready beside

    def close(self) -> None:
        async def stop() -> None:
            self.kept.set()
            await self.lifespan
            await self.loop.shutdown_default_executor()

        self.loop.run_until_complete(stop())
        self.loop.close()

    def ask(self, request: worlds.Request, bodies: list[bytes]) -> list[dict[str, Any]]:
        """One request for each body, in one turn of the event loop; the last answer's messages."""
        headers = [(name.encode(), value.encode()) for name, value in request.headers.items()]
        headers.append((b"host", b"localhost"))
        return self.loop.run_until_complete(self._ask(scope_of(request), headers, bodies))

    async def _ask(
        self, scope: dict[str, Any], headers: list[tuple[bytes, bytes]], bodies: list[bytes]
    ) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        body = b""

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        for body in bodies:
            sent.clear()
            length = (b"content-length", b"%d" % len(body))
            await self.application({**scope, "headers": [*headers, length]}, receive, send)
        return sent


class Headers(dict[str, str]):
    """Of a request, as RSGI has them; each is there once."""


class Scope(NamedTuple):
    """A request's line and headers, as RSGI has them."""

    method: str
    path: str
    headers: Headers
    query_string: str = ""
    http_version: str = "1.1"
    client: str = "127.0.0.1:1"


class Proto:
    """Its body, there at once, and its answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, body: bytes) -> None:
        self._piece: asyncio.Future[bytes] = loop.create_future()
        self._piece.set_result(body)
        self.status = 0

    def __aiter__(self) -> Proto:
        return self

    def __anext__(self) -> asyncio.Future[bytes]:
        return self._piece

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status


class ServedByRsgi(Served):
    """The same by the other interface."""

    server = Server(interface="rsgi")

    def begin(self) -> None:
        self.application.__rsgi_init__(self.loop)
        self.loop.run_until_complete(asyncio.sleep(0.1))  # as above

    def close(self) -> None:
        self.application.__rsgi_del__(self.loop)
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def ask(self, request: worlds.Request, bodies: list[bytes]) -> list[dict[str, Any]]:
        headers = Headers({**request.headers, "host": "localhost"})
        return self.loop.run_until_complete(self._answer(request, headers, bodies))

    async def _answer(
        self, request: worlds.Request, headers: Headers, bodies: list[bytes]
    ) -> list[dict[str, Any]]:
        for body in bodies:
            headers["content-length"] = str(len(body))
            proto = Proto(self.loop, body)
            await self.application(Scope(request.method, request.path, headers), proto)
        return [{"status": proto.status}]


class ServedInLane(ServedByRsgi):
    """The same, handed over as the HTTP server's threads do it."""

    make_loop = LaneLoop

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for request in worlds.requests():  # a path is known by its second request
            super().ask(request, [request.body])

    def close(self) -> None:
        asyncio._set_running_loop(None)  # who steps requests has it
        super().close()

    def ask(self, request: worlds.Request, bodies: list[bytes]) -> list[dict[str, Any]]:
        headers, loop = Headers({**request.headers, "host": "localhost"}), self.loop

        def never(*_: object) -> None:
            raise AssertionError("a task was made")

        for body in bodies:
            headers["content-length"] = str(len(body))
            proto = Proto(loop, body)
            coroutine = self.in_lane(Scope(request.method, request.path, headers), proto)
            loop.call_soon_threadsafe(never, coroutine, None)
        return [{"status": proto.status}]

    async def in_lane(self, scope: Scope, proto: Proto) -> None:
        await self.application(scope, proto)


class Log:
    """A journal of `records` batches as an unclean end leaves it."""

    def __init__(self, folder: Path, records: int, body: bytes, dialect: str = "feather") -> None:
        self.storage = Storage()
        self.settings = JournalSettings(
            compress=False, raise_priority=False, reserve_bytes=0, stall_ms=60_000.0
        )
        asyncio.run(self.fill(folder, records, body, dialect))
        self.directory = folder / "left"
        self.slot = (self.directory / "journal" / "000.slot").read_bytes()

    async def fill(self, folder: Path, records: int, body: bytes, dialect: str) -> None:
        (folder / "written").mkdir()
        journal = JournalWriter.open(folder / "written", self.settings, asyncio.get_running_loop())
        member = {"dialect": dialect, "environment": "env_gate", "whole": True}
        for _ in range(records):
            sequence = journal.append(received_ns=time.time_ns(), body=body, **member)
            if sequence % 100 == 0:
                await journal.durable(sequence)
        await journal.durable(sequence)
        shutil.copytree(folder / "written", folder / "left", ignore=shutil.ignore_patterns("*.tmp"))
        journal.close()

    def read(self) -> int:
        return sum(1 for _ in JournalReader(self.directory).read())

    def columns(self) -> int:
        """Every event as a row, in columns."""
        expander = Expander(canonical_forms())
        for batch in JournalReader(self.directory).read_batches():
            expander.add(batch)
        rows = expander.rows
        expander.take()
        return rows

    def recover(self) -> int:
        """What a server does with a writer's log after a kill. The slot's state is put back first."""
        (self.directory / "journal" / "000.slot").write_bytes(self.slot)
        recovered = adopt(self.storage, self.directory / "journal", 0, self.settings)
        assert recovered is not None
        return recovered.next_sequence


Run = Callable[[], Any]
