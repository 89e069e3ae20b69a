"""The native entrance against the handler behind it: requests of any shape, by both interfaces, are answered alike,
counted alike, held to the same limits, and leave the same behind."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanion.config import Config
from fanion.dialects import served
from fanion.dialects.wire.services import Services
from fanion.errors import StoreError
from fanion.http import entrance, rsgi
from fanion.http.app import make_handler
from fanion.http.asgi import Handle
from fanion.http.request import BodyWatch
from fanion.process.lane import LaneLoop
from tests.unit.http_standins import FakeCounters, FakeJournal, FakeLimiter, FakeSnapshots
from tests.unit.test_http_rsgi import Headers, Proto, Scope

UUID = "5B1F6A52-0000-4000-8000-00000000000A"
PATHS = [
    "/v1/evaluate/bulk",
    "/v1/evaluate",
    "/feather/v1/evaluate/bulk",
    "/v1/telemetry/events",
    "/v1/sdk/context",
    "/v1/events",
    "/v1/variables",
    "/v1/variables/one%2Ftwo",
    "/ofrep/v1/evaluate/flags/open",
    "/ofrep/v1/evaluate/flags",
    "/fanion/v1/events",
    "/v1/projects/p/usage?days=3",
    "/v1/config/p?env=e",
    "/v1//evaluate",
    "/healthz",
    "/nowhere",
]
EVENT = (
    b'{"flagKey":"f","flagId":"i","environmentId":"e","orgId":"org_01hx","value":1,"reason":"DEFAULT",'
    b'"sdkType":"server","sdkVersion":"1","evaluatedAt":"2026-01-01T00:00:00Z"}'
)
BODIES = [
    b'{"flags":["open","none"],"context":{"userId":"u"}}',
    b'{"flagKey":"open","context":{"attributes":{"a":1}}}',
    b'{"flags":["open"],"context":{},"more":[' + b"[" * 200 + b"]" * 200 + b"]}",
    b'\xef\xbb\xbf{"flagKey":"op\\ud800en","context":{}}',
    b'{"context":{"targetingKey":"u"}}',
    b'{"events":[' + b",".join([EVENT] * 9) + b"]}",
    b'{"flags":["open"],"context":{"attributes":{"a":' + b"1" * 600 + b"}}}",
    b'{"flags":["open"],"context":{"userId":"' + b"x" * 70_000 + b'"}}',
    b"",
    b"no",
]
KEYS = ["sk_demo_server", "pk_demo_client", "sk_other", "sk_traffical", "sk_events", "sk_nobody", UUID]


class Asked(NamedTuple):
    """`moved`: the generation moves while the body is on its way. `broken`: it ends before its declared length."""

    path: str
    method: str
    headers: list[tuple[str, str]]
    pieces: list[bytes]
    moved: bool
    broken: bool


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    body = draw(st.sampled_from(BODIES))
    headers = [("host", "here"), ("content-type", "application/json")]
    key = draw(st.sampled_from(KEYS[:2] * 4 + KEYS))
    headers.append(
        draw(
            st.sampled_from(
                [
                    *[("authorization", f"Bearer {key}")] * 4,
                    ("authorization", f"bearer  {key} "),
                    ("x-api-key", key),
                    ("x-sdk-key", key),
                ]
            )
        )
    )
    pieces = [body]
    if draw(st.booleans()):
        change = draw(st.integers(0, 9))
        if change == 0:
            headers.append(draw(st.sampled_from(headers)))
        elif change == 1:
            del headers[draw(st.integers(0, len(headers) - 1))]
        elif change == 2:
            headers.append(("content-encoding", "gzip"))
            body = gzip.compress(body)
            pieces = [body]
        elif change == 3:
            headers.append(
                draw(st.sampled_from([("x-api-key", "k"), ("authorization", "Basic k"), ("x", "")]))
            )
        elif change == 4:
            cut = draw(st.integers(0, len(body)))
            pieces = [piece for piece in (body[:cut], body[cut:]) if piece] or [b""]
        elif change == 5:
            at = draw(st.integers(0, max(len(body) - 1, 0)))
            body = body[:at] + draw(st.sampled_from([b"", b'"', b"}", b"\xff", b"0"])) + body[at + 1 :]
            pieces = [body]
    length = draw(st.sampled_from([str(len(body))] * 12 + ["0", "+1", "5000000", "9" * 40, ""]))
    if length.isdigit() and int(length) < 5_000_000 and int(length) != len(body):
        pieces = [b""]  # a server hands over no more than was declared
    if length:
        headers.append(("content-length", length))
    elif body:
        headers.append(("transfer-encoding", "chunked"))
    method = draw(st.sampled_from(["POST"] * 6 + ["GET", "OPTIONS", "PUT"]))
    moved, broken = draw(st.integers(0, 7)) == 0, draw(st.integers(0, 7)) == 0
    return Asked(draw(st.sampled_from(PATHS)), method, headers, pieces, moved, broken)


class Same:
    """Ids, and times, that are always the same."""

    def take(self) -> bytes:
        return b"9fd3e4bc-5f2a-4ba2-b7f4-8a74054b8132"

    def text(self, now_ns: int | None = None) -> bytes:
        return b"2026-02-01T10:30:00.123Z"


class World:
    """A worker's parts; `state` is what a request leaves in them."""

    confirmed_at = time.monotonic() + 1e6  # an answer's age is none, however long it takes here

    def __init__(self, wait_s: float, fault: bool) -> None:
        same = cast("Any", Same())
        self.snapshots, self.journal = FakeSnapshots(), FakeJournal()
        self.snapshots.snapshot.confirmed_at = self.confirmed_at
        self.limiter, self.counters = FakeLimiter(), FakeCounters()
        self.limiter.wait_s = wait_s
        if fault:
            self.snapshots.error = StoreError("store: gone")
        self.services = Services(
            Config(), self.snapshots, self.journal, self.limiter, self.counters, ids=same, clock=same
        )

    def move(self) -> None:
        self.snapshots.snapshot = type(self.snapshots.snapshot)(2)
        self.snapshots.snapshot.confirmed_at = self.confirmed_at
        del self.snapshots.snapshot.keys[b"sk_demo_server"]

    def state(self) -> object:
        records = [{**record, "received_ns": 0} for record in self.journal.records]
        return self.counters.seen, self.limiter.taken, records


async def by_asgi(handle: Handle, asked: Asked, world: World) -> object:
    left = list(asked.pieces)
    sent: list[object] = []

    async def receive() -> Any:
        if asked.moved:
            world.move()
        if left:
            piece = left.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(left) or asked.broken}
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        sent.append(message)

    raw_path, _, query = asked.path.partition("?")
    scope: Any = {
        "type": "http",
        "http_version": "1.1",
        "method": asked.method,
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "client": ("127.0.0.1", 1),
        "headers": [(name.encode(), value.encode()) for name, value in asked.headers],
    }
    await asyncio.get_running_loop().create_task(handle(scope, receive, send))  # type: ignore[arg-type]
    return sent


class MovingProto(Proto):
    def __init__(self, asked: Asked, move: Callable[[], None]) -> None:
        super().__init__(*filter(None, asked.pieces), broken=asked.broken)
        self.move = move if asked.moved else None

    def __anext__(self) -> Awaitable[bytes]:
        if self.move is not None:
            self.move()
        return super().__anext__()


def request_of(asked: Asked, world: World) -> tuple[Scope, MovingProto]:
    named: dict[str, str] = {}
    scope = Scope(asked.path.replace("%2F", "/"), Headers(named | dict(asked.headers)))
    scope.path, _, scope.query_string = scope.path.partition("?")  # type: ignore[misc]
    scope.method = asked.method  # type: ignore[misc]
    scope.headers.items = lambda: asked.headers  # type: ignore[method-assign,assignment,return-value]
    return scope, MovingProto(asked, world.move)


async def by_rsgi(application: rsgi.Application, asked: Asked, world: World) -> object:
    scope, proto = request_of(asked, world)
    made: Any = application(scope, proto)  # type: ignore[arg-type]
    await asyncio.get_running_loop().create_task(made)
    return proto.answer, proto.sent


async def in_lane(application: rsgi.Application, asked: Asked, world: World) -> object:
    """As `by_rsgi`, but handed over by another thread, to a loop whose lane is open."""
    scope, proto = request_of(asked, world)
    loop, threads = asyncio.get_running_loop(), set()
    over: asyncio.Future[None] = loop.create_future()

    async def watched() -> None:
        threads.add(threading.get_ident())
        try:
            await application(scope, proto)  # type: ignore[arg-type]
        finally:
            over.set_result(None)

    def run(coroutine: Any, _: None) -> None:
        loop.create_task(coroutine)

    await asyncio.to_thread(lambda: loop.call_soon_threadsafe(run, watched(), None))
    await over
    assert threading.get_ident() not in threads
    return proto.answer, proto.sent


def handler_by_rsgi(services: Services, watch: BodyWatch) -> rsgi.Application:
    handle = make_handler(
        services,
        served(),
        watch,
        outgoing=rsgi.Held(services.config.limits.answers_bytes_max),
        headers_of=rsgi.headers_of,
        first_piece=rsgi.first_piece,
        at_once=rsgi.at_once,
    )
    return rsgi.make_application(handle)


def in_open_lane(services: Services, watch: BodyWatch) -> rsgi.Application:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, LaneLoop)
    loop.lane.open = True
    return entrance.by_rsgi(services, served(), watch, None, loop.lane)


class Way(NamedTuple):
    """What is held against what, and how each is asked, on a loop of which kind."""

    native: Callable[..., Any]
    ask: Callable[..., Awaitable[object]]
    reference: Callable[..., Any]
    ask_reference: Callable[..., Awaitable[object]]
    loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop


WAYS = {
    "asgi": Way(
        lambda services, watch: entrance.by_asgi(services, served(), watch),
        by_asgi,
        lambda services, watch: make_handler(services, served(), watch),
        by_asgi,
    ),
    "rsgi": Way(
        lambda services, watch: entrance.by_rsgi(services, served(), watch),
        by_rsgi,
        handler_by_rsgi,
        by_rsgi,
    ),
    "lane": Way(in_open_lane, in_lane, handler_by_rsgi, by_rsgi, LaneLoop),
}


async def answered(
    make: Callable[..., Any], ask: Callable[..., Awaitable[object]], asked: Asked, wait_s: float, fault: bool
) -> tuple[object, object]:
    world = World(wait_s, fault)
    watch = BodyWatch(asyncio.get_running_loop(), world.services.config.limits)
    answer = await ask(make(world.services, watch), asked, world)
    assert not watch.waiting
    return answer, world.state()


def asked_of(way: Way, *args: Any) -> tuple[object, object]:
    """What the native side answers."""
    with asyncio.Runner(loop_factory=way.loop) as runner:
        return runner.run(answered(way.native, way.ask, *args))


@pytest.mark.parametrize("interface", WAYS)
@given(
    asked=requests(), wait_s=st.sampled_from([0.0] * 5 + [3.0]), fault=st.sampled_from([False] * 9 + [True])
)
def test_the_entrance_answers_as_the_handler_does(
    interface: str, asked: Asked, wait_s: float, fault: bool
) -> None:
    way = WAYS[interface]
    expected = asyncio.run(answered(way.reference, way.ask_reference, asked, wait_s, fault))
    assert asked_of(way, asked, wait_s, fault) == expected


@pytest.mark.parametrize("interface", WAYS)
def test_what_is_usual_never_sees_the_handler(interface: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would compare the handler with itself."""
    headers = [
        ("host", "h"),
        ("authorization", "Bearer sk_demo_server"),
        ("content-length", str(len(BODIES[0]))),
    ]
    usual = Asked("/v1/evaluate/bulk", "POST", headers, [BODIES[0]], False, False)

    async def never(*_: object) -> None:
        raise AssertionError("asked the handler")

    monkeypatch.setattr(entrance, "make_handler", lambda *_, **__: never)
    monkeypatch.setattr(rsgi, "make_application", lambda _: never)
    answer, _ = asked_of(WAYS[interface], usual, 0.0, False)
    assert b'"open":{"value":true' in str(answer).encode()
