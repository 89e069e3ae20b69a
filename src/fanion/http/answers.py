"""Sending large answers in pieces, and how much of them a worker holds.

The server keeps what it is handed until the peer has read it, so an answer of more than `PIECE_BYTES` is handed
over piece by piece: each send waits while the peer doesn't read (seen: 64 pieces are taken, then it waits). Until
the last is handed over, the answer counts against `limits.answers_bytes_max`; beyond that a large answer is
refused, but for one that would be the only one. A peer that leaves is noticed beside the sending, as sending to it
fails without an error.

What remains: a peer that takes a byte now and then holds its answer and its share of the budget for as long as it
likes, and the server's own buffer of each connection isn't counted.
"""

from __future__ import annotations

import asyncio
from typing import Final

from fanion.dialects.wire.reply import Head
from fanion.http.asgi import Receive, Send, start_of

PIECE_BYTES: Final = 65_536
MESSAGES_MAX = 3
"""Of a request that is over, before the news that its peer has left."""


class Outgoing:
    """Large answers that this worker is sending. Event loop only."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_held = 0
        self._bytes_max = bytes_max

    def take(self, size: int) -> bool:
        """Whether an answer of this size may be sent; `send` gives up what was taken for it."""
        if self.bytes_held and self.bytes_held + size > self._bytes_max:
            return False
        self.bytes_held += size
        return True

    async def send(self, head: Head, payload: bytes, receive: Receive, send: Send) -> None:
        """An answer that there was room for."""
        gone = asyncio.get_running_loop().create_task(_left(receive))
        try:
            await send(start_of(head))
            for at in range(0, len(payload), PIECE_BYTES):
                if gone.done() and gone.result():
                    return
                piece = payload[at : at + PIECE_BYTES]
                more = at + PIECE_BYTES < len(payload)
                await send({"type": "http.response.body", "body": piece, "more_body": more})
        finally:
            self.bytes_held -= len(payload)
            gone.cancel()


async def _left(receive: Receive) -> bool:
    for _ in range(MESSAGES_MAX):
        if (await receive())["type"] == "http.disconnect":
            return True
    return False
