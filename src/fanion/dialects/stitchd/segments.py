"""stitchd's membership checks (docs/apis/stitchd.md: Membership checks, Batch membership checks).

A batch is answered in request order, one `is_member` per pair; an unknown segment fails the whole call. Where all
of its segments are lists and its pairs are plain, it is answered in one native pass (`answer_each`); the loop over
pairs says the same of those, and of the rest.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from fanion._core.list_block import ListReader, answer_each
from fanion.dialects.stitchd.envelope import OK
from fanion.dialects.stitchd.schema import Bodies
from fanion.dialects.stitchd.served import Served, served
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.json_bounds import UNSCANNED_BYTES_MAX
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Snapshot
from fanion.model.api_key import KeyRecord

ANSWERS: Final = (b'{"is_member":false}', b'{"is_member":true}')


PAIR: Final = (b"segment_key", b"context_type", b"context_key")


def check_one(bodies: Bodies) -> Handler:
    read = bodies.pair

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        at = served(snapshot, record, tail)
        pair = read(body)
        return OK, ANSWERS[at.is_member(snapshot, pair.segment_key, pair.context_type, pair.context_key)]

    return handler


def check_many(bodies: Bodies) -> Handler:
    read = bodies.pairs
    text_max = bodies.text_bytes_max

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        at = served(snapshot, record, tail)
        if not bodies.is_text(body):
            bodies.refuse_bytes(body)
        try:
            scanned = len(body) > UNSCANNED_BYTES_MAX  # so what is passed over breaks no bound
            answer = answer_each(body, PAIR, partial(_lists, snapshot, at), ANSWERS, text_max, scanned)
            if answer is not None:
                return OK, answer
        except (LookupError, ValueError):
            pass  # a segment of another kind, or a damaged list: the loop tells
        is_member = at.is_member
        found = [
            ANSWERS[is_member(snapshot, pair.segment_key, pair.context_type, pair.context_key)]
            for pair in read(body)
        ]
        return OK, b"[%b]" % b",".join(found)

    return handler


def _lists(
    snapshot: Snapshot, at: Served, key: str, context_type: str
) -> tuple[ListReader | None, ListReader | None]:
    """In which list a context's key has to stand, and in which not. LookupError for what is no list segment."""
    segment = at.segments[key]
    if segment.lists is None:
        raise LookupError(key)
    sets = segment.lists.get(context_type)
    if sets is None:
        return None, None
    reader = snapshot.list_reader
    return reader(at.environment, sets[0]), reader(at.environment, sets[1])
