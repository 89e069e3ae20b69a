"""stitchd's evaluation of one flag (contract 1, route 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from fanion.dialects.stitchd.schema import Bodies
from fanion.dialects.stitchd.served import members_of, served
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import HeaderList, Headers, Reply
from fanion.dialects.wire.services import Snapshot
from fanion.model.api_key import KeyRecord

COMMON: Final[HeaderList] = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
OK: Final[dict[str, Any]] = {"type": "http.response.start", "status": 200, "headers": COMMON}


def evaluate_flag(bodies: Bodies) -> Callable[..., Reply]:
    """`{"flag_key","variant_key","is_enabled"}`; an unknown flag, and one that the key may not see, is 404."""
    read = bodies.evaluation
    encode = msgspec.json.encode

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        at = served(snapshot, record, tail)
        request = read(body)
        context_type, context_key, attributes = request.context_type, request.context_key, request.attributes
        start = b'{"flag_key":%b,' % encode(request.flag_key)
        answer = at.bundle.emit_one(
            at.table,
            request.flag_key,
            members_of(context_type, context_key),
            attributes,
            ((context_type, context_key, attributes),),
            record.kind == "client",
            start,
            b"}",
        )
        if len(answer) == len(start) + 1:
            raise Fault(FaultKind.NOT_FOUND, f"flag not found: {request.flag_key}")
        return OK, answer

    return handler
