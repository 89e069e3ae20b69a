"""Undoing a body's Content-Encoding: gzip, deflate and zstd, within the body's limit and within a ratio.

A gzip body is a series of members (RFC 1952), a zstd one a series of frames (RFC 8878): all of them count, each has
to be whole, and nothing may lie behind the last. Everything else is refused. What is inflated beyond the bound
before it is noticed is one byte for zlib, and what one small piece of input comes to for zstd, 8 MB at most. A
large body gives way to other requests between its pieces.

Tables cost more than bytes: a block that names its own codes and holds nothing takes 12 bytes and 1.5 us, so that
a megabyte of them costs 150 ms and inflates to nothing. Neither format says so beforehand; so the thread's CPU time
is looked at after some KB, and a body that takes several times what real ones take is refused.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import Headers

INFLATE_RATIO_MAX = 100
"""Bytes out per byte in, judged above `INFLATE_FREE_BYTES`; JSON reaches 20, a bomb 1,000."""
INFLATE_FREE_BYTES = 65_536
STREAMS_MAX = 1_000
"""Members or frames of one body; senders that append write a few."""
ZLIB_PIECE_BYTES = 16_384
ZSTD_PIECE_BYTES = 256
"""zstd inflates all that it is handed, up to 128 KiB for four bytes; so it is handed little at a time."""
STRETCH_BYTES = 1024 * 1024
"""Inflated between two turns of the event loop, 1 to 3 ms."""
LOOKED_AT_BYTES = 8_192
"""Of the compressed body between two looks at the CPU time; none for shorter bodies."""
CPU_FREE_S = 0.010
CPU_PER_BYTE_S = 30e-9
"""Of what was inflated; real bodies take 2 to 5 ns."""
ZSTD_WINDOW_BYTES_MAX = 8 * 1024 * 1024

NOT_ENCODED = "The request body is not in its Content-Encoding."
TOO_DEAR = "The request body takes too long to inflate for what it holds."
NOT_WHOLE = "The request body is not a series of whole compressed streams."


async def undo_encoding(
    headers: Headers,
    body: bytes,
    bytes_max: int,
    hold: Callable[[int], None],
    leave: Callable[[], Awaitable[None]] | None = None,
) -> bytes:
    """The body as its Content-Encoding says, at most `bytes_max` long. Raises Fault UNSUPPORTED_ENCODING for
    an encoding (or a list of several) that isn't understood, BAD_REQUEST for bytes that aren't in it or cost too
    much, TOO_LARGE. `hold` is told of bytes as they are inflated, and may raise; `leave` is awaited before. Of
    bodies of `LOOKED_AT_BYTES` and more the thread has to stay the same."""
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding in (b"identity", b""):
        return body
    allowed = min(bytes_max, max(INFLATE_FREE_BYTES, INFLATE_RATIO_MAX * len(body)))
    if encoding in (b"gzip", b"x-gzip"):
        return await _undo(body, _zlib(zlib.MAX_WBITS | 16, allowed + 1), allowed, bytes_max, hold, leave)
    if encoding == b"deflate":
        # Named deflate, sent as zlib by most and raw by some; the first byte tells them apart.
        wrapped = len(body) >= 2 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
        window_bits = zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS
        return await _undo(
            body, _zlib(window_bits, allowed + 1), allowed, bytes_max, hold, leave, streams_max=1
        )
    if encoding == b"zstd":
        return await _undo(body, _zstd(), allowed, bytes_max, hold, leave)
    raise Fault(
        FaultKind.UNSUPPORTED_ENCODING, "The Content-Encoding must be gzip, deflate, zstd or identity."
    )


class _Format(NamedTuple):
    """`open` begins a stream, `inflate` hands it a piece of at most `piece_bytes`."""

    open: Callable[[], Any]
    inflate: Callable[[Any, bytes], bytes]
    piece_bytes: int
    refusals: type[Exception]


def _zlib(window_bits: int, most: int) -> _Format:
    """What is more than `most` bytes of a piece isn't inflated: by then the body is too large."""
    return _Format(
        lambda: zlib.decompressobj(window_bits),
        lambda stream, piece: stream.decompress(piece, most),
        ZLIB_PIECE_BYTES,
        zlib.error,
    )


def _zstd() -> _Format:
    import zstandard  # only callers that compress this way pay for the import

    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
    return _Format(
        decompressor.decompressobj,
        lambda stream, piece: stream.decompress(piece),
        ZSTD_PIECE_BYTES,
        zstandard.ZstdError,
    )


async def _undo(
    body: bytes,
    format: _Format,
    allowed: int,
    bytes_max: int,
    hold: Callable[[int], None],
    leave: Callable[[], Awaitable[None]] | None,
    streams_max: int = STREAMS_MAX,
) -> bytes:
    plain: list[bytes] = []
    size = at = streams = 0
    turn = STRETCH_BYTES
    look = LOOKED_AT_BYTES
    began = time.thread_time() if len(body) >= look else 0.0
    spent = 0.0
    stream: Any = None
    while at < len(body):
        if stream is None:
            streams += 1
            if streams > streams_max:
                raise Fault(FaultKind.BAD_REQUEST, NOT_WHOLE)
            stream = format.open()
        piece = body[at : at + format.piece_bytes]
        try:
            plain.append(format.inflate(stream, piece))
        except format.refusals:
            raise Fault(FaultKind.BAD_REQUEST, NOT_ENCODED) from None
        size += len(plain[-1])
        if size > allowed:
            raise Fault(FaultKind.TOO_LARGE, f"The request body is larger than {bytes_max} bytes.")
        if size > INFLATE_FREE_BYTES:
            if leave is not None:
                await leave()
            hold(len(plain[-1]))
        at += len(piece)
        if at >= look or size > turn:
            spent += time.thread_time() - began
            if spent > CPU_FREE_S + CPU_PER_BYTE_S * size:
                raise Fault(FaultKind.BAD_REQUEST, TOO_DEAR)
            look, turn = at + LOOKED_AT_BYTES, size + STRETCH_BYTES
            if at < len(body):
                await asyncio.sleep(0)
            began = time.thread_time()
        if stream.eof:
            at -= len(stream.unused_data)
            stream = None
    if stream is not None or not streams:
        raise Fault(FaultKind.BAD_REQUEST, NOT_WHOLE)
    return b"".join(plain)
