"""The ASGI application: one coroutine function, no layers.

The order is the same everywhere: route -> method -> Host -> auth -> limiter -> body -> the dialect's own
rules. Whatever fails on the way is a `Fault` that the route's dialect words.

What keeps it quick: routes by one dict look-up on the raw path; headers looked up where they stand
(`_core.request_headers`, which notes a repeated name); no timer, no task, no per-request object but the headers,
the body and the answer. A body of known length that arrived whole is not asked for its end, which saves a wake-up
from the HTTP server's thread.

A snapshot is taken for auth, and again once the body is complete: when the generation moved meanwhile, the
key is looked up anew, so a key revoked during a slow upload opens nothing. Nothing awaits between that and
the handler's last use of the snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.endpoint import Endpoint, Scan
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.headers import RequestHeaders, of_pairs
from fanion.dialects.wire.ingest import TASKLESS
from fanion.dialects.wire.json_bounds import FREE_BYTES_MAX, Condensed, check_body
from fanion.dialects.wire.reply import Head, HeaderList, Headers, Reply
from fanion.dialects.wire.services import Services
from fanion.errors import StoreError
from fanion.http import health
from fanion.http.answers import PIECE_BYTES, Outgoing
from fanion.http.asgi import AsgiScope, Handle, Receive, Send, Spanned, start_of
from fanion.http.cors import preflight
from fanion.http.encoding import LOOKED_AT_BYTES, undo_encoding
from fanion.http.request import (
    SINGLE,
    BodyWatch,
    check_headers,
    check_transfer,
    discard,
    too_large_text,
)
from fanion.http.router import Outlet, Router, Target
from fanion.http.steps import Steps, ask_again, check_rate, fault_of
from fanion.http.streams import Streams

LATER = Scan.LATER
NO_ENDPOINT = "none"
"""How metrics name what reached no endpoint: unknown paths, other methods, preflights."""


def make_handler(
    services: Services,
    dialects: Sequence[Dialect],
    watch: BodyWatch,
    streams: Streams | None = None,
    *,
    outgoing: Outgoing | None = None,
    steps: Steps | None = None,
    headers_of: Callable[[HeaderList], RequestHeaders] = of_pairs,
    first_piece: Callable[[Receive], Awaitable[bytes]] | None = None,
    at_once: Callable[[Send, Head, bytes], None] | None = None,
    spanned: Spanned | None = None,
    leave: Callable[[], Awaitable[None]] | None = None,
) -> Handle:
    """The function that answers every HTTP request of this worker. Event loop only. `streams`: None where no path
    stays open. `steps`: made here unless given. The rest is how another interface than ASGI sends large answers,
    has headers, reads what came first of a body of declared length, and sends all other answers; who answers
    requests that have a span in this one's place; and what is awaited before anything that needs a task.

    Long: what every request goes through stands in one piece, as a call costs more than most of its steps.
    """
    if steps is None:
        steps = Steps(services, dialects, watch, outgoing)
    router, limiters = steps.router, steps.limiters
    check_access, explain, send_large = steps.check_access, steps.explain, steps.send_large
    read_more = steps.read_rest
    single = SINGLE | {dialect.credential_header for dialect in dialects}
    exact, below = router.exact, router.below
    current = services.snapshots.current
    answered = services.counters.answered
    waiting = watch.waiting
    loop = asyncio.get_running_loop()
    current_task = asyncio.current_task
    limits = services.config.limits

    def hold(size: int) -> None:
        task = current_task(loop)
        assert task is not None
        watch.hold(task, size)

    async def handle(scope: AsgiScope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope["headers"])
        if spanned is not None and b"traceparent" in headers:
            instead = spanned(scope, headers, receive, send)
            if instead is not None:
                await instead
                return
        tail = b""
        found = exact.get(scope["raw_path"])
        target: Target
        endpoint: Endpoint | None = None
        try:
            if found.__class__ is Target:
                target = found
            else:
                path = scope["raw_path"]
                other, tail = below.get(path) or router.find(path, scope["method"], headers)
                if other is None:
                    outlet = router.streams.get(path)
                    if outlet is not None and streams is not None:
                        if leave is not None:
                            await leave()
                        await _answer_stream(services, streams, outlet, scope, headers, receive, send)
                    else:
                        await _answer_nobody(services, router, scope, headers, send)
                    return
                target = other
            dialect = target.dialect
            endpoint = target.methods.get(scope["method"])
            if endpoint is None:
                reply = _other_method(dialect, target.methods, target.allow, scope["method"], headers)
                answered(dialect.name, NO_ENDPOINT, reply[0].status)
                await _send(reply, send)
                return
            if not headers.plain:
                check_headers(headers.listed(), scope["http_version"], single)
            raw_key = dialect.credentials(headers)
            snapshot = current()
            record = snapshot.known_key(raw_key)
            if record is None or record.scopes or (record.dialects and dialect.name not in record.dialects):
                record = check_access(dialect, endpoint, record, scope, headers, snapshot, raw_key)
            limited = limiters[dialect.name]
            if limited is not None:
                check_rate(limited(record))

            body = scope["query_string"] if endpoint.query else b""
            bytes_max = endpoint.body_bytes_max
            if bytes_max:
                declared = headers.get(b"content-length")
                length = check_transfer(headers.listed()) if declared is None else int(declared)
                if leave is not None and not 0 <= length <= bytes_max:
                    await leave()
                if length > bytes_max:
                    await discard(receive, watch, length)
                    raise Fault(FaultKind.TOO_LARGE, too_large_text(bytes_max))
                if length:
                    task = current_task(loop)
                    if task is not None:
                        waiting[task] = watch.now
                    try:
                        if first_piece is not None and length > 0:
                            message = None
                            body = await first_piece(receive)
                        else:
                            message = await receive()
                            body = message.get("body", b"")
                    finally:
                        if task is not None:
                            del waiting[task]
                    if len(body) != length and (message is None or message.get("more_body", True)):
                        if leave is not None:
                            await leave()
                        task = current_task(loop)
                        assert task is not None
                        body = await read_more(receive, message, body, task, bytes_max)
                    if b"content-encoding" in headers:
                        if leave is not None and len(body) >= LOOKED_AT_BYTES:
                            await leave()
                        body = await undo_encoding(headers, body, bytes_max, hold, leave)
                    if len(body) > FREE_BYTES_MAX and endpoint.scan is not LATER:
                        body = check_body(body, limits, batch=endpoint.scan is Scan.BATCH)
                later = current()
                if later is not snapshot:
                    snapshot = later
                    record = snapshot.known_key(raw_key)
                    if (
                        record is None
                        or record.scopes
                        or (record.dialects and dialect.name not in record.dialects)
                    ):
                        record = check_access(dialect, endpoint, record, scope, headers, snapshot, raw_key)

            try:
                answer = endpoint.handler(snapshot, record, body, tail, headers)
            except (Condensed, Fault) as turn:
                answer = ask_again(turn, endpoint, snapshot, record, body, tail, headers)
            waits = leave is not None and answer.__class__ is not tuple
            if waits and getattr(answer, "cr_code", None) is not TASKLESS:
                await leave()  # type: ignore[misc]
            reply = answer if answer.__class__ is tuple else await answer  # type: ignore[misc]
        except BaseException as error:
            reply = explain(error, scope, headers, endpoint)
        head, payload = reply
        if endpoint is not None:
            if len(payload) > PIECE_BYTES:
                if leave is not None:
                    await leave()
                refused = await send_large(dialect, endpoint, reply, receive, send)
                if refused is None:
                    return
                head, payload = refused
            answered(dialect.name, endpoint.name, head.status)
        if at_once is not None:
            at_once(send, head, payload)
            return
        await send(head.start or start_of(head))
        await send({"type": "http.response.body", "body": payload})

    return handle


async def _send(reply: Reply, send: Send) -> None:
    head, payload = reply
    await send(head.start or start_of(head))
    await send({"type": "http.response.body", "body": payload})


async def _answer_nobody(
    services: Services, router: Router, scope: AsgiScope, headers: Headers, send: Send
) -> None:
    """/healthz, or a 404 in the shape that the request suggests."""
    reply = health.answer(scope["raw_path"], scope["method"])
    if reply is None:
        dialect = router.answering(scope["raw_path"], headers)
        reply = dialect.refuse(Fault(FaultKind.NOT_FOUND, "There is no such path."))
        services.counters.answered(dialect.name, NO_ENDPOINT, reply[0].status)
    await _send(reply, send)


async def _answer_stream(
    services: Services,
    streams: Streams,
    outlet: Outlet,
    scope: AsgiScope,
    headers: RequestHeaders,
    receive: Receive,
    send: Send,
) -> None:
    """An answer that stays open, or a refusal."""
    (dialect, endpoint), method = outlet, scope["method"]
    task = asyncio.current_task()
    assert task is not None
    try:
        if method == "GET":
            check_headers(headers.listed(), scope["http_version"])
            stream, piece = streams.admit(outlet, scope["query_string"], headers, send, task)
            services.counters.answered(dialect.name, endpoint.name, endpoint.head.status)
            await streams.serve(stream, piece, receive)
            return
        reply, name = _other_method(dialect, ("GET",), outlet.allow, method, headers), NO_ENDPOINT
    except (Fault, StoreError) as error:
        reply, name = dialect.refuse(fault_of(error)), endpoint.name
    services.counters.answered(dialect.name, name, reply[0].status)
    await _send(reply, send)


def _other_method(
    dialect: Dialect, methods: Iterable[str], allow: bytes, method: str, headers: Headers
) -> Reply:
    """A preflight, or 405."""
    if method == "OPTIONS" and dialect.cors is not None:
        return preflight(dialect.cors, methods, headers)
    text = f"The method must be {' or '.join(methods)}."
    return dialect.refuse(Fault(FaultKind.METHOD_NOT_ALLOWED, text, allow=allow))
