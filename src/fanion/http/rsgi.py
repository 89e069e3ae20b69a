"""RSGI: the same handler behind the HTTP server's own interface.

A request is handed to `http.app`'s handler as ASGI has it: its line and headers by `Line`, its body and its answer
by `Exchange`. Routes, the order of checks and replies are the handler's. What a caller can see of the difference
is this, and nothing else; ASGI is the reference:

- The server has decoded the path, once. A `%2F` in its fixed part is a slash, so more paths lead to a route;
  bytes that aren't UTF-8 are U+FFFD, so that a key of such is not found rather than refused.
- A header whose value has bytes beyond ASCII makes the request a 400, whichever header it is: the server names it
  and doesn't hand it over. Beside another of its name that can be read it doesn't show at all.
- A chunked body with trailers is a 400: the server tells their end as it tells a broken chunk.
- An event stream ends once `STREAM_BYTES_MAX` were sent on it, and its client comes back: the server takes
  whatever it is handed and doesn't say what the peer has read.

For that reason a large answer is handed over at once; it counts against `limits.answers_bytes_max` until the server
has let go of its body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, Protocol, TypeAlias, overload

from granian._granian import RSGIProtocolClosed as ProtocolClosed

from fanion.dialects.wire.headers import RequestHeaders, of_text
from fanion.dialects.wire.path import PERCENT
from fanion.dialects.wire.reply import Head, HeaderList, StartMessage, TextHeaders
from fanion.http.answers import PIECE_BYTES, Outgoing
from fanion.http.asgi import AsgiScope, BodyMessage, Handle, Receive, Send

STREAM_BYTES_MAX: Final = 65_536
LOOK_S: Final = 0.001, 0.1
"""How soon it is looked whether the server has let go of a large answer, at first and at last."""

GONE: Final[BodyMessage] = {"type": "http.disconnect"}
END: Final[BodyMessage] = {"type": "http.request", "body": b"", "more_body": False}


class Headers(Protocol):
    def items(self) -> list[tuple[str, str]]: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...


class Scope(Protocol):
    """A request's line and headers, as the server has them."""

    http_version: str
    client: str
    method: str
    path: str
    query_string: str
    headers: Headers


class Transport(Protocol):
    def send_bytes(self, data: bytes) -> Awaitable[None]: ...


class Proto(Protocol):
    """A request's body, and where its answer goes."""

    def __aiter__(self) -> object: ...
    def __anext__(self) -> Awaitable[bytes]: ...
    def client_disconnect(self) -> Awaitable[None]: ...
    def response_bytes(self, status: int, headers: TextHeaders, body: bytes) -> None: ...
    def response_stream(self, status: int, headers: TextHeaders) -> Transport: ...


Application: TypeAlias = Callable[[Scope, Proto], Awaitable[None]]


class Line(dict[str, Any]):
    """The scope as ASGI has it. What few requests are asked for is made when it is asked for."""

    __slots__ = ()

    def __missing__(self, name: str) -> bytes | str | tuple[str, int]:
        scope: Scope = self["scope"]
        if name == "query_string":
            return scope.query_string.encode()
        if name == "http_version":
            return scope.http_version
        if name == "client":
            host, _, port = scope.client.rpartition(":")
            return host.removeprefix("[").removesuffix("]"), int(port)
        raise KeyError(name)


class Exchange:
    """A request's body and its answer, as the handler asks for them: called without a message it is `receive`, with
    one it is `send`. Most requests need neither: `first_piece` and `at_once` serve them."""

    reading = False
    _over = False
    _start: StartMessage
    _transport: Transport | None = None
    _sent = 0

    def __init__(self, proto: Proto) -> None:
        self.proto = proto

    @overload
    def __call__(self) -> Awaitable[BodyMessage]: ...
    @overload
    def __call__(self, message: StartMessage) -> Awaitable[bool]: ...
    def __call__(self, message: StartMessage | None = None) -> Awaitable[BodyMessage] | Awaitable[bool]:
        return self._receive() if message is None else self._send(message)

    async def _receive(self) -> BodyMessage:
        proto = self.proto
        if self._over:
            await proto.client_disconnect()
            return GONE
        if not self.reading:
            self.reading = True
            proto.__aiter__()
        piece = await proto.__anext__()
        if piece:
            return {"type": "http.request", "body": piece, "more_body": True}
        self._over = True
        try:
            proto.__anext__()
        except StopAsyncIteration:
            return END
        return GONE  # the empty piece was no end: the body is shorter than declared, or a chunk is broken

    async def _send(self, message: StartMessage) -> bool:
        """Whether this was the last that will be taken."""
        if message["type"] == "http.response.start":
            self._start = message
            return False
        piece: Any = message["body"]
        status: Any = self._start["status"]
        headers: Any = self._start["headers"]
        more = message.get("more_body", False)
        if self._transport is None:
            if not more:
                self.proto.response_bytes(status, as_text(headers), piece)
                return True
            self._transport = self.proto.response_stream(status, as_text(headers))
        self._sent += len(piece)
        try:
            await self._transport.send_bytes(piece)
        except ProtocolClosed:
            return True
        return self._sent > STREAM_BYTES_MAX


class Held(Outgoing):
    """Large answers that the server holds until their peers have read them."""

    async def send(self, head: Head, payload: bytes, receive: Receive, send: Send) -> None:
        """Ends when the server has let go of the body: read but for what fits into its buffers, or the peer has
        left."""
        assert isinstance(send, Exchange)
        try:
            length = "content-length", str(len(payload))  # by which the server knows that it has had all
            transport = send.proto.response_stream(head.status, [*text_of(head), length])
            delay_s, delay_s_max = LOOK_S
            try:
                for at in range(0, len(payload), PIECE_BYTES):
                    await transport.send_bytes(payload[at : at + PIECE_BYTES])
                while True:
                    await asyncio.sleep(delay_s)
                    delay_s = min(delay_s * 2, delay_s_max)
                    await transport.send_bytes(b"")
            except ProtocolClosed:
                pass
        finally:
            self.bytes_held -= len(payload)


headers_of: Final[Callable[[HeaderList], RequestHeaders]] = of_text  # type: ignore[assignment]
"""Of what `Line` has in the place of ASGI's list."""


def first_piece(receive: Receive) -> Awaitable[bytes]:
    """Of a body of declared length; nothing where it broke off. `receive` is an Exchange that wasn't asked yet."""
    exchange: Exchange = receive  # type: ignore[assignment]
    exchange.reading = True
    exchange.proto.__aiter__()
    return exchange.proto.__anext__()


def at_once(send: Send, head: Head, payload: bytes) -> None:
    """Sends a whole answer; `send` is an Exchange."""
    exchange: Exchange = send  # type: ignore[assignment]
    exchange.proto.response_bytes(head.status, head.text or text_of(head), payload)


def make_application(handle: Handle) -> Application:
    """What the server calls with each request's scope and protocol."""

    def application(scope: Scope, proto: Proto) -> Awaitable[None]:
        exchange = Exchange(proto)
        return handle(line_of(scope), exchange, exchange)

    return application


def line_of(scope: Scope) -> AsgiScope:
    """A request's line and headers, where ASGI has its scope."""
    path = scope.path.encode()
    if PERCENT in path:
        path = path.replace(b"%", b"%25")  # whoever reads a name out of the path decodes it
    line: Any = Line(raw_path=path, method=scope.method, headers=scope.headers, scope=scope)
    made: AsgiScope = line
    return made


def text_of(head: Head) -> TextHeaders:
    """The headers of an answer; once made, they stay with the head."""
    if head.text is None:
        head.text = as_text(head.headers)
    return head.text


def as_text(headers: HeaderList) -> TextHeaders:
    return [(name.decode(), value.decode()) for name, value in headers]
