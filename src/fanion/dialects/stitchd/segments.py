"""stitchd's membership checks (docs/apis/stitchd.md: Membership checks, Batch membership checks).

A batch is answered in request order, one `is_member` per pair; an unknown segment fails the whole call.
"""

from __future__ import annotations

from typing import Final

from fanion.dialects.stitchd.envelope import OK
from fanion.dialects.stitchd.schema import Bodies
from fanion.dialects.stitchd.served import served
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Snapshot
from fanion.model.api_key import KeyRecord

ANSWERS: Final = (b'{"is_member":false}', b'{"is_member":true}')


def check_one(bodies: Bodies) -> Handler:
    read = bodies.pair

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        at = served(snapshot, record, tail)
        pair = read(body)
        return OK, ANSWERS[at.is_member(snapshot, pair.segment_key, pair.context_type, pair.context_key)]

    return handler


def check_many(bodies: Bodies) -> Handler:
    read = bodies.pairs

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        at = served(snapshot, record, tail)
        is_member = at.is_member
        found = [
            ANSWERS[is_member(snapshot, pair.segment_key, pair.context_type, pair.context_key)]
            for pair in read(body)
        ]
        return OK, b"[%b]" % b",".join(found)

    return handler
