"""Headers of every answer, and errors in Traffical's shape: `{"error": reason phrase, "message": text}` (2).

Clients drop a batch of events on any 4xx but 429 and never send again after a 401, so overload is 503.
"""

from __future__ import annotations

import http
import math
from typing import Any, Final

import msgspec

from fanion.dialects.wire.dialect import Cors
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import HeaderList, Reply

CORS: Final = Cors(
    headers=b"authorization, content-type, if-none-match, cache-control, pragma, x-org-id, x-project-id, x-env, "
    b"x-sdk-name, x-sdk-version",
    expose=b"etag, retry-after, x-suggested-refresh-ms",
)
COMMON: Final[HeaderList] = [(b"content-type", b"application/json"), *CORS.always]
PRIVATE: Final[HeaderList] = [(b"cache-control", b"no-store"), *COMMON]
OK: Final[dict[str, Any]] = {"type": "http.response.start", "status": 200, "headers": PRIVATE}
RETRY_AFTER_S: Final = 1.0

UNAUTHORIZED: Final = "Invalid or expired API key"
EVENTS_MAX: Final = 1_000
NO_EVENTS: Final = f"events must be a non-empty array (max {EVENTS_MAX})"

STATUSES: Final = {FaultKind.INVALID_SHAPE: 400}
"""Where the API's status is not the kind's own."""


def refuse(fault: Fault) -> Reply:
    """An error answer."""
    status = STATUSES.get(fault.kind, fault.kind.status)
    message = UNAUTHORIZED if status == 401 else fault.message
    headers = list(PRIVATE)
    if fault.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(fault.retry_after_s))))
    if fault.allow is not None:
        headers.append((b"allow", fault.allow))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    start = {"type": "http.response.start", "status": status, "headers": headers}
    return start, msgspec.json.encode({"error": http.HTTPStatus(status).phrase, "message": message})
