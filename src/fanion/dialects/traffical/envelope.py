"""Traffical's answers from the outside: headers of every answer, and errors (docs/apis/traffical.md).

An error is `{"error": reason phrase, "message": text}`. Clients drop a batch of events on any 4xx but 429 and never
send again after a 401, so overload is 503.
"""

from __future__ import annotations

import http
from typing import Final

import msgspec

from fanion.dialects.wire.cors import Cors
from fanion.dialects.wire.credentials import CHALLENGE
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.ingest import Overloaded
from fanion.dialects.wire.reply import NO_STORE, Head, HeaderList, Reply, with_fault

CORS: Final = Cors(
    headers=b"authorization, content-type, if-none-match, cache-control, pragma, x-org-id, x-project-id, x-env, "
    b"x-sdk-name, x-sdk-version",
    expose=b"etag, retry-after, x-suggested-refresh-ms",
)
COMMON: Final[HeaderList] = [(b"content-type", b"application/json"), *CORS.always]
PRIVATE: Final[HeaderList] = [*NO_STORE, *COMMON]
OK: Final = Head(200, PRIVATE)

OVERLOADED: Final = Overloaded(
    full="The event buffer is full; send them again",
    failed="The events could not be stored; send them again",
    opening="The server has just started; send them again",
)
UNAUTHORIZED: Final = "Invalid or expired API key"
EVENTS_MAX: Final = 1_000
NO_EVENTS: Final = f"events must be a non-empty array (max {EVENTS_MAX})"

STATUSES: Final = {FaultKind.INVALID_SHAPE: 400}
"""Where the API's status is not the kind's own."""


def refuse(fault: Fault) -> Reply:
    """An error answer."""
    status = STATUSES.get(fault.kind, fault.kind.status)
    message = UNAUTHORIZED if status == 401 else fault.message
    headers = with_fault(PRIVATE, fault)
    if status == 401:
        headers += CHALLENGE
    body = msgspec.json.encode({"error": http.HTTPStatus(status).phrase, "message": message})
    return Head(status, headers), body
