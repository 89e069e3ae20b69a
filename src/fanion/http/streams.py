"""Event streams: answers that stay open, of one worker.

A stream is a request's own coroutine, which waits for its peer to leave and for nothing else. One timer for all of
them looks ten times a second whether the store has another generation (one load of a shared word), and sends what
is due: a heartbeat to a part of the streams at each look, so that the work is spread evenly; a notice to each
stream whose environment is answered from something else than it was told. With each generation every stream's key
is looked at again, and a stream whose key opens nothing any more, or another thing, ends.

Bounded: `server.streams_max`, but never more than half of the connections; at most one piece on its way to each
stream and one notice behind it, the latest. Whoever takes nothing for `server.write_timeout_s` is dropped, and so
is a peer that the kernel finds gone. Work on many streams is done in slices, between which requests are answered.

At SIGTERM every stream is ended, and its client comes back after a time that was drawn for it, to whoever serves
then.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from itertools import islice
from typing import Final

from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import Headers
from fanion.dialects.wire.services import Services, Snapshot
from fanion.dialects.wire.stream import HEARTBEAT, Listener, StreamEndpoint
from fanion.errors import StoreError
from fanion.http.asgi import Receive, Send, start_of
from fanion.http.router import Outlet
from fanion.model.api_key import KeyRecord

LOOK_INTERVAL_S: Final = 0.1
SLICE: Final = 64
"""Streams that are seen to in one turn of the event loop."""
RETRY_MS: Final = 1_000, 5_000
"""What a client waits before it asks again, drawn for each, so that they don't all come back at once."""
RECENT_S: Final = 5.0
"""A client that doesn't say what it has may have asked for it this long before it opened its stream."""
MESSAGES_MAX: Final = 8
"""Of a request for a stream that has a body, before it is dropped."""
FULL: Final = "This worker takes no more event streams."
FULL_RETRY_S: Final = 10.0


class Stream:
    """One open stream."""

    __slots__ = (
        "busy_since",
        "ended",
        "endpoint",
        "ends_at",
        "key_hash",
        "later",
        "record",
        "send",
        "sending",
        "state",
        "task",
    )

    def __init__(
        self,
        endpoint: StreamEndpoint,
        listener: Listener,
        state: bytes,
        send: Send,
        task: asyncio.Task[object],
    ) -> None:
        """`task`: the request's own. It is busy with the stream's beginning."""
        self.endpoint = endpoint
        self.record = listener.record
        self.key_hash = listener.key_hash
        self.ends_at = listener.ends_at
        self.state = state
        """What the client was told."""
        self.send = send
        self.task = task
        self.sending: asyncio.Task[None] | None = None
        self.busy_since = time.monotonic()
        """When the piece that is on its way was handed over; 0: none is."""
        self.later: bytes | None = None
        """A notice that waits for that piece."""
        self.ended = False


class Streams:
    """The open streams of one worker. Event loop only."""

    def __init__(self, services: Services, loop: asyncio.AbstractEventLoop) -> None:
        server = services.config.server
        self._services = services
        self._loop = loop
        self._most = min(server.streams_max, server.backpressure // 2)
        self._slow_s = server.write_timeout_s
        self._heartbeat_s = server.stream_heartbeat_s
        self._open: dict[Stream, None] = {}
        """In the order in which their heartbeats are due."""
        self._owed = 0.0
        """Heartbeats, of which a part may be due."""
        self._number = services.snapshots.current().number
        self._moved_at = -RECENT_S
        self._looked_at = time.monotonic()
        self._following: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    # -- a request

    def admit(
        self, outlet: Outlet, query: bytes, headers: Headers, send: Send, task: asyncio.Task[object]
    ) -> tuple[Stream, bytes]:
        """The stream that a request asks for, and what it begins with; `serve` has to follow, in `task`. Raises
        Fault, StoreError."""
        services, (dialect, endpoint) = self._services, outlet
        if services.draining:
            raise Fault(FaultKind.OVERLOADED, "The server is stopping.", retry_after_s=1)
        if len(self._open) >= self._most:
            raise Fault(FaultKind.OVERLOADED, FULL, retry_after_s=FULL_RETRY_S)
        snapshot = services.snapshots.current()
        listener = endpoint.listen(snapshot, query, headers)
        record = listener.record
        if record.dialects and dialect.name not in record.dialects:
            raise Fault(FaultKind.UNKNOWN_KEY, "The API key is not valid.")
        if endpoint.scope is not None and record.scopes and endpoint.scope not in record.scopes:
            raise Fault(FaultKind.FORBIDDEN, f"The API key has no scope for this: {endpoint.scope}.")
        state = snapshot.content(record.environment)
        piece = endpoint.greeting(state, random.randint(*RETRY_MS))
        if self._has_missed(snapshot, listener.known, state):
            piece += endpoint.notice(state)
        stream = Stream(endpoint, listener, state, send, task)
        self._open[stream] = None
        return stream, piece

    async def serve(self, stream: Stream, piece: bytes, receive: Receive) -> None:
        """Until the peer leaves or the stream has to end."""
        try:
            await stream.send(start_of(stream.endpoint.head))
            await self._put(stream, piece)
            for _ in range(MESSAGES_MAX):
                if (await receive())["type"] == "http.disconnect":
                    break
        except asyncio.CancelledError:
            if not stream.ended:
                raise
            stream.task.uncancel()
        finally:
            stream.ended = True
            self._open.pop(stream, None)
            if stream.sending is not None:
                stream.sending.cancel()

    def _has_missed(self, snapshot: Snapshot, known: bytes | None, state: bytes) -> bool:
        if known is not None:
            return known != state
        return snapshot.number != self._number or time.monotonic() - self._moved_at < RECENT_S

    # -- the timer

    def start(self) -> None:
        """Looks, and goes on looking."""
        self._timer = self._loop.call_later(LOOK_INTERVAL_S, self.start)
        self.look()

    def look(self) -> None:
        """At the store's generation, and at what is due."""
        self._services.token_s = self._services.token_ns() / 1e9
        number = self._services.snapshots.current().number
        now = time.monotonic()
        if number != self._number:
            self._moved_at = now
            self._number = number
            if self._following is None or self._following.done():
                self._following = self._loop.create_task(self._follow())
        self._beat(now)

    def stop(self) -> None:
        for task in (self._timer, self._following, self._ending):
            if task is not None:
                task.cancel()

    def end_all(self) -> None:
        """The server stops."""
        self._ending = self._loop.create_task(self._end_each())

    # -- what is due

    def _beat(self, now: float) -> None:
        """Heartbeats to those whose turn it is; an end to those whose time has come, or who take nothing."""
        count = len(self._open)
        passed_s, self._looked_at = now - self._looked_at, now
        self._owed = min(self._owed + count * passed_s / self._heartbeat_s, count)
        due = list(islice(self._open, int(self._owed)))
        self._owed -= len(due)
        for stream in due:
            del self._open[stream]
            self._open[stream] = None
            if stream.busy_since:
                if now - stream.busy_since > self._slow_s:
                    stream.ended = True
                    stream.task.cancel()
            elif stream.ends_at <= self._services.token_s:
                self._end(stream)
            else:
                self._hand(stream, HEARTBEAT)

    async def _follow(self) -> None:
        """Tells every stream what the newest generation means to it; begins anew when another comes meanwhile."""
        number = -1
        while number != self._number:
            number = self._number
            judge = _Judge(self._services.snapshots.current())
            for slice_ in _slices(list(self._open)):
                if judge.snapshot is not (snapshot := self._services.snapshots.current()):
                    judge = _Judge(snapshot)
                for stream in slice_:
                    self._tell(stream, judge)
                await asyncio.sleep(0)

    def _tell(self, stream: Stream, judge: _Judge) -> None:
        if stream.ended:
            return
        if not judge.stands(stream):
            self._end(stream)
            return
        state = judge.state(stream.record.environment)
        if state is None or state == stream.state:
            return
        stream.state = state
        notice = stream.endpoint.notice(state)
        if stream.busy_since:
            stream.later = notice
        else:
            self._hand(stream, notice)

    async def _end_each(self) -> None:
        for slice_ in _slices(list(self._open)):
            for stream in slice_:
                self._end(stream)
            await asyncio.sleep(0)

    # -- one stream

    def _hand(self, stream: Stream, piece: bytes, *, more: bool = True) -> None:
        """Begins to send; one piece at a time to a stream."""
        stream.busy_since = time.monotonic()
        stream.sending = self._loop.create_task(self._put(stream, piece, more=more))

    def _end(self, stream: Stream) -> None:
        """As an answer ends, where the peer keeps up."""
        if stream.ended:
            return
        stream.ended = True
        if stream.busy_since:
            stream.task.cancel()
        else:
            self._hand(stream, b"", more=False)

    async def _put(self, stream: Stream, piece: bytes, *, more: bool = True) -> None:
        """`piece`, and the notice that came up meanwhile."""
        while True:
            full = await stream.send({"type": "http.response.body", "body": piece, "more_body": more})
            if full or not more:
                stream.ended = True
                stream.task.cancel()
                return
            stream.busy_since = 0.0
            if stream.later is None or stream.ended:
                return
            piece, stream.later = stream.later, None
            stream.busy_since = time.monotonic()


class _Judge:
    """What one generation means to streams: each environment and each key is looked at once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._states: dict[str, bytes | None] = {}
        self._holders: dict[bytes, KeyRecord | None] = {}

    def state(self, environment: str) -> bytes | None:
        """None where it can't be said now; a later generation will say it."""
        if environment not in self._states:
            try:
                self._states[environment] = self.snapshot.content(environment)
            except StoreError:
                self._states[environment] = None
        return self._states[environment]

    def stands(self, stream: Stream) -> bool:
        """Whether the stream's key opens what it opened. A store that can't be read refuses nobody."""
        key_hash = stream.key_hash
        if key_hash not in self._holders:
            try:
                self._holders[key_hash] = self.snapshot.holder(key_hash)
            except StoreError:
                return True
        return self._holders[key_hash] == stream.record


def _slices(streams: list[Stream]) -> Iterator[list[Stream]]:
    return (streams[at : at + SLICE] for at in range(0, len(streams), SLICE))
