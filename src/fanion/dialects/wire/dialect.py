"""What a dialect is to the server: routes, credentials, the shape of its errors, its rendering of bundles.

A dialect package exposes one `DIALECT`. The server knows nothing of an API's words: whatever goes wrong
before or inside an endpoint is a `Fault`, and the dialect turns it into its own status and body.

Invariants: a reply is a prebuilt `http.response.start` message and one body, so an answer is one segment;
`content-length` is set by the HTTP server from that body. A handler takes all that it needs from
a snapshot before it returns; what it still has to wait for, it returns as an awaitable.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from fanion.dialects.wire.services import Services
from fanion.model.api_key import KeyRecord
from fanion.model.dialects import Scope
from fanion.model.program import Lowered, Table

Headers: TypeAlias = Mapping[bytes, bytes]
HeaderList: TypeAlias = list[tuple[bytes, bytes]]
Reply: TypeAlias = tuple[dict[str, Any], bytes]
"""The start message and the body."""


class Kind(enum.Enum):
    """What went wrong, in no API's words. The number is the status where an API has no other idea."""

    BAD_REQUEST = (400, "not acceptable as HTTP: Host, framing, encoded path")
    INVALID_JSON = (400, "not JSON, or beyond what JSON may be here")
    NO_CREDENTIALS = (401, "no key was sent, or not in the form that the API asks for")
    UNKNOWN_KEY = (401, "a key that opens nothing here")
    FORBIDDEN = (403, "a known key that may not do this")
    NOT_FOUND = (404, "no such path, or no such thing below it")
    METHOD_NOT_ALLOWED = (405, "a known path, another method")
    TIMEOUT = (408, "the body came too slowly")
    TOO_LARGE = (413, "the body is over the limit, as sent or when inflated")
    UNSUPPORTED_ENCODING = (415, "a Content-Encoding that isn't understood")
    INVALID_SHAPE = (422, "JSON of the wrong shape")
    RATE_LIMITED = (429, "too many requests")
    INTERNAL = (500, "a defect of the server; the log has the place")
    OVERLOADED = (503, "nothing was kept; to be sent again")

    def __init__(self, status: int, meaning: str) -> None:
        self.status = status
        self.meaning = meaning


class Fault(Exception):  # noqa: N818  # the request's, mostly not an error of ours
    """A request that can't be served. `path`: place in the body; `retry_after_s`: whole seconds, rounded up
    by the dialect; `allow`: the methods of a 405."""

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        path: str | None = None,
        retry_after_s: float | None = None,
        allow: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.path = path
        self.retry_after_s = retry_after_s
        self.allow = allow


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
    body_timeout: Kind = Kind.TIMEOUT
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


@dataclass(frozen=True, slots=True)
class Cors:
    """What a preflight is told. `always`: headers that every answer carries, so that scripts may read it."""

    headers: bytes
    max_age_s: int = 86_400
    expose: bytes = b""

    @property
    def always(self) -> HeaderList:
        shown: HeaderList = [(b"access-control-allow-origin", b"*")]
        if self.expose:
            shown.append((b"access-control-expose-headers", self.expose))
        return shown


def in_braces(fragment: bytes, user: Mapping[str, Any] | None) -> bytes:
    """The object that a fragment is the inside of."""
    return b"{%b}" % fragment


@dataclass(frozen=True, slots=True)
class Dialect:
    """One public API.

    credential_header: the header that its key comes in. credentials: the raw key, or Fault NO_CREDENTIALS.
    recognises: whether a request to no known path looks like one of this API's. refuse: a fault in its shape.
    bind: what the dialect wants to have at hand of a mapped bundle, made once per environment and generation.
    whole: a fragment as one JSON value, as commands show it; what a request adds is left out or, where a member
    would be cut short, stands as `...`. Its second argument is the context's members, None where no one asks.
    demo: a shell line that asks the demo world something; `{url}` stands for the server's address.
    limiter: made once per worker; None where no rate applies, else record -> seconds to wait (0: go on).
    """

    name: str
    credential_header: bytes
    credentials: Callable[[Headers], bytes]
    recognises: Callable[[Headers], bool]
    refuse: Callable[[Fault], Reply]
    routes: Callable[[Services], list[Route]]
    render: Callable[[Lowered], Table]
    bind: Callable[[Any], Any]
    limiter: Callable[[Services], Callable[[KeyRecord], float] | None] = lambda services: None
    cors: Cors | None = None
    whole: Callable[[bytes, Mapping[str, Any] | None], bytes] = in_braces
    demo: str = ""

    @property
    def prefix(self) -> bytes:
        """Every dialect is also mounted under its own name, where no path is shared."""
        return b"/" + self.name.encode()
