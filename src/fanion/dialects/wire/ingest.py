"""The end of every ingest: a record goes into the journal, and the answer waits until it is as safe as the
ack mode promises.

Nothing is acknowledged which may not be on disk, and nothing of a batch that wasn't kept counts as kept: the
client sends it again. What that reads like is the dialect's (`Overloaded`). Nothing is awaited between
reserving ids and publishing the record that has them.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypeVar

from fanion._core.window import Reservation
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import Reply
from fanion.dialects.wire.services import Services
from fanion.errors import JournalError, JournalFullError, JournalOpeningError

RETRY_AFTER_S = 1.0
REPLICATED_WAIT_S = 0.8
"""From an event's record to the answer, at most, where that waits for the stream: SDKs give up after a second."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Overloaded:
    """A dialect's words for what could not be kept."""

    full: str = "The event buffer is full. Send them again."
    failed: str = "The events could not be stored. Send them again."
    opening: str = "The server has just started. Send them again."

    def fault(self, error: JournalError) -> Fault:
        text = self.failed
        if isinstance(error, JournalFullError):
            text = self.opening if isinstance(error, JournalOpeningError) else self.full
        return Fault(FaultKind.OVERLOADED, text, retry_after_s=RETRY_AFTER_S)


class Ingest:
    """Keeps the batches of one dialect in one worker."""

    def __init__(self, services: Services, dialect: str, overloaded: Overloaded | None = None) -> None:
        self._journal = services.journal
        ack = services.config.journal.ack
        self._durable = ack != "buffered"
        self._wait = self._when_replicated if ack == "replicated" else self._when_safe
        self._dialect = dialect
        self._overloaded = overloaded or Overloaded()
        self.event_ids = services.event_ids

    def keep(
        self, environment: str, received_ns: int, body: bytes, reply: Reply, *, whole: bool
    ) -> Reply | Awaitable[Reply]:
        """Keeps one request in which nothing is told from a repeat (`append` and `answer` are for APIs with event
        ids). Raises Fault OVERLOADED when nothing was kept.

        `whole`: the body as it was received, which has to be `{"events": [...]}`, or one event object that can have
        no member `events`. Else `body` is a JSON array of the events that are kept; `[body]` for a single open
        object. `journal.event.split_events` reads it back.
        """
        journal = self._journal
        try:
            sequence = journal.append(
                dialect=self._dialect,
                environment=environment,
                received_ns=received_ns,
                body=body,
                whole=whole,
            )
        except JournalError as error:
            raise self._overloaded.fault(error) from None
        return self._wait(reply, journal.durable(sequence)) if self._durable else reply

    def append(
        self, environment: str, received_ns: int, body: bytes, dispositions: bytes, ids: bytes, *, whole: bool
    ) -> int:
        """The record's sequence number. Raises JournalError when nothing was kept."""
        return self._journal.append(
            dialect=self._dialect,
            environment=environment,
            received_ns=received_ns,
            body=body,
            whole=whole,
            dispositions=dispositions,
            ids=ids,
        )

    def answer(self, reply: Reply, sequence: int, repeated: Reservation | None) -> Reply | Awaitable[Reply]:
        """The reply, once the record `sequence` (0: none was written) is as safe as promised, and those which
        hold the events that it repeats, if it repeats some."""
        if repeated is None and not self._durable:
            return reply
        synced = self._journal.durable(sequence) if self._durable and sequence else None
        return self._wait(reply, synced, repeated)

    def refusal(self, error: JournalError) -> Fault:
        """What the client is told when nothing was kept."""
        return self._overloaded.fault(error)

    async def _when_safe(
        self, reply: Reply, synced: Awaitable[None] | None, repeated: Reservation | None = None
    ) -> Reply:
        try:
            if synced is not None:
                await synced
            if repeated is not None:
                await self.event_ids.settle(repeated)
        except JournalError as error:
            raise self._overloaded.fault(error) from None
        return reply

    async def _when_replicated(
        self, reply: Reply, synced: Awaitable[None] | None, repeated: Reservation | None = None
    ) -> Reply:
        """The record stays in the journal, whatever is answered."""
        try:
            async with asyncio.timeout(REPLICATED_WAIT_S):
                return await self._when_safe(reply, synced, repeated)
        except TimeoutError:
            error = JournalError("the stream has not acknowledged the record in time")
            raise self._overloaded.fault(error) from None


TASKLESS: Final = Ingest._when_safe.__code__
"""Of a coroutine that waits for futures alone: without a time limit and nothing to cancel it needs no task."""

ECHO_BYTES_MAX = 65_536
"""What an answer repeats of a batch, so that a small one can't have megabytes written for it."""


def echoed(items: list[T], size: Callable[[T], int]) -> list[T]:
    """The first items that together keep within `ECHO_BYTES_MAX`; the rest is counted, not named."""
    sums = list(accumulate(map(size, items)))
    return items[: bisect_right(sums, ECHO_BYTES_MAX)]
