"""The end of every ingest: the answer waits until the batch is as safe as the ack mode promises.

What "overloaded" reads like is the dialect's; that nothing is acknowledged which may not be on disk is said here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fanion.dialects.wire.fault import Fault
from fanion.dialects.wire.reply import Reply
from fanion.errors import JournalError

T = TypeVar("T")


async def when_safe(
    reply: Reply,
    overloaded: Callable[[JournalError], Fault],
    synced: Awaitable[None] | None,
    window: Any = None,
    repeated: Any = None,
) -> Reply:
    """The reply, once the record is synced and, where it repeats some, what `window` says of those (the
    reservation `repeated`) is settled; None: not waited for. Raises what `overloaded` makes of a JournalError."""
    try:
        if synced is not None:
            await synced
        if repeated is not None:
            await window.settle(repeated)
    except JournalError as error:
        raise overloaded(error) from None
    return reply


ECHO_BYTES_MAX = 65_536
"""What an answer repeats of a batch, so that a small one can't have megabytes written for it."""


def echoed(items: list[T], size: Callable[[T], int]) -> list[T]:
    """The first items that together keep within `ECHO_BYTES_MAX`; the rest is counted, not named."""
    left = ECHO_BYTES_MAX
    for number, item in enumerate(items):
        left -= size(item)
        if left < 0:
            return items[:number]
    return items
