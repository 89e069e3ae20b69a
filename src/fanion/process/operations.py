"""The operations process: /healthz, /readyz, /metrics and the APIs' documents on an address of their own, out of
shared memory.

It runs beside the workers under the supervisor and asks none of them anything, so one that is stuck swallows no
probe. It has no store and no journal open, and ends with the supervisor at once.

/healthz: this process lives. /readyz: every worker, with its reasons where it isn't ready and its notes; 503
when none is ready. A worker whose last heartbeat is older than `STALE_S` is not. What other processes beside the
workers say is a note: no request needs them. Where there are no workers at all, what they say is what counts.
/metrics: Prometheus text, summed. /openapi/<api>.json: OpenAPI 3.1 of an API, with this server's limits; made when
it is first asked for.

What lies below a site's prefix (`fanion.console`) is that site's to answer, in its own time.

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
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from fanion.telemetry.exposition import Exposition
from fanion.telemetry.heartbeats import Heartbeat, Standing

log = logging.getLogger("fanion.operations")

HEAD_BYTES_MAX = 8_192
EXCHANGE_TIMEOUT_S = 5.0
CONNECTIONS_MAX = 64
BEAT_INTERVAL_S = 1.0
STALE_S = 3.0

PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
PLAIN = (("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store"))
JSON = b"application/json"
PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
UNKNOWN_NAME = b'{"error":"ask by an address, or name this host in server.operations_names"}'
UNREADABLE = Standing(reasons=("it ended while it said how it is",))


class Answer(NamedTuple):
    status: int
    content_type: bytes
    body: bytes


Documents = Mapping[str, Callable[[], bytes]]
"""API -> what makes its OpenAPI document."""
OPENAPI = b"/openapi/"
NO_SUCH_PATH = b'{"error":"there is /healthz, /readyz, /metrics, /console and /openapi/API.json"}'


class Site(Protocol):
    """Pages beside the probes. Event loop only."""

    prefix: str
    """Of its paths: this itself, and what stands below it."""
    timeout_s: float
    """From a request's head to the last byte of its answer."""

    def body_bytes_max(self, headers: Sequence[tuple[str, str]]) -> int:
        """Of a request with these headers, before it is read."""

    async def answer(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> tuple[int, Sequence[tuple[str, str]], bytes]:
        """Status, headers without those of the connection, and body. `headers`: with names in lower case."""


Others = Sequence[tuple[str, Heartbeat, float]]
"""Processes beside the workers: the name, its row, and after how many seconds without a heartbeat that is said."""


class HostNames:
    """By which `Host` a caller is one that knows this server: any address, a name of this machine, one of `names`
    (texts of names with commas between)."""

    def __init__(self, *names: str) -> None:
        self._names = {"localhost", *(_plain(name) for text in names for name in text.split(","))} - {""}

    def know_host(self, host: str) -> bool:
        """By one header's value."""
        return self._knows(host)

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
        self,
        workers: Sequence[Heartbeat],
        metrics_text: Callable[[], bytes],
        others: Others = (),
        documents: Documents | None = None,
    ) -> None:
        self._workers = workers
        self._metrics_text = metrics_text
        self._others = others
        self._documents = {
            OPENAPI + name.encode() + b".json": cache(make) for name, make in (documents or {}).items()
        }

    def answer(self, method: bytes, path: bytes, *, known: bool = True) -> Answer:
        """`known`: whether the caller named this server (`HostNames`)."""
        document = self._documents.get(path)
        if document is None and path not in (b"/healthz", b"/readyz", b"/metrics"):
            return Answer(404, JSON, NO_SUCH_PATH)
        if method not in (b"GET", b"HEAD"):
            return Answer(405, JSON, b'{"error":"the method must be GET"}')
        if path == b"/healthz":
            return Answer(200, JSON, b'{"status":"ok"}')
        if path == b"/readyz":
            return self._readiness(known)
        if not known:
            return Answer(403, JSON, UNKNOWN_NAME)
        if document is not None:
            return Answer(200, JSON, document())
        try:
            return Answer(200, PROMETHEUS, self._metrics_text())
        except (OSError, ValueError) as error:
            log.error("the metrics can't be read", extra={"reason": str(error)})
            return Answer(503, JSON, b'{"error":"the metrics can\'t be read"}')

    def readiness(self) -> Readiness:
        now_ns = time.monotonic_ns()
        workers = [_describe(number, row, now_ns) for number, row in enumerate(self._workers)]
        notes = list(dict.fromkeys(note for worker in workers for note in worker.notes))
        reasons = [f"worker {worker.worker}: {text}" for worker in workers for text in worker.reasons]
        for name, row, stale_s in self._others:
            troubles, said = _said(row, stale_s, now_ns)
            (notes if workers else reasons).extend(f"{name}: {text}" for text in troubles)
            notes.extend(f"{name}: {text}" for text in said)
        ready = any(worker.ready for worker in workers) if workers else not reasons
        return Readiness(ready, reasons, notes, workers)

    def _readiness(self, known: bool) -> Answer:
        found = self.readiness()
        said = msgspec.json.encode(found if known else {"ready": found.ready})
        return Answer(200 if found.ready else 503, JSON, said)


class Description(msgspec.Struct):
    """One worker in /readyz. `pid`: 0 while there is none."""

    worker: int
    pid: int
    ready: bool
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    generation: int


class Readiness(msgspec.Struct):
    """What /readyz says. `reasons`: of workers that aren't ready; `notes`: what to look at though requests are
    served."""

    ready: bool
    reasons: list[str]
    notes: list[str]
    workers: list[Description]


def _said(row: Heartbeat, stale_s: float, now_ns: int) -> tuple[list[str], tuple[str, ...]]:
    """What hinders a process that is no worker, and its notes."""
    standing = row.standing() or UNREADABLE
    silent_s = (now_ns - row.beat_ns) / 1e9
    silent = row.beat_ns and silent_s > stale_s
    return [*standing.reasons, *([f"no heartbeat for {silent_s:.0f} s"] if silent else [])], standing.notes


def _describe(number: int, row: Heartbeat, now_ns: int) -> Description:
    standing = row.standing() or UNREADABLE
    reasons = standing.reasons
    silent_s = (now_ns - row.beat_ns) / 1e9
    if row.beat_ns and silent_s > STALE_S:
        reasons = (*reasons, f"no heartbeat for {silent_s:.0f} s")
    return Description(number, standing.pid, not reasons, reasons, standing.notes, standing.generation)


class Listener:
    """Answers on a socket that listens. Event loop only."""

    def __init__(self, operations: Operations, names: HostNames, site: Site | None = None) -> None:
        self._operations = operations
        self._names = names
        self._site = site
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
            async with asyncio.timeout(EXCHANGE_TIMEOUT_S) as limit:
                request = await reader.readuntil(b"\r\n\r\n")
                first, *head = request.split(b"\r\n")
                method, target, *_ = first.split(b" ")
                path = target.partition(b"?")[0]
                site = self._site
                if site is not None and (path + b"/").startswith(f"{site.prefix}/".encode()):
                    limit.reschedule(asyncio.get_running_loop().time() + site.timeout_s)
                    status, headers, body = await _ask_site(site, reader, method, target, head)
                    lines = [f"{name}: {value}".encode("latin-1") for name, value in headers]
                else:
                    answer = self._operations.answer(method, path, known=self._names.know(head))
                    status, body = answer.status, answer.body
                    lines = [b"content-type: " + answer.content_type, b"cache-control: no-store"]
                    lines += [b"allow: GET, HEAD"] if status == 405 else []
                lines = [
                    b"HTTP/1.1 %d %b" % (status, PHRASES[status]),
                    *lines,
                    b"content-length: %d" % len(body),
                    b"connection: close",
                ]
                writer.write(b"\r\n".join([*lines, b"", b""]) + (b"" if method == b"HEAD" else body))
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, OSError):
            writer.transport.abort()  # not a request, or the caller left or takes nothing
        finally:
            self._open.pop(writer, None)


async def _ask_site(
    site: Site, reader: asyncio.StreamReader, method: bytes, target: bytes, head: Iterable[bytes]
) -> tuple[int, Sequence[tuple[str, str]], bytes]:
    """Raises ValueError for what is no request, and what reading a body raises."""
    headers = []
    for line in head:
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            headers.append((name.strip().lower(), value.strip()))
    found = dict(headers)
    size = found.get("content-length", "0")
    if "transfer-encoding" in found or not (size.isascii() and size.isdigit()):
        return 411, PLAIN, b"a body needs its content-length\n"
    if len(size) > 12 or int(size) > site.body_bytes_max(headers):
        return 413, PLAIN, b"the body is too large\n"
    body = await reader.readexactly(int(size)) if int(size) else b""
    return await site.answer(method.decode("ascii"), target.decode("ascii"), headers, body)


async def run(
    listening: socket.socket,
    workers: Sequence[Heartbeat],
    others: Others,
    own: Heartbeat,
    directory: Path,
    names: HostNames,
    documents: Documents,
    open_site: Callable[[Operations, Exposition], Site | None] = lambda *_: None,
) -> None:
    """Answers until the process ends; `own` is its row. `open_site`: makes what is answered besides."""
    exposition = Exposition(directory)
    operations = Operations(workers, exposition.text, others, documents)
    await Listener(operations, names, open_site(operations, exposition)).start(listening)
    while True:
        own.beat()
        await asyncio.sleep(BEAT_INTERVAL_S)
