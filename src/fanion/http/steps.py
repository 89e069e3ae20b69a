"""What a request is asked on its way that most aren't, for the handler (`http.app`) and the entrance alike
(`http.entrance`): keys that this process doesn't know, bodies in pieces, bodies to be read in other bytes, large
answers, and what is answered to whatever went wrong."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Sequence

from fanion.auth.guesses import KeyGuesses, parse_networks
from fanion.dialects.wire.bodies import mended
from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.endpoint import Endpoint
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.headers import RequestHeaders
from fanion.dialects.wire.json_bounds import Condensed
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Services, Snapshot
from fanion.errors import FanionError, StoreError
from fanion.http.answers import Outgoing
from fanion.http.asgi import AsgiScope, BodyMessage, Receive, Send
from fanion.http.request import BROKEN_TEXT, BodyWatch, read_rest
from fanion.http.router import Router
from fanion.model.api_key import KeyRecord
from fanion.telemetry.logs import Sparing

log = logging.getLogger("fanion.http")
sparing = Sparing()
"""One line a minute for each fault, however many requests meet it."""


class Steps:
    """Of one worker. Event loop only."""

    def __init__(
        self,
        services: Services,
        dialects: Sequence[Dialect],
        watch: BodyWatch,
        outgoing: Outgoing | None = None,
    ) -> None:
        config = services.config
        self.services = services
        self.watch = watch
        self.router = Router([(dialect, dialect.routes(services)) for dialect in dialects])
        self.limiters = {dialect.name: dialect.limiter(services) for dialect in dialects}
        self.outgoing = outgoing or Outgoing(config.limits.answers_bytes_max)
        self._guesses = KeyGuesses(
            services.limiter.take,
            config.limiter.bad_keys_per_minute * config.limiter.machines,  # of each machine, not a share
            parse_networks(config.server.trusted_proxies),
        )

    def check_access(
        self,
        dialect: Dialect,
        endpoint: Endpoint,
        record: KeyRecord | None,
        scope: AsgiScope,
        headers: RequestHeaders,
        snapshot: Snapshot,
        raw_key: bytes,
    ) -> KeyRecord:
        """The record, after the checks that most keys don't need: not known to this process, not for this dialect,
        not for this endpoint."""
        if record is None:
            source = self._guesses.source(scope["client"][0], headers.listed())
            if self._guesses.may_look(source):
                record = snapshot.key(raw_key)
                if record is None:
                    self._guesses.failed(source)
        if record is None or (record.dialects and dialect.name not in record.dialects):
            raise Fault(FaultKind.UNKNOWN_KEY, "The API key is not valid.")
        if endpoint.scope is not None and record.scopes and endpoint.scope not in record.scopes:
            raise Fault(FaultKind.FORBIDDEN, f"The API key has no scope for this: {endpoint.scope}.")
        return record

    async def read_rest(
        self,
        receive: Receive,
        message: BodyMessage | None,
        body: bytes,
        task: asyncio.Task[object],
        bytes_max: int,
    ) -> bytes:
        """The body whose first piece isn't all of it, or may not be. `message`: None where the interface says no
        more than the piece, and nothing of a body that broke off."""
        if not body if message is None else message["type"] != "http.request":
            raise Fault(FaultKind.BAD_REQUEST, BROKEN_TEXT)
        timeout_s = self.services.config.limits.body_timeout_s
        return await read_rest(receive, body, self.watch, task, bytes_max, timeout_s)

    async def send_large(
        self, dialect: Dialect, endpoint: Endpoint, reply: Reply, receive: Receive, send: Send
    ) -> Reply | None:
        """Sends an answer of more than a piece; where there is no room for it now, what is to be sent instead."""
        head, payload = reply
        if self.outgoing.take(len(payload)):
            self.services.counters.answered(dialect.name, endpoint.name, head.status)
            await self.outgoing.send(head, payload, receive, send)
            return None
        return dialect.refuse(
            Fault(FaultKind.OVERLOADED, "Too many large answers wait to be read.", retry_after_s=1)
        )

    def explain(
        self,
        error: BaseException,
        scope: AsgiScope,
        headers: Headers,
        endpoint: Endpoint | None,
    ) -> Reply:
        """An exception as the answer that the caller gets; re-raises what isn't a request's business."""
        router, watch = self.router, self.watch
        target, _ = router.find(scope["raw_path"], scope["method"], headers)
        dialect = router.answering(scope["raw_path"], headers) if target is None else target.dialect
        if isinstance(error, Fault):
            return dialect.refuse(error)
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is None or task not in watch.overdue:
                raise error
            watch.overdue.discard(task)
            task.uncancel()
            if self.services.draining:
                return dialect.refuse(Fault(FaultKind.OVERLOADED, "The server is stopping.", retry_after_s=1))
            kind = endpoint.body_timeout if endpoint else FaultKind.TIMEOUT
            return dialect.refuse(Fault(kind, "The request body did not arrive in time."))
        if isinstance(error, StoreError):
            return dialect.refuse(fault_of(error))
        if not isinstance(error, Exception):
            raise error
        name = endpoint.name if endpoint else ""
        # Our own messages hold no user data; others may (a KeyError holds the key), so only their place is logged.
        reason = str(error) if isinstance(error, FanionError) else type(error).__name__
        places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        if count := sparing.due(f"{name} {reason} {places[-1:]}"):
            extra = {"endpoint": name, "reason": reason, "places": places[-8:], "count": count}
            log.error("request failed", extra=extra)
        return dialect.refuse(
            Fault(FaultKind.INTERNAL, "The server failed to answer. The request may be sent again.")
        )


def check_rate(wait_s: float) -> None:
    if wait_s > 0:
        raise Fault(
            FaultKind.RATE_LIMITED, "Too many requests. Retry after a short delay.", retry_after_s=wait_s
        )


def fault_of(error: Fault | StoreError) -> Fault:
    if isinstance(error, Fault):
        return error
    if count := sparing.due(str(error)):
        log.error("store can't be read", extra={"reason": str(error), "count": count})
    return Fault(FaultKind.OVERLOADED, "The store can't be read now.", retry_after_s=1)


def ask_again(
    turn: Condensed | Fault,
    endpoint: Endpoint,
    snapshot: Snapshot,
    record: KeyRecord,
    body: bytes,
    tail: bytes,
    headers: Headers,
) -> Reply | Awaitable[Reply]:
    """What the handler says of a body in other bytes: condensed, or with its halves of pairs mended, or both, in
    either order. Raises the Fault of what can't be read either way."""
    mended_once = False
    while True:
        if isinstance(turn, Condensed):  # by an eighth each time; halves that were mended may be, once more
            body = turn.body
        elif mended_once:
            raise turn
        else:
            body = _meant(turn, endpoint, body)
            mended_once = True
        try:
            return endpoint.handler(snapshot, record, body, tail, headers)
        except (Condensed, Fault) as another:
            turn = another


def _meant(fault: Fault, endpoint: Endpoint, body: bytes) -> bytes:
    """What a refused body is to be read as instead; raises the fault where it is what it says. Nothing was done
    for a body that couldn't be read, so the handler may be asked again."""
    meant = mended(body) if endpoint.body_bytes_max and fault.kind is FaultKind.INVALID_JSON else None
    if meant is None:
        raise fault
    return meant
