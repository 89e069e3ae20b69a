"""The body of a request, within its limits, and the few rules on headers.

Reading: a declared length over the limit is refused (a moderate one is read and dropped first); what comes is
counted as it comes, for its request and, until that is answered, for the worker; each piece may take
`body_chunk_timeout_s` and the whole `body_timeout_s`. No timer is armed per request: a request that waits for bytes
stands in `BodyWatch`, which looks through its (few) entries ten times a second and cancels what is overdue. The
HTTP server hands a short body over whole, so the usual path is one `receive`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Set
from typing import TypeAlias

from fanion.config import Limits
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import HeaderList
from fanion.http.asgi import Receive

WATCH_INTERVAL_S = 0.1
DISCARD_BYTES_MAX = 8 * 1024 * 1024
DISCARD_TIMEOUT_S = 1.0
"""What is still read of a body that was declared too large. Larger ones may see a reset instead of their
413."""

PIECES_FREE = 512
PIECE_BYTES = 512
"""Each piece costs a turn of the event loop, whatever it holds, and a chunk may hold one byte: a megabyte of those
took four seconds. A body may come in `PIECES_FREE` pieces, and in one more for each `PIECE_BYTES`: what a
network's smallest usual segments come to."""


HandOver: TypeAlias = Callable[[dict[asyncio.Task[object], float], float, bool], int]
"""(where tasks are put, since when they wait, every one or those that are late) -> how many tasks are going to
stand there."""


class BodyWatch:
    """The requests of this worker that wait for bytes, and since when."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limits: Limits, hand_over: HandOver | None = None
    ) -> None:
        """`hand_over`: of those that wait elsewhere."""
        self.now = time.monotonic()
        self.waiting: dict[asyncio.Task[object], float] = {}
        """Task -> when its current wait began, on the watch's own clock (behind by one interval at most)."""
        self.overdue: set[asyncio.Task[object]] = set()
        """Cancelled by the watch, so that its cancellation isn't taken for another's."""
        self.bytes_held = 0
        """Of bodies that came in pieces or compressed, until their requests are answered."""
        self._bytes_max = limits.bodies_bytes_max
        self._held: dict[asyncio.Task[object], int] = {}
        self._loop = loop
        self._chunk_timeout_s = limits.body_chunk_timeout_s
        self._handle: asyncio.TimerHandle | None = None
        self._hand_over = hand_over

    def start(self) -> None:
        before, self.now = self.now, time.monotonic()
        if self._hand_over is not None:
            self._hand_over(self.waiting, before, False)
        for task, since in self.waiting.items():
            if self.now - since > self._chunk_timeout_s and task not in self.overdue:
                self.overdue.add(task)
                task.cancel()
        self._handle = self._loop.call_later(WATCH_INTERVAL_S, self.start)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def hold(self, task: asyncio.Task[object], size: int) -> None:
        """Counts bytes of a request's body until its task ends. Raises Fault OVERLOADED when this worker holds more
        than it may."""
        held = self._held.get(task)
        if held is None:
            held = 0
            task.add_done_callback(self._let_go)
        self._held[task] = held + size
        self.bytes_held += size
        if self.bytes_held > self._bytes_max:
            raise Fault(FaultKind.OVERLOADED, "Too many request bodies are on their way.", retry_after_s=1)

    def _let_go(self, task: asyncio.Task[object]) -> None:
        self.bytes_held -= self._held.pop(task)

    def expire_all(self) -> None:
        """The server stops: what has not arrived by now won't be waited for."""
        if self._hand_over is not None and self._hand_over(self.waiting, self.now, True):
            self._loop.call_later(WATCH_INTERVAL_S, self._expire)
        self._expire()

    def _expire(self) -> None:
        for task in self.waiting:
            self.overdue.add(task)
            task.cancel()


async def read_rest(
    receive: Receive,
    first: bytes,
    watch: BodyWatch,
    task: asyncio.Task[object],
    bytes_max: int,
    body_timeout_s: float,
) -> bytes:
    """The body whose first piece is `first`. Raises Fault TOO_LARGE or TIMEOUT, BAD_REQUEST where it ended early or
    comes in too many pieces, and OVERLOADED when this worker holds too much of unfinished bodies."""
    pieces = [first]
    size = len(first)
    watch.hold(task, size)
    began = time.monotonic()
    while True:
        if size > bytes_max:
            raise Fault(FaultKind.TOO_LARGE, too_large_text(bytes_max))
        if time.monotonic() - began > body_timeout_s:
            raise Fault(FaultKind.TIMEOUT, "The request body did not arrive in time.")
        watch.waiting[task] = watch.now
        try:
            message = await receive()
        finally:
            del watch.waiting[task]
        if message["type"] != "http.request":
            raise Fault(FaultKind.BAD_REQUEST, BROKEN_TEXT)
        piece = message.get("body", b"")
        pieces.append(piece)
        size += len(piece)
        watch.hold(task, len(piece))
        if len(pieces) > PIECES_FREE + size // PIECE_BYTES:
            raise Fault(FaultKind.BAD_REQUEST, PIECES_TEXT)
        if not message.get("more_body", False):
            if size > bytes_max:
                raise Fault(FaultKind.TOO_LARGE, too_large_text(bytes_max))
            return b"".join(pieces)


async def discard(receive: Receive, watch: BodyWatch, length: int) -> None:
    """Reads a body that is refused anyway, when it is small enough: a connection closed on bytes that were
    not read is reset, and the answer is lost with it."""
    if length > DISCARD_BYTES_MAX:
        return
    task = asyncio.current_task()
    assert task is not None
    ends = time.monotonic() + DISCARD_TIMEOUT_S
    watch.waiting[task] = watch.now
    try:
        while length > 0 and time.monotonic() < ends:
            message = await receive()
            length -= len(message.get("body", b""))
            if not message.get("more_body", False):
                return
    except asyncio.CancelledError:
        if task not in watch.overdue:
            raise
        watch.overdue.discard(task)
        task.uncancel()
    finally:
        del watch.waiting[task]


PIECES_TEXT = f"The body comes in too many pieces, more than {PIECES_FREE}, and one for {PIECE_BYTES} bytes."
BROKEN_TEXT = "The request body ended early, or its chunks are not framed as HTTP asks."
"""The server says "disconnected" for both; whoever has left doesn't read it."""


def too_large_text(bytes_max: int) -> str:
    return f"The request body is larger than {bytes_max} bytes."


SINGLE = frozenset({b"host", b"authorization", b"content-length", b"content-encoding", b"content-type"})


def check_transfer(headers: HeaderList) -> int:
    """-1, a length that isn't known yet: nothing lies about the body of such a request but its chunks. The server
    undoes those and leaves any other transfer coding as it is, unsaid."""
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and codings != [b"chunked"]:
        raise Fault(FaultKind.BAD_REQUEST, "The Transfer-Encoding must be chunked and nothing else.")
    return -1


UNREADABLE = b""
"""In the place of the name, twice: a header that the HTTP server did not hand over (`_core.request_headers`). The
value is its name."""

HTTP_1_0 = frozenset({"1", "1.0"})
"""The version in which Host is optional, as Granian and as ASGI write it."""


def check_headers(headers: HeaderList, http_version: str, single: Set[bytes] = SINGLE) -> None:
    """Exactly one Host, and one at most of the headers that decide whose request this is and where it ends, which
    are `single`: `SINGLE`, and those that a dialect's keys come in."""
    seen: set[bytes] = set()
    for name, value in headers:
        if name in seen:
            if name == UNREADABLE:
                raise Fault(FaultKind.BAD_REQUEST, f"The header {value.decode()} has bytes beyond ASCII.")
            if name in single:
                raise Fault(FaultKind.BAD_REQUEST, f"The header {name.decode()} was sent more than once.")
        seen.add(name)
    if http_version not in HTTP_1_0 and not any(name == b"host" and value for name, value in headers):
        raise Fault(FaultKind.BAD_REQUEST, "The Host header is missing.")
