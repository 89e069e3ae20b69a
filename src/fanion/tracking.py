"""Sends events of a program to a server: `POST /fanion/v1/events` (docs/apis/neutral.md) in batches, from a thread.

`EventSender.put` never waits and never raises. What doesn't fit the queue, can't be written or is refused is
counted, and the last reason kept (`counts`, `problem`). A batch that got no answer is sent again with the same ids,
so nothing counts twice; waits double up to a minute. The thread starts with the first event and is a daemon:
`close`, which is called when an interpreter exits too, sends what is left within a limit. Thread-safe. After a fork
the child has an empty queue (the parent sends its own) and a thread of its own with its first event.
"""

from __future__ import annotations

import atexit
import http.client
import logging
import os
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec

log = logging.getLogger("fanion.tracking")

PATH: Final = "/fanion/v1/events"
BATCH_EVENTS: Final = 500
BATCH_BYTES: Final = 1 << 20
EVENT_BYTES_MAX: Final = 64 << 10
GATHER_S: Final = 1.0
"""How long the first event of a batch waits for others."""
TIMEOUT_S: Final = 10.0
"""Of connecting, and of each wait for the server."""
EXIT_S: Final = 2.0
PAUSE_FIRST_S, PAUSE_LAST_S = 0.5, 60.0
AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same batch is sent again; the gateways' among them."""
ANSWER_BYTES_MAX: Final = 1 << 20
LOG_EVERY_S: Final = 60.0


class Counts(NamedTuple):
    """What became of events. `queued`: not answered yet. `duplicates` were kept before. `rejected`: by the server,
    each by itself. `refused`: with their whole batch. `dropped`: the queue was full, or time was up. `unsendable`:
    no JSON, too large, nobody's."""

    queued: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    refused: int = 0
    dropped: int = 0
    unsendable: int = 0


class Answer(msgspec.Struct):
    accepted: int
    duplicates: list[int]


_senders: Final[weakref.WeakSet[EventSender]] = weakref.WeakSet()
_encode = msgspec.json.Encoder(enc_hook=str).encode


class EventSender:
    """`url`: the server's, with the path before `/fanion` if there is one. `key`: an API key; a client key will do.
    `queue_events`, `queue_bytes`: what waits at most. ValueError for a URL that is none."""

    def __init__(self, url: str, key: str, *, queue_events: int = 10_000, queue_bytes: int = 8 << 20) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a server; http://HOST[:PORT] or https:// is")
        if not (key.isascii() and key.isprintable()):
            raise ValueError("an API key has printable ASCII characters only")
        self._parts = parts
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._queue_events, self._queue_bytes = queue_events, queue_bytes
        self.problem = ""
        self._logged = -LOG_EVERY_S
        self._begin()
        _senders.add(self)

    def _begin(self) -> None:
        """With nothing queued and no thread: at first, and in a child of a fork."""
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._counts = dict.fromkeys(Counts._fields, 0)
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._in_flight = 0
        self._thread: threading.Thread | None = None
        self._deadline: float | None = None
        self._connection: http.client.HTTPConnection | None = None

    @property
    def counts(self) -> Counts:
        with self._lock:
            return Counts(**{**self._counts, "queued": len(self._queue) + self._in_flight})

    # -- the program's side

    def put(self, event: Mapping[str, Any]) -> None:
        """Queues an event, which may change afterwards. One without an `id` or a `time` is given them."""
        try:
            given = {"id": uuid4().hex, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), **event}
            text = _encode(given)
        except Exception as error:
            self._count("unsendable", 1, f"an event can't be written: {type(error).__name__}")
            return
        if len(text) > EVENT_BYTES_MAX:
            self._count("unsendable", 1, f"an event of {len(text)} bytes; {EVENT_BYTES_MAX} are allowed")
            return
        with self._wake:
            if len(self._queue) >= self._queue_events or self._bytes + len(text) > self._queue_bytes:
                self._counts["dropped"] += 1
                self.problem = self.problem or "the queue is full"
                return
            self._queue.append(text)
            self._bytes += len(text)
            if self._thread is None:
                self._start()
            elif len(self._queue) in (1, BATCH_EVENTS):
                self._wake.notify_all()

    def unsendable(self, reason: str) -> None:
        """Counts an event that couldn't be made."""
        self._count("unsendable", 1, reason)

    def close(self, timeout_s: float = EXIT_S) -> None:
        """Sends what is queued, for `timeout_s` at most; what is left is dropped. A later event starts anew."""
        with self._wake:
            thread = self._thread
            self._deadline = time.monotonic() + timeout_s
            self._wake.notify_all()
        if thread is None or thread is threading.current_thread():
            return
        thread.join(timeout_s)
        with self._wake:
            if self._thread is thread:  # it waits for the server: what it holds may still arrive
                self._counts["dropped"] += len(self._queue)
                self._queue.clear()
                self._bytes = 0

    # -- the thread's side

    def _start(self) -> None:
        self._deadline = None
        self._thread = threading.Thread(target=self._run, name="fanion-events", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while batch := self._gather():
            try:
                self._deliver(batch)
            except Exception as error:  # a defect here must not end the thread
                self._count("refused", len(batch), f"{type(error).__name__}: {error}")
            with self._lock:
                self._in_flight = 0

    def _gather(self) -> list[bytes]:
        """The next batch; empty, and the thread is done, once `close` asked and nothing is queued."""
        with self._wake:
            while not self._queue and self._deadline is None:
                self._wake.wait()
            until = time.monotonic() + GATHER_S
            while self._deadline is None and len(self._queue) < BATCH_EVENTS:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._wake.wait(left)
            batch: list[bytes] = []
            size = 0
            while self._queue and len(batch) < BATCH_EVENTS and size + len(self._queue[0]) <= BATCH_BYTES:
                batch.append(self._queue.popleft())
                size += len(batch[-1])
            self._bytes -= size
            self._in_flight = len(batch)
            if not batch:
                self._thread = None
                self._disconnect()
            return batch

    def _deliver(self, batch: list[bytes]) -> None:
        body = b'{"events":[%b]}' % b",".join(batch)
        pause = PAUSE_FIRST_S
        while True:
            wait_s: float | None = None
            try:
                status, wait_s, answer = self._ask(body)
            except (OSError, http.client.HTTPException) as error:
                self._disconnect()
                problem = f"no answer: {type(error).__name__}: {error}"
            else:
                if status == 200:
                    self._answered(batch, answer)
                    return
                problem = f"the server answers {status}: {answer[:300].decode(errors='replace')}"
                if status not in AGAIN:
                    self._count("refused", len(batch), problem)
                    return
            self._count("refused", 0, problem)
            if not self._rest(pause * random.uniform(0.75, 1.25) if wait_s is None else wait_s):
                self._count("dropped", len(batch), problem)
                return
            pause = min(2 * pause, PAUSE_LAST_S)

    def _answered(self, batch: list[bytes], answer: bytes) -> None:
        try:
            found = msgspec.json.decode(answer, type=Answer)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._count("refused", len(batch), "the answer is none of a Fanion server's")
            return
        rejected = len(batch) - found.accepted - len(found.duplicates)
        with self._lock:
            self._counts["accepted"] += found.accepted
            self._counts["duplicates"] += len(found.duplicates)
        if rejected:
            self._count("rejected", rejected, answer[:300].decode(errors="replace"))
        else:
            self.problem = ""

    def _ask(self, body: bytes) -> tuple[int, float | None, bytes]:
        """Status, seconds to wait if the answer says so, body."""
        connection = self._connection or self._connect()
        connection.request("POST", self._parts.path.rstrip("/") + PATH, body, self._headers)
        response = connection.getresponse()
        answer = response.read(ANSWER_BYTES_MAX)
        after = response.headers.get("Retry-After", "")
        if not response.isclosed():
            self._disconnect()
        return response.status, min(float(after), PAUSE_LAST_S) if after.isdecimal() else None, answer

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        assert self._parts.hostname is not None
        self._connection = kind(self._parts.hostname, self._parts.port, timeout=TIMEOUT_S)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _rest(self, seconds: float) -> bool:
        """Waits; False when `close` asked and its time doesn't last."""
        until = time.monotonic() + seconds
        with self._wake:
            while (now := time.monotonic()) < until:
                if self._deadline is not None and self._deadline <= now + 0.01:
                    return False
                ends = until if self._deadline is None else min(until, self._deadline)
                self._wake.wait(ends - now)
        return True

    def _count(self, what: str, events: int, problem: str) -> None:
        with self._lock:
            self._counts[what] += events
            self.problem = problem
            due = time.monotonic() - self._logged > LOG_EVERY_S
            if due:
                self._logged = time.monotonic()
        if due:
            log.warning("events can't be sent", extra={"reason": problem})


def _close_all() -> None:
    until = time.monotonic() + EXIT_S
    for sender in list(_senders):
        sender.close(max(0.0, until - time.monotonic()))


def _begin_all() -> None:
    for sender in list(_senders):
        sender._begin()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_begin_all)
