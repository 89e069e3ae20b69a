"""RSGI's side of the handler: how a body ends, how much is held of answers, when a stream is enough."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from granian._granian import RSGIProtocolClosed as ProtocolClosed

from fanion.dialects.wire.reply import Head
from fanion.http.answers import PIECE_BYTES
from fanion.http.entrance import by_rsgi
from fanion.http.request import BodyWatch
from fanion.http.rsgi import STREAM_BYTES_MAX, Exchange, Held, Line
from tests.unit.http_standins import DIALECT, SERVER_KEY, make_services

MIB = 1 << 20


class Headers(dict[str, str]):
    """Header values by name; `unreadable` are named and not handed over."""

    unreadable: tuple[str, ...] = ()

    def __iter__(self) -> Any:
        return iter([*super().keys(), *self.unreadable])

    def __len__(self) -> int:
        return super().__len__() + len(self.unreadable)


class Scope:
    http_version = "1.1"
    client = "[::1]:4711"
    method = "POST"
    query_string = "a=\u00e9"

    def __init__(self, path: str, headers: Headers) -> None:
        self.path = path
        self.headers = headers


class Proto:
    """As Granian 2.8.9 does it: an empty piece before the end, one more where the body broke off."""

    def __init__(self, *pieces: bytes, broken: bool = False) -> None:
        self.pieces = [*pieces, *([b""] if broken else []), b""]
        self.answer: tuple[int, list[tuple[str, str]], bytes] | None = None
        self.sent: list[bytes] = []
        self.over = False

    def __aiter__(self) -> Proto:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        if not self.pieces:
            raise StopAsyncIteration
        piece = self.pieces.pop(0)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        future.set_result(piece)
        return future

    async def client_disconnect(self) -> None:
        pass

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answer = status, headers, body

    def response_stream(self, status: int, headers: list[tuple[str, str]]) -> Proto:
        self.answer = status, headers, b""
        return self

    async def send_bytes(self, data: bytes) -> None:
        if self.over:
            raise ProtocolClosed
        self.sent.append(data)


def ask(
    proto: Proto, *, unreadable: tuple[str, ...] = (), path: str = "/v1/evaluate/bulk", **more: str
) -> int:
    async def run() -> None:
        services = make_services()
        watch = BodyWatch(asyncio.get_running_loop(), services.config.limits)
        headers = Headers({"host": "a", "authorization": f"Bearer {SERVER_KEY.decode()}", **more})
        headers.unreadable = unreadable
        for name in unreadable:
            headers.pop(name, None)
        await by_rsgi(services, [DIALECT], watch)(Scope(path, headers), proto)

    asyncio.run(run())
    assert proto.answer is not None
    return proto.answer[0]


BODY = b'{"flags":["open"],"context":{}}'
DECLARED = {"content-length": str(len(BODY))}
CHUNKED = {"transfer-encoding": "chunked"}


def test_a_body_is_taken_in_one_piece_or_in_several() -> None:
    assert ask(Proto(BODY), **DECLARED) == 200
    assert ask(Proto(BODY[:5], BODY[5:]), **DECLARED) == 200
    assert ask(Proto(BODY), **CHUNKED) == 200
    assert ask(Proto(BODY[:5], BODY[5:]), **CHUNKED) == 200


def test_a_body_that_broke_off_is_refused_even_where_it_could_be_read() -> None:
    assert ask(Proto(BODY, broken=True), **CHUNKED) == 400
    assert ask(Proto(BODY, broken=True), **{"content-length": "100"}) == 400
    assert ask(Proto(broken=True), **CHUNKED) == 400


@pytest.mark.parametrize("name", ["authorization", "host", "x-a"])
def test_a_header_that_is_named_and_not_handed_over_is_refused(name: str) -> None:
    proto = Proto(BODY)
    assert ask(proto, unreadable=(name,), **DECLARED) == 400
    assert proto.answer is not None
    assert f"The header {name} has bytes beyond ASCII.".encode() in proto.answer[2]


def test_what_few_requests_are_asked_for_is_as_the_reference_has_it() -> None:
    scope = Scope("/", Headers())
    line = Line(scope=scope)
    assert line["client"] == ("::1", 4711)
    assert line["query_string"] == "a=\u00e9".encode()
    assert line["http_version"] == "1.1"
    with pytest.raises(KeyError):
        line["type"]


def test_a_large_answer_counts_until_the_server_lets_go_of_it() -> None:
    async def run() -> None:
        proto, held = Proto(), Held(MIB)
        exchange = Exchange(proto)
        payload = bytes(3 * PIECE_BYTES + 1)
        assert held.take(len(payload))
        sending = asyncio.ensure_future(held.send(Head(200, []), payload, exchange, exchange))
        while not sending.done() and b"" not in proto.sent:
            await asyncio.sleep(0)
        assert proto.answer == (200, [("content-length", str(len(payload)))], b"")
        assert b"".join(proto.sent) == payload
        assert held.bytes_held == len(payload)
        proto.over = True
        await sending
        assert held.bytes_held == 0

    asyncio.run(run())


def test_a_large_answer_to_a_peer_that_has_left_frees_its_share() -> None:
    async def run() -> None:
        proto, held = Proto(), Held(MIB)
        proto.over = True
        assert held.take(PIECE_BYTES + 1)
        exchange = Exchange(proto)
        await held.send(Head(200, []), bytes(PIECE_BYTES + 1), exchange, exchange)
        assert held.bytes_held == 0

    asyncio.run(run())


def test_a_stream_is_enough_at_the_bound_plus_one() -> None:
    async def run() -> None:
        exchange = Exchange(Proto())
        assert not await exchange({"type": "http.response.start", "status": 200, "headers": []})
        body = {"type": "http.response.body", "more_body": True}
        assert not await exchange({**body, "body": bytes(STREAM_BYTES_MAX)})
        assert await exchange({**body, "body": b"."})

    asyncio.run(run())


def test_a_stream_to_a_peer_that_has_left_is_enough() -> None:
    async def run() -> None:
        proto = Proto()
        exchange = Exchange(proto)
        await exchange({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        body = {"type": "http.response.body", "more_body": True, "body": b"."}
        assert not await exchange(body)
        proto.over = True
        assert await exchange(body)

    asyncio.run(run())
