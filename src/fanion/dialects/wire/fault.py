"""What went wrong with a request, in no API's words.

Whatever fails before or inside an endpoint is a `Fault`, and the dialect turns it into its own status and body.
"""

from __future__ import annotations

import enum


class FaultKind(enum.Enum):
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
        kind: FaultKind,
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
