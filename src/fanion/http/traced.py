"""Requests that carry a sampled `traceparent`: answered by the handler, within a span.

The handler hands them over only where `tracing.url` is set; without, it asks for nothing. Where it is set, a
request pays for one native look at its headers. Event streams have no span: they last as long as their client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.headers import RequestHeaders, of_pairs
from fanion.dialects.wire.reply import Head, HeaderList, StartMessage, TextHeaders
from fanion.dialects.wire.services import Services
from fanion.http.answers import Outgoing
from fanion.http.app import NO_ENDPOINT, make_handler
from fanion.http.asgi import AsgiScope, Handle, Receive, Send
from fanion.http.request import BodyWatch
from fanion.http.router import Router
from fanion.http.rsgi import Exchange, Proto, Transport
from fanion.http.streams import Streams
from fanion.telemetry.spans import Span, Spans, sampled_parent

HEADER: Final = b"traceparent"


def make_traced(
    spans: Spans,
    services: Services,
    dialects: Sequence[Dialect],
    watch: BodyWatch,
    streams: Streams | None = None,
    *,
    outgoing: Outgoing | None = None,
    headers_of: Callable[[HeaderList], RequestHeaders] = of_pairs,
    first_piece: Callable[[Receive], Awaitable[bytes]] | None = None,
    at_once: Callable[[Send, Head, bytes], None] | None = None,
) -> Handle:
    """As `make_handler`, of which it makes two: one hands requests with a span over, the other answers them."""
    if outgoing is None:
        outgoing = Outgoing(services.config.limits.answers_bytes_max)
    make = partial(
        make_handler,
        services,
        dialects,
        watch,
        streams,
        outgoing=outgoing,
        headers_of=headers_of,
        first_piece=first_piece,
        at_once=at_once,
    )
    plain = make()
    router = Router([(dialect, dialect.routes(services)) for dialect in dialects])

    def spanned(
        scope: AsgiScope, headers: RequestHeaders, receive: Receive, send: Send
    ) -> Awaitable[None] | None:
        parent = sampled_parent(headers.get(HEADER, b""))
        path, method = scope["raw_path"], scope["method"]
        if parent is None or path in router.streams:
            return None
        target, _ = router.find(path, method, headers)
        endpoint = None if target is None else target.methods.get(method)
        name = NO_ENDPOINT if target is None or endpoint is None else f"{target.dialect.name} {endpoint.name}"
        return _spanned(plain, spans.begin(name, parent, method), scope, receive, send)

    return make(spanned=spanned)


async def _spanned(handle: Handle, span: Span, scope: AsgiScope, receive: Receive, send: Send) -> None:
    if isinstance(send, Exchange):
        send.proto = NotedProto(send.proto, span)
    else:
        send = _noted(send, span)
    try:
        await handle(scope, receive, send)
    finally:
        span.end()


def _noted(send: Send, span: Span) -> Send:
    def noted(message: StartMessage) -> Awaitable[object]:
        if message["type"] == "http.response.start":
            status: Any = message["status"]
            span.answered(status)
        return send(message)

    return noted


class NotedProto:
    """An RSGI request's body and answer; the answer's status goes to the span too."""

    def __init__(self, proto: Proto, span: Span) -> None:
        self._proto = proto
        self._span = span

    def __aiter__(self) -> object:
        return self._proto.__aiter__()

    def __anext__(self) -> Awaitable[bytes]:
        return self._proto.__anext__()

    def client_disconnect(self) -> Awaitable[None]:
        return self._proto.client_disconnect()

    def response_bytes(self, status: int, headers: TextHeaders, body: bytes) -> None:
        self._span.answered(status)
        self._proto.response_bytes(status, headers, body)

    def response_stream(self, status: int, headers: TextHeaders) -> Transport:
        self._span.answered(status)
        return self._proto.response_stream(status, headers)
