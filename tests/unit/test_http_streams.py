"""Event streams of one worker: who is told what, when a stream ends, and what is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from fanion.config import Config, Server
from fanion.dialects.wire.endpoint import Route
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import Head, Headers
from fanion.dialects.wire.stream import HEARTBEAT, SSE, Listener, StreamEndpoint
from fanion.errors import StoreError
from fanion.http import streams as module
from fanion.http.app import make_handler
from fanion.http.request import BodyWatch
from fanion.http.streams import RECENT_S, SLICE, Streams
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


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a story in a world of its own, whose streams all end with it."""

    def start(story: Callable[[World], Awaitable[None]], **server: Any) -> None:
        async def whole() -> None:
            world = World(monkeypatch, **server)
            await story(world)
            await world.close()

        asyncio.run(whole())

    return start


Run = Callable[..., None]


# -- who is told


def test_a_stream_is_told_once_of_a_publish_that_touches_its_environment(run: Run) -> None:
    async def story(world: World) -> None:
        peer = await world.open()
        assert (peer.status, peer.text) == (200, "<one>")
        assert peer.headers[b"content-type"] == b"text/event-stream"
        await world.publish(production=b"two")
        await world.look()
        await world.look()
        assert peer.text == "<one>!two"

    run(story)


def test_a_publish_that_changes_nothing_of_the_environment_tells_nobody(run: Run) -> None:
    async def story(world: World) -> None:
        peer = await world.open()
        await world.publish(other=b"new")
        assert peer.text == "<one>"
        await world.publish(production=b"two")
        await world.publish(production=b"two", other=b"newer")
        assert peer.text == "<one>!two"

    run(story)


def test_a_client_that_has_another_state_is_told_at_once(run: Run) -> None:
    async def story(world: World) -> None:
        world.listener = world.listener._replace(known=b"one")
        assert (await world.open()).text == "<one>"
        world.listener = world.listener._replace(known=b"zero")
        assert (await world.open()).text == "<one>!one"

    run(story)


def test_a_client_that_says_nothing_is_told_of_a_publish_that_it_may_just_have_missed(run: Run) -> None:
    async def story(world: World) -> None:
        world.snapshot = Snapshot(2, production=b"two")  # no look has seen it yet
        before = await world.open()
        await world.look()
        assert before.text == "<two>!two"
        assert (await world.open()).text == "<two>!two"
        await world.look(RECENT_S)
        assert (await world.open()).text == "<two>"

    run(story)


def test_every_one_of_many_streams_is_told_by_one_look(run: Run) -> None:
    async def story(world: World) -> None:
        peers = [await world.open() for _ in range(3 * SLICE + 1)]
        await world.publish(production=b"two")
        await turns()
        assert {peer.text for peer in peers} == {"<one>!two"}

    run(story, stream_heartbeat_s=600)


def test_a_generation_that_comes_while_many_are_told_reaches_all_of_them(run: Run) -> None:
    async def story(world: World) -> None:
        peers = [await world.open() for _ in range(3 * SLICE)]
        world.snapshot = Snapshot(2, production=b"two")
        world.streams.look()
        await asyncio.sleep(0)  # the first slice
        await world.publish(production=b"three")
        await turns()
        assert {peer.text for peer in peers} <= {"<one>!two!three", "<one>!three"}

    run(story, stream_heartbeat_s=600)


def test_a_state_that_can_not_be_said_now_tells_nobody_and_ends_nothing(run: Run) -> None:
    async def story(world: World) -> None:
        peer = await world.open()
        world.snapshot = Snapshot(2)
        world.snapshot.broken = True
        await world.look()
        assert (peer.text, peer.is_over) == ("<one>", False)
        await world.publish(production=b"two")
        assert peer.text == "<one>!two"

    run(story)


# -- when it ends


@pytest.mark.parametrize(
    "now", [None, record(kind="server"), record(environment="other"), record(dialects=("other",))]
)
def test_a_stream_ends_once_its_key_opens_nothing_or_something_else(run: Run, now: KeyRecord | None) -> None:
    async def story(world: World) -> None:
        peer, other = await world.open(), await world.open()
        world.snapshot = Snapshot(2, other=b"one")
        world.snapshot.holders = {} if now is None else {KEY: now}
        await world.look()
        assert peer.is_over
        assert other.is_over
        assert peer.text == "<one>"
        assert all(task.done() and task.exception() is None for task in world.tasks)

    run(story)


def test_a_stream_ends_when_its_address_does(run: Run) -> None:
    async def story(world: World) -> None:
        world.listener = world.listener._replace(ends_at=world.unix + 30)
        peer = await world.open()
        await world.look(29)
        assert not peer.is_over
        await world.look(15)
        assert peer.is_over

    run(story)


def test_all_streams_end_when_the_server_stops_and_no_other_begins(run: Run) -> None:
    async def story(world: World) -> None:
        peers = [await world.open() for _ in range(2 * SLICE)]
        world.services.draining = True
        world.streams.end_all()
        await turns()
        assert all(peer.is_over for peer in peers)
        assert len(world.streams) == 0
        late = await world.open()
        assert (late.status, late.headers[b"retry-after"]) == (503, b"1")

    run(story)


def test_a_peer_that_leaves_makes_room(run: Run) -> None:
    async def story(world: World) -> None:
        peer = await world.open()
        assert len(world.streams) == 1
        peer.left.set()
        await turns()
        assert len(world.streams) == 0
        await world.publish(production=b"two")
        assert peer.text == "<one>"

    run(story)


# -- bounds


def test_a_peer_that_takes_nothing_has_one_piece_on_its_way_and_is_dropped_in_time(run: Run) -> None:
    async def story(world: World) -> None:
        peer, reads = await world.open(), await world.open()
        peer.reading.clear()
        for number in range(20):
            await world.publish(production=b"%d" % number)
        assert peer.text == "<one>!0"
        await world.look(16)
        assert len(world.streams) == 1
        assert peer.text == "<one>!0"
        await turns()
        assert reads.text.count("!") == 20

    run(story, write_timeout_s=10)


def test_a_peer_that_was_slow_is_told_the_latest_only(run: Run) -> None:
    async def story(world: World) -> None:
        peer = await world.open()
        peer.reading.clear()
        for number in range(5):
            await world.publish(production=b"%d" % number)
        peer.reading.set()
        await turns()
        assert peer.text == "<one>!0!4"

    run(story)


def test_a_peer_that_does_not_even_take_the_end_is_dropped(run: Run) -> None:
    async def story(world: World) -> None:
        peer = await world.open()
        peer.reading.clear()
        world.snapshot = Snapshot(2)
        world.snapshot.holders = {}
        await world.look()
        assert len(world.streams) == 1
        await world.look(16)
        assert len(world.streams) == 0

    run(story, write_timeout_s=10)


def test_a_stream_that_its_server_takes_no_more_of_ends(run: Run) -> None:
    async def story(world: World) -> None:
        peer, other = await world.open(), await world.open()
        peer.full = True
        world.snapshot = Snapshot(2, production=b"two")
        await world.look()
        assert len(world.streams) == 1
        assert other.text == "<one>!two"

    run(story)


@pytest.mark.parametrize(("server", "most"), [({"streams_max": 3}, 3), ({"backpressure": 4}, 2)])
def test_no_more_than_the_setting_and_half_of_the_connections_stay_open(
    run: Run, server: dict[str, int], most: int
) -> None:
    async def story(world: World) -> None:
        peers = [await world.open() for _ in range(most + 1)]
        assert [peer.status for peer in peers] == [200] * most + [503]
        assert peers[-1].headers[b"retry-after"] == b"10"
        peers[0].left.set()
        await turns()
        assert (await world.open()).status == 200

    run(story, **server)


def test_heartbeats_are_spread_over_their_interval(run: Run) -> None:
    async def story(world: World) -> None:
        peers = [await world.open() for _ in range(30)]
        counts = []
        for _ in range(10):
            before = sum(len(peer.sent) for peer in peers)
            await world.look(1.0)
            counts.append(sum(len(peer.sent) for peer in peers) - before)
        assert counts == [3] * 10
        assert all(peer.text == f"<one>{HEARTBEAT.decode()}" for peer in peers)

    run(story, stream_heartbeat_s=10)


def test_a_request_that_goes_on_sending_a_body_is_dropped(run: Run) -> None:
    async def story(world: World) -> None:
        peer = Peer()
        peer.messages = [{"type": "http.request", "body": b"x", "more_body": True}] * 1_000
        await world.open(peer=peer)
        assert len(world.streams) == 0
        assert len(peer.messages) > 900

    run(story)


# -- refusals


def test_what_opens_nothing_is_refused_in_the_dialect_s_shape(run: Run) -> None:
    async def story(world: World) -> None:
        world.refused = Fault(FaultKind.UNKNOWN_KEY, "no")
        assert (await world.open()).status == 401
        world.refused = None
        world.snapshot.broken = True
        assert (await world.open()).status == 503
        assert world.counters.seen == [("feather", "stream", 401), ("feather", "stream", 503)]

    run(story)


@pytest.mark.parametrize(
    ("members", "status"),
    [({"dialects": ("other",)}, 401), ({"scopes": ("x",)}, 403), ({"scopes": ("x", "listen")}, 200)],
)
def test_a_key_without_the_api_or_the_scope_opens_no_stream(
    run: Run, members: dict[str, Any], status: int
) -> None:
    async def story(world: World) -> None:
        world.listener = world.listener._replace(record=record(**members))
        assert (await world.open()).status == status

    run(story)


@pytest.mark.parametrize(("method", "status"), [("POST", 405), ("HEAD", 405), ("OPTIONS", 204)])
def test_a_stream_is_asked_with_get_only(run: Run, method: str, status: int) -> None:
    async def story(world: World) -> None:
        assert (await world.open(method)).status == status

    run(story)
