"""stitchd's evaluation of one flag (docs/apis/stitchd.md: Evaluate)."""

from __future__ import annotations

import msgspec

from fanion.dialects.stitchd.envelope import OK
from fanion.dialects.stitchd.schema import Bodies
from fanion.dialects.stitchd.served import members_of, served
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Snapshot
from fanion.engine.evaluator import ABSENT
from fanion.model.api_key import KeyRecord


def evaluate_flag(bodies: Bodies) -> Handler:
    """`{"flag_key","variant_key","is_enabled"}`; an unknown flag, and one that the key may not see, is 404."""
    read = bodies.evaluation
    encode = msgspec.json.encode

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        at = served(snapshot, record, tail)
        request = read(body)
        context_type, context_key, attributes = request.context_type, request.context_key, request.attributes
        resolution, answer, _ = at.bundle.resolve(
            at.table,
            request.flag_key,
            record.kind == "client",
            members_of(context_type, context_key),
            attributes,
            ((context_type, context_key, attributes),),
        )
        if resolution == ABSENT:
            raise Fault(FaultKind.NOT_FOUND, f"flag not found: {request.flag_key}")
        return OK, b'{"flag_key":%b,%b}' % (encode(request.flag_key), answer)

    return handler
