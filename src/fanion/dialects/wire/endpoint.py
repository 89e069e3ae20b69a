"""What of a public API can be asked for: paths, their methods, and the handler of each.

A handler takes all that it needs from a snapshot before it returns; what it still has to wait for, it returns as an
awaitable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from fanion.dialects.wire.fault import FaultKind
from fanion.model.dialects import Scope

Handler: TypeAlias = Callable[..., Any]
"""`handler(snapshot, record, body, tail, headers)` -> Reply, or an awaitable of one that holds no snapshot.

`tail`: what follows a prefix route's prefix, still percent-encoded; empty on exact routes.
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path.

    name: for metrics. body_bytes_max: 0 where no body is read.
    scope: what a key with scopes must name; None: any key will do. body_timeout: what a body that comes too slowly
    is.
    query: the handler gets the raw query string in the body's place.
    """

    name: str
    handler: Handler
    body_bytes_max: int = 0
    scope: Scope | None = None
    body_timeout: FaultKind = FaultKind.TIMEOUT
    query: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One path, or all paths below a prefix.

    `rest` (prefix routes): None takes the whole tail as one key, slashes included; otherwise the tail is
    SEGMENT + rest, e.g. prefix `/v1/environments/` with rest `/events/batch`.
    """

    path: bytes
    methods: Mapping[str, Endpoint]
    prefix: bool = False
    rest: bytes | None = None
