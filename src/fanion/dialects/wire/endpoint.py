"""What of a public API can be asked for: paths, their methods, and the handler of each.

A handler takes all that it needs from a snapshot before it returns; what it still has to wait for, it returns
as an awaitable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from fanion.dialects.wire.fault import FaultKind
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Snapshot
from fanion.dialects.wire.stream import StreamEndpoint
from fanion.model.api_key import KeyRecord


class Handler(Protocol):
    """Answers a request whose key may ask, and whose body is whole and within its limit."""

    def __call__(
        self, snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers, /
    ) -> Reply | Awaitable[Reply]:
        """A reply, or an awaitable of one that holds no snapshot. `tail`: what follows a prefix route's
        prefix, still percent-encoded; empty on exact routes. Raises Fault, StoreError."""


class Scan(Enum):
    """The bounds (`wire.json_bounds`) that a JSON body is held to before its handler sees it: a body's, a batch's,
    or none, as the handler knows a quicker way for what is usual and looks for them itself otherwise."""

    BODY = 1
    BATCH = 2
    LATER = 3


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path.

    name: for metrics. body_bytes_max: 0 where no body is read. scope: what a key with scopes must name; None:
    any key will do. body_timeout: what a body that comes too slowly is. query: the handler gets the raw query
    string in the body's place. scan: what is looked for in the body before the handler sees it.
    """

    name: str
    handler: Handler
    body_bytes_max: int = 0
    scope: str | None = None
    body_timeout: FaultKind = FaultKind.TIMEOUT
    query: bool = False
    scan: Scan = Scan.BODY


@dataclass(frozen=True, slots=True)
class Route:
    """One path, or all paths below a prefix.

    `rest` (prefix routes): None takes the whole tail as one key, slashes included; otherwise the tail is
    SEGMENT + rest, e.g. prefix `/v1/environments/` with rest `/events/batch`. `stream`: of a path that stays open,
    which has neither methods nor a prefix.
    """

    path: bytes
    methods: Mapping[str, Endpoint]
    prefix: bool = False
    rest: bytes | None = None
    stream: StreamEndpoint | None = None
