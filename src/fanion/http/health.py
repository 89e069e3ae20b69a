"""/healthz, /readyz and /metrics, for operators only.

On the public port they answer callers from the loopback address that no proxy speaks for (a `Forwarded` or
`X-Forwarded-For` header means one does); for everyone else the paths don't exist. With
`server.operations_host` set they move to `OperationsListener`, a socket of their own, and are gone from the
public port.

/healthz: the process lives. /readyz: this worker can evaluate and take events; if not, 503 with the reasons. Its
notes, where there are any, say what an operator should look at although requests are served.
/metrics: Prometheus text, summed over all workers.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable

import msgspec

from fanion.dialects.wire.reply import JSON_NO_STORE, NO_STORE, Head, Headers, Reply
from fanion.http.asgi import AsgiScope

HEAD_BYTES_MAX = 8_192
HEAD_TIMEOUT_S = 5.0

REASONS = {200: b"OK", 404: b"Not Found", 405: b"Method Not Allowed", 503: b"Service Unavailable"}


class Operations:
    """What operators may ask of a worker. `reasons`: why it isn't ready, empty when it is. `notes`: see above."""

    def __init__(
        self,
        reasons: Callable[[], list[str]],
        metrics_text: Callable[[], bytes],
        *,
        public: bool,
        notes: Callable[[], list[str]] = list,
    ) -> None:
        self._reasons = reasons
        self._notes = notes
        self._metrics_text = metrics_text
        self._public = public

    def answer(self, scope: AsgiScope, headers: Headers) -> Reply | None:
        """A request on the public port; None where nothing may be seen."""
        path = scope["raw_path"]
        if path not in PATHS or not self._public:
            return None
        if b"forwarded" in headers or b"x-forwarded-for" in headers or not is_loopback(scope["client"][0]):
            return None
        return self.answer_path(path, scope["method"])

    def answer_path(self, path: bytes, method: str) -> Reply:
        if path not in PATHS:
            return Head(404, JSON_NO_STORE), b'{"error":"there is /healthz, /readyz and /metrics"}'
        if method not in ("GET", "HEAD"):
            headers = [*JSON_NO_STORE, (b"allow", b"GET, HEAD")]
            return Head(405, headers), b'{"error":"the method must be GET"}'
        if path == b"/healthz":
            return OK, b'{"status":"ok"}'
        if path == b"/metrics":
            return METRICS, self._metrics_text()
        reasons = self._reasons()
        document: dict[str, object] = {"ready": not reasons, "reasons": reasons}
        if notes := self._notes():
            document["notes"] = notes
        return UNREADY if reasons else OK, msgspec.json.encode(document)


PATHS = frozenset({b"/healthz", b"/readyz", b"/metrics"})
OK = Head(200, JSON_NO_STORE)
UNREADY = Head(503, JSON_NO_STORE)
METRICS = Head(200, [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8"), *NO_STORE])


def is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


class OperationsListener:
    """A socket of its own for the three paths: HTTP/1, one request per connection. Every worker listens on
    it, and the kernel picks one."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Raises OSError when the address can't be used."""
        self._server = await asyncio.start_server(
            self._serve, host, port, reuse_port=True, limit=HEAD_BYTES_MAX
        )

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                request = await reader.readuntil(b"\r\n\r\n")
                method, target, *_ = request.split(b"\r\n", 1)[0].split(b" ")
                head, body = self._operations.answer_path(target.partition(b"?")[0], method.decode("ascii"))
                lines = [b"HTTP/1.1 %d %b" % (head.status, REASONS[head.status])]
                lines += [b"%b: %b" % pair for pair in head.headers]
                lines += [b"content-length: %d" % len(body), b"connection: close", b"", b""]
                writer.write(b"\r\n".join(lines) + (b"" if method == b"HEAD" else body))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, OSError):
            pass  # not a request, or the caller left: nothing to answer
        finally:
            writer.close()
