"""The parts of ASGI that the application reads and sends, as the HTTP server has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Required, TypeAlias, TypedDict

from fanion.dialects.wire.headers import RequestHeaders
from fanion.dialects.wire.reply import Head, HeaderList, StartMessage


class AsgiScope(TypedDict):
    """A request's line and headers."""

    http_version: str
    method: str
    raw_path: bytes
    query_string: bytes
    client: tuple[str, int]
    headers: HeaderList


class BodyMessage(TypedDict, total=False):
    """A piece of a request's body, or the news that the caller has left."""

    type: Required[str]
    body: bytes
    more_body: bool


Receive: TypeAlias = Callable[[], Awaitable[BodyMessage]]
Send: TypeAlias = Callable[[StartMessage], Awaitable[object]]
"""What it gives is true where the server takes no more of this answer."""
Handle: TypeAlias = Callable[[AsgiScope, Receive, Send], Awaitable[None]]

Spanned: TypeAlias = Callable[[AsgiScope, RequestHeaders, Receive, Send], Awaitable[None] | None]
"""None where a request has no span."""


def start_of(head: Head) -> StartMessage:
    """The first message of an answer; once made, it stays with the head."""
    if head.start is None:
        head.start = {"type": "http.response.start", "status": head.status, "headers": head.headers}
    return head.start
