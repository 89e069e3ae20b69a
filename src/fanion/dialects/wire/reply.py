"""What an endpoint answers, and the headers of a request.

A reply is a prebuilt `http.response.start` message and one body, so an answer is one segment; `content-length` is
set by the HTTP server from that body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Headers: TypeAlias = Mapping[bytes, bytes]
HeaderList: TypeAlias = list[tuple[bytes, bytes]]
Reply: TypeAlias = tuple[dict[str, Any], bytes]
"""The start message and the body."""
