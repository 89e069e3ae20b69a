"""What an endpoint answers, and the headers of a request.

A reply is a head and a whole body; `content-length` is set by the HTTP server from that body, and `http.answers`
sends a large one in pieces. Heads of answers that differ by their body alone are made once, at import, and what the
interface makes of one is made once too.
"""

from __future__ import annotations

import math
from typing import Protocol, TypeAlias, overload

from fanion.dialects.wire.fault import Fault

HeaderList: TypeAlias = list[tuple[bytes, bytes]]
TextHeaders: TypeAlias = list[tuple[str, str]]
StartMessage: TypeAlias = dict[str, object]


class Headers(Protocol):
    """A request's, by name in lower case; of one that was sent twice the last."""

    @overload
    def get(self, name: bytes, /) -> bytes | None: ...
    @overload
    def get(self, name: bytes, default: bytes, /) -> bytes: ...
    def __contains__(self, name: bytes, /) -> bool: ...


NO_STORE: HeaderList = [(b"cache-control", b"no-store")]
JSON_NO_STORE: HeaderList = [(b"content-type", b"application/json"), *NO_STORE]


class Head:
    """Status and headers. Nothing of it changes once a reply has carried it."""

    __slots__ = ("headers", "start", "status", "text")

    def __init__(self, status: int, headers: HeaderList) -> None:
        self.status = status
        self.headers = headers
        self.start: StartMessage | None = None
        """ASGI's first message; the application makes it with the first answer and keeps it here."""
        self.text: TextHeaders | None = None
        """The headers as RSGI takes them, kept likewise."""


Reply: TypeAlias = tuple[Head, bytes]
"""The head and the body."""


def retry_after(wait_s: float) -> tuple[bytes, bytes]:
    """Whole seconds, rounded up; 1 at least, so that nobody comes back at once."""
    return b"retry-after", b"%d" % max(1, math.ceil(wait_s))


def with_fault(headers: HeaderList, fault: Fault) -> HeaderList:
    """Headers of a refusal: `headers`, and what the fault asks for."""
    made = list(headers)
    if fault.retry_after_s is not None:
        made.append(retry_after(fault.retry_after_s))
    if fault.allow is not None:
        made.append((b"allow", fault.allow))
    return made
