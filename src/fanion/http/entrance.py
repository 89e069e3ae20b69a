"""The usual way of a request, put together for `fanion._core.entrance`: which doors there are, what is asked there.

The handler of `http.app` stays the reference and answers whatever isn't as usual: paths of nobody, other methods,
headers that stand twice, keys that this process doesn't know or that may not ask, bodies without a length or with a
Content-Encoding. Requests that may have a span don't come this way at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.doors import Doors, Entrance, Lane, doors_of
from fanion.dialects.wire.doors import Steps as NativeSteps
from fanion.dialects.wire.endpoint import Endpoint, Scan
from fanion.dialects.wire.fault import Fault
from fanion.dialects.wire.headers import RequestHeaders
from fanion.dialects.wire.ingest import TASKLESS
from fanion.dialects.wire.json_bounds import FREE_BYTES_MAX, Condensed, check_body
from fanion.dialects.wire.reply import Reply
from fanion.dialects.wire.services import Services, Snapshot
from fanion.http import rsgi
from fanion.http.answers import PIECE_BYTES
from fanion.http.app import make_handler
from fanion.http.asgi import Handle, start_of
from fanion.http.request import BodyWatch
from fanion.http.router import Shared, Target
from fanion.http.steps import Steps, ask_again, check_rate
from fanion.http.streams import Streams
from fanion.model.api_key import KeyRecord

Ways: TypeAlias = tuple[tuple[bytes | None, Doors], ...]
"""Of one exact path: the header that chooses between several, and what is behind each."""


def by_asgi(
    services: Services, dialects: Sequence[Dialect], watch: BodyWatch, streams: Streams | None = None
) -> Handle:
    """As `make_handler`, whose handler stands behind."""
    steps = Steps(services, dialects, watch)
    handle = make_handler(services, dialects, watch, streams, steps=steps)
    entrance = Entrance(
        _native(steps, steps.explain, steps.check_access, steps.read_rest, steps.send_large),
        _exact(steps),
        steps.router.below,
        _targets(steps),
        handle,
    )
    made: Handle = entrance.by_asgi
    return made


def by_rsgi(
    services: Services,
    dialects: Sequence[Dialect],
    watch: BodyWatch,
    streams: Streams | None = None,
    lane: Lane | None = None,
) -> rsgi.Application:
    """The same for RSGI. `lane`: what may step its coroutines."""
    steps = Steps(services, dialects, watch, rsgi.Held(services.config.limits.answers_bytes_max))
    handle = make_handler(
        services,
        dialects,
        watch,
        streams,
        steps=steps,
        headers_of=rsgi.headers_of,
        first_piece=rsgi.first_piece,
        at_once=rsgi.at_once,
        leave=None if lane is None else lane.leave,
    )

    def explain(
        error: BaseException, scope: rsgi.Scope, headers: RequestHeaders, endpoint: Endpoint
    ) -> Reply:
        return steps.explain(error, rsgi.line_of(scope), headers, endpoint)

    def check_access(
        dialect: Dialect,
        endpoint: Endpoint,
        record: KeyRecord | None,
        scope: rsgi.Scope,
        headers: RequestHeaders,
        snapshot: Snapshot,
        raw_key: bytes,
    ) -> KeyRecord:
        line = rsgi.line_of(scope)
        return steps.check_access(dialect, endpoint, record, line, headers, snapshot, raw_key)

    def rest(
        proto: rsgi.Proto, message: None, body: bytes, task: asyncio.Task[object], bytes_max: int
    ) -> Awaitable[bytes]:
        exchange = rsgi.Exchange(proto)
        exchange.reading = True
        return steps.read_rest(exchange, message, body, task, bytes_max)

    def large(
        dialect: Dialect, endpoint: Endpoint, reply: Reply, proto: rsgi.Proto, _: rsgi.Proto
    ) -> Awaitable[Reply | None]:
        exchange = rsgi.Exchange(proto)
        return steps.send_large(dialect, endpoint, reply, exchange, exchange)

    entrance = Entrance(
        _native(steps, explain, check_access, rest, large, lane),
        {path.decode(): ways for path, ways in _exact(steps).items()},
        steps.router.below,
        _targets(steps),
        rsgi.make_application(handle),
    )
    made: rsgi.Application = entrance.by_rsgi
    return made


def _native(
    steps: Steps,
    explain: Callable[..., Reply],
    check_access: Callable[..., KeyRecord],
    rest: Callable[..., Awaitable[bytes]],
    large: Callable[..., Awaitable[Reply | None]],
    lane: Lane | None = None,
) -> NativeSteps:
    services, watch = steps.services, steps.watch
    limits = services.config.limits

    def renew(
        dialect: Dialect,
        endpoint: Endpoint,
        scope: Any,
        headers: RequestHeaders,
        snapshot: Snapshot,
        raw_key: bytes,
    ) -> KeyRecord:
        record = snapshot.known_key(raw_key)
        return check_access(dialect, endpoint, record, scope, headers, snapshot, raw_key)

    def looked_through(endpoint: Endpoint, body: bytes) -> bytes:
        return check_body(body, limits, batch=endpoint.scan is Scan.BATCH)

    return NativeSteps(
        current=services.snapshots.current,
        answered=services.counters.answered,
        current_task=asyncio.current_task,
        loop=asyncio.get_running_loop(),
        watch=watch,
        waiting=watch.waiting,
        turns=(Condensed, Fault),
        again=ask_again,
        explain=explain,
        renew=renew,
        check_rate=check_rate,
        check_body=looked_through,
        rest=rest,
        large=large,
        start_of=start_of,
        text_of=rsgi.text_of,
        free_bytes=FREE_BYTES_MAX,
        piece_bytes=PIECE_BYTES,
        taskless=TASKLESS,
        lane=lane,
    )


def _doors(steps: Steps, target: Target) -> Doors:
    return doors_of(target.dialect, target.methods, steps.limiters[target.dialect.name])


def _exact(steps: Steps) -> dict[bytes, Ways]:
    found: dict[bytes, Ways] = {}
    for path, known in steps.router.exact.items():
        if isinstance(known, Shared):
            found[path] = tuple(
                (target.dialect.credential_header, _doors(steps, target)) for target in known.candidates
            )
        else:
            found[path] = ((None, _doors(steps, known)),)
    return found


def _targets(steps: Steps) -> dict[int, Doors]:
    """Of prefixes, by the id of their target, which lives as long as the router."""
    targets: list[Target] = steps.router.below_targets
    return {id(target): _doors(steps, target) for target in targets}
