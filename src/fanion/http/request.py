"""The body of a request, within its limits, and the few rules on headers.

Reading: a declared length over the limit is refused (a moderate one is read and dropped first); what comes is
counted as it comes; each piece may take `body_chunk_timeout_s` and the whole `body_timeout_s`. No timer is
armed per request: a request that waits for bytes stands in `BodyWatch`, which looks through its (few) entries
ten times a second and cancels what is overdue. The HTTP server hands a short body over whole, so the usual
path is one `receive`.

Encodings: gzip, deflate and zstd, undone within the limit and within a ratio; everything else is refused.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from fanion.config import Limits
from fanion.dialects.wire.dialect import Fault, HeaderList, Headers, Kind

WATCH_INTERVAL_S = 0.1
INFLATE_RATIO_MAX = 100
"""Bytes out per byte in, judged above `INFLATE_FREE_BYTES`; JSON reaches 20, a bomb 1,000."""
INFLATE_FREE_BYTES = 65_536

DISCARD_BYTES_MAX = 8 * 1024 * 1024
DISCARD_TIMEOUT_S = 1.0
"""What is still read of a body that was declared too large. Larger ones may see a reset instead of their
413."""

Receive = Callable[[], Awaitable[dict[str, Any]]]


class BodyWatch:
    """The requests of this worker that wait for bytes, and since when."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self.now = time.monotonic()
        self.waiting: dict[asyncio.Task[Any], float] = {}
        """Task -> when its current wait began, on the watch's own clock (behind by one interval at most)."""
        self.overdue: set[asyncio.Task[Any]] = set()
        """Cancelled by the watch, so that its cancellation isn't taken for another's."""
        self._loop = loop
        self._chunk_timeout_s = limits.body_chunk_timeout_s
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self.now = time.monotonic()
        for task, since in self.waiting.items():
            if self.now - since > self._chunk_timeout_s and task not in self.overdue:
                self.overdue.add(task)
                task.cancel()
        self._handle = self._loop.call_later(WATCH_INTERVAL_S, self.start)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def expire_all(self) -> None:
        """The server stops: what has not arrived by now won't be waited for."""
        for task in self.waiting:
            self.overdue.add(task)
            task.cancel()


async def read_rest(
    receive: Receive,
    first: bytes,
    watch: BodyWatch,
    task: asyncio.Task[Any],
    bytes_max: int,
    body_timeout_s: float,
) -> bytes:
    """The body whose first piece is `first`. Raises Fault TOO_LARGE, TIMEOUT or BAD_REQUEST."""
    pieces = [first]
    size = len(first)
    began = time.monotonic()
    while True:
        if size > bytes_max:
            raise Fault(Kind.TOO_LARGE, too_large_text(bytes_max))
        if time.monotonic() - began > body_timeout_s:
            raise Fault(Kind.TIMEOUT, "The request body did not arrive in time.")
        watch.waiting[task] = watch.now
        try:
            message = await receive()
        finally:
            del watch.waiting[task]
        if message["type"] != "http.request":
            raise Fault(Kind.BAD_REQUEST, BROKEN_TEXT)
        piece = message.get("body", b"")
        pieces.append(piece)
        size += len(piece)
        if not message.get("more_body", False):
            if size > bytes_max:
                raise Fault(Kind.TOO_LARGE, too_large_text(bytes_max))
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


BROKEN_TEXT = "The request body ended early, or its chunks are not framed as HTTP asks."
"""The server says "disconnected" for both; whoever has left doesn't read it."""


def too_large_text(bytes_max: int) -> str:
    return f"The request body is larger than {bytes_max} bytes."


def check_headers(headers: HeaderList, http_version: str) -> None:
    """Exactly one Host, and one at most of the headers that decide whose request this is and where it
    ends."""
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in seen and name in SINGLE:
            raise Fault(Kind.BAD_REQUEST, f"The header {name.decode()} was sent more than once.")
        seen.add(name)
    if http_version not in HTTP_1_0 and not any(name == b"host" and value for name, value in headers):
        raise Fault(Kind.BAD_REQUEST, "The Host header is missing.")


HTTP_1_0 = frozenset({"1", "1.0"})
"""The version in which Host is optional, as Granian and as ASGI write it."""

SINGLE = frozenset(
    {
        b"host",
        b"authorization",
        b"x-api-key",
        b"x-sdk-key",
        b"content-length",
        b"content-encoding",
        b"content-type",
    }
)


def undo_encoding(headers: Headers, body: bytes, bytes_max: int) -> bytes:
    """The body as its Content-Encoding says, at most `bytes_max` long. Raises Fault UNSUPPORTED_ENCODING for
    an encoding (or a list of several) that isn't understood, BAD_REQUEST for bytes that aren't in it,
    TOO_LARGE."""
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding in (b"identity", b""):
        return body
    allowed = min(bytes_max, max(INFLATE_FREE_BYTES, INFLATE_RATIO_MAX * len(body)))
    if encoding in (b"gzip", b"x-gzip"):
        return _inflate(body, allowed, bytes_max, zlib.MAX_WBITS | 16)
    if encoding == b"deflate":
        # Named deflate, sent as zlib by most and raw by some; the first byte tells them apart.
        wrapped = len(body) >= 2 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
        return _inflate(body, allowed, bytes_max, zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
    if encoding == b"zstd":
        return _inflate_zstd(body, allowed, bytes_max)
    raise Fault(Kind.UNSUPPORTED_ENCODING, "The Content-Encoding must be gzip, deflate, zstd or identity.")


def _inflate(body: bytes, allowed: int, bytes_max: int, window_bits: int) -> bytes:
    inflater = zlib.decompressobj(window_bits)
    try:
        plain = inflater.decompress(body, allowed + 1)
    except zlib.error:
        raise Fault(Kind.BAD_REQUEST, "The request body is not in its Content-Encoding.") from None
    if len(plain) > allowed:
        raise Fault(Kind.TOO_LARGE, too_large_text(bytes_max))
    if not inflater.eof or inflater.unused_data:
        raise Fault(Kind.BAD_REQUEST, "The request body is not one whole compressed stream.")
    return plain


def _inflate_zstd(body: bytes, allowed: int, bytes_max: int) -> bytes:
    import zstandard  # only callers that compress this way pay for the import

    inflater = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).stream_reader(body)
    try:
        plain = inflater.read(allowed + 1)
    except zstandard.ZstdError:
        raise Fault(Kind.BAD_REQUEST, "The request body is not in its Content-Encoding.") from None
    if len(plain) > allowed:
        raise Fault(Kind.TOO_LARGE, too_large_text(bytes_max))
    return bytes(plain)
