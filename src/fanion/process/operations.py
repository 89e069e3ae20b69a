"""The operations process: /healthz, /readyz and /metrics on an address of their own, out of shared memory.

It runs beside the workers under the supervisor and asks none of them anything, so one that is stuck swallows no
probe. It has no store and no journal open, and ends with the supervisor at once.

/healthz: this process lives. /readyz: every worker, with its reasons where it isn't ready and its notes; 503 when
none is ready. A worker whose last heartbeat is older than `STALE_S` is not. What other processes beside the workers
say is a note: no request needs them. /metrics: Prometheus text, summed.

A web page may have its own name resolve to this address and ask under it, as if it asked itself (DNS rebinding).
What it can't do is ask under an address, localhost or a name that isn't its own. So only who does learns what is
measured, and which workers there are; by any other name, a probe learns whether the server is ready, no more.

HTTP/1, one request a connection, `CONNECTIONS_MAX` at a time (the oldest gives way), a head of `HEAD_BYTES_MAX`,
`EXCHANGE_TIMEOUT_S` from the first byte to the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import msgspec

from fanion.telemetry.exposition import Exposition
from fanion.telemetry.heartbeats import Heartbeat, Standing

log = logging.getLogger("fanion.operations")

HEAD_BYTES_MAX = 8_192
EXCHANGE_TIMEOUT_S = 5.0
CONNECTIONS_MAX = 64
BEAT_INTERVAL_S = 1.0
STALE_S = 3.0

PHRASES = {
    200: b"OK",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    503: b"Service Unavailable",
}
JSON = b"application/json"
PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
UNKNOWN_NAME = b'{"error":"ask by an address, or name this host in server.operations_names"}'
UNREADABLE = Standing(reasons=("it ended while it said how it is",))


class Answer(NamedTuple):
    status: int
    content_type: bytes
    body: bytes


Others = Sequence[tuple[str, Heartbeat, float]]
"""Processes beside the workers: the name, its row, and after how many seconds without a heartbeat that is said."""


class HostNames:
    """By which `Host` a caller is one that knows this server: any address, a name of this machine, one of `names`
    (texts of names with commas between)."""

    def __init__(self, *names: str) -> None:
        self._names = {"localhost", *(_plain(name) for text in names for name in text.split(","))} - {""}

    def know(self, head: Iterable[bytes]) -> bool:
        """`head`: the lines of a request after its first. Nobody's page can leave the header out."""
        for line in head:
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"host" and not self._knows(value.decode("latin-1")):
                return False
        return True

    def _knows(self, host: str) -> bool:
        bare, bracket, _ = host.strip().removeprefix("[").partition("]")
        name = _plain(bare if bracket else bare.partition(":")[0])
        with contextlib.suppress(ValueError):
            return bool(ip_address(name))
        return name in self._names or name.endswith(".localhost")


def _plain(name: str) -> str:
    return name.strip().removesuffix(".").lower()


class Operations:
    """What is answered. `workers`: their rows, by number."""

    def __init__(
        self, workers: Sequence[Heartbeat], metrics_text: Callable[[], bytes], others: Others = ()
    ) -> None:
        self._workers = workers
        self._metrics_text = metrics_text
        self._others = others

    def answer(self, method: bytes, path: bytes, *, known: bool = True) -> Answer:
        """`known`: whether the caller named this server (`HostNames`)."""
        if path not in (b"/healthz", b"/readyz", b"/metrics"):
            return Answer(404, JSON, b'{"error":"there is /healthz, /readyz and /metrics"}')
        if method not in (b"GET", b"HEAD"):
            return Answer(405, JSON, b'{"error":"the method must be GET"}')
        if path == b"/healthz":
            return Answer(200, JSON, b'{"status":"ok"}')
        if path == b"/readyz":
            return self._readiness(known)
        if not known:
            return Answer(403, JSON, UNKNOWN_NAME)
        try:
            return Answer(200, PROMETHEUS, self._metrics_text())
        except (OSError, ValueError) as error:
            log.error("the metrics can't be read", extra={"reason": str(error)})
            return Answer(503, JSON, b'{"error":"the metrics can\'t be read"}')

    def _readiness(self, known: bool) -> Answer:
        now_ns = time.monotonic_ns()
        workers = [_describe(number, row, now_ns) for number, row in enumerate(self._workers)]
        ready = any(worker.ready for worker in workers)
        if not known:
            return Answer(200 if ready else 503, JSON, msgspec.json.encode({"ready": ready}))
        document = {
            "ready": ready,
            "reasons": [f"worker {worker.worker}: {text}" for worker in workers for text in worker.reasons],
            "notes": [
                *dict.fromkeys(note for worker in workers for note in worker.notes),
                *(note for other in self._others for note in _notes(*other, now_ns)),
            ],
            "workers": workers,
        }
        return Answer(200 if ready else 503, JSON, msgspec.json.encode(document))


class Description(msgspec.Struct):
    """One worker in /readyz. `pid`: 0 while there is none."""

    worker: int
    pid: int
    ready: bool
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    generation: int


def _notes(name: str, row: Heartbeat, stale_s: float, now_ns: int) -> list[str]:
    """What a process says that is no worker."""
    standing = row.standing() or UNREADABLE
    texts = [*standing.reasons, *standing.notes]
    silent_s = (now_ns - row.beat_ns) / 1e9
    if row.beat_ns and silent_s > stale_s:
        texts.append(f"no heartbeat for {silent_s:.0f} s")
    return [f"{name}: {text}" for text in texts]


def _describe(number: int, row: Heartbeat, now_ns: int) -> Description:
    standing = row.standing() or UNREADABLE
    reasons = standing.reasons
    silent_s = (now_ns - row.beat_ns) / 1e9
    if row.beat_ns and silent_s > STALE_S:
        reasons = (*reasons, f"no heartbeat for {silent_s:.0f} s")
    return Description(number, standing.pid, not reasons, reasons, standing.notes, standing.generation)


class Listener:
    """Answers on a socket that listens. Event loop only."""

    def __init__(self, operations: Operations, names: HostNames) -> None:
        self._operations = operations
        self._names = names
        self._server: asyncio.Server
        self._open: dict[asyncio.StreamWriter, None] = {}

    async def start(self, listening: socket.socket) -> None:
        self._server = await asyncio.start_server(self._serve, sock=listening, limit=HEAD_BYTES_MAX)

    def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= CONNECTIONS_MAX:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()
        self._open[writer] = None
        try:
            async with asyncio.timeout(EXCHANGE_TIMEOUT_S):
                request = await reader.readuntil(b"\r\n\r\n")
                first, *head = request.split(b"\r\n")
                method, target, *_ = first.split(b" ")
                known = self._names.know(head)
                answer = self._operations.answer(method, target.partition(b"?")[0], known=known)
                lines = [
                    b"HTTP/1.1 %d %b" % (answer.status, PHRASES[answer.status]),
                    b"content-type: " + answer.content_type,
                    b"cache-control: no-store",
                    *([b"allow: GET, HEAD"] if answer.status == 405 else []),
                    b"content-length: %d" % len(answer.body),
                    b"connection: close",
                ]
                writer.write(b"\r\n".join([*lines, b"", b""]) + (b"" if method == b"HEAD" else answer.body))
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, OSError):
            writer.transport.abort()  # not a request, or the caller left or takes nothing
        finally:
            self._open.pop(writer, None)


async def run(
    listening: socket.socket,
    workers: Sequence[Heartbeat],
    others: Others,
    own: Heartbeat,
    directory: Path,
    names: HostNames,
) -> None:
    """Answers until the process ends; `own` is its row."""
    exposition = Exposition(directory)
    await Listener(Operations(workers, exposition.text, others), names).start(listening)
    while True:
        own.beat()
        await asyncio.sleep(BEAT_INTERVAL_S)
