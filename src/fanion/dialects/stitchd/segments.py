"""stitchd's membership checks (docs/apis/stitchd.md: Membership checks, Batch membership checks).

A batch is answered in request order, one `is_member` per pair; an unknown segment fails the whole call. Where all
of its segments are lists and its pairs are plain, it is answered in one native pass (`answer_each`); the loop over
pairs says the same of those, and of the rest. A long loop gives way to other requests after each `PIECE_PAIRS`, and
what comes then is answered from the snapshot in force then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from functools import partial
from typing import Final

from fanion._core.list_block import ListReader, answer_each
from fanion.dialects.stitchd.envelope import OK
from fanion.dialects.stitchd.schema import Bodies, Pair
from fanion.dialects.stitchd.served import Served, served
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.json_bounds import UNSCANNED_BYTES_MAX
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Services, Snapshot
from fanion.model.api_key import KeyRecord

ANSWERS: Final = (b'{"is_member":false}', b'{"is_member":true}')

PIECE_PAIRS: Final = 512
"""Answered at a stretch, 2 to 4 ms of a rule segment."""
LONG_MAX: Final = 16
"""Longer batches at a time: each holds some MB of pairs meanwhile."""
PAIR: Final = (b"segment_key", b"context_type", b"context_key")


def check_one(bodies: Bodies) -> Handler:
    read = bodies.pair

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        at = served(snapshot, record, tail)
        pair = read(body)
        return OK, ANSWERS[at.is_member(snapshot, pair.segment_key, pair.context_type, pair.context_key)]

    return handler


def check_many(services: Services, bodies: Bodies) -> Handler:
    read = bodies.pairs
    text_max = bodies.text_bytes_max
    long = 0

    def handler(
        snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers
    ) -> Reply | Awaitable[Reply]:
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
        pairs = read(body)
        if len(pairs) <= PIECE_PAIRS:
            return OK, b"[%b]" % b",".join(_answered(snapshot, at, pairs))
        if long >= LONG_MAX:
            raise Fault(FaultKind.OVERLOADED, "too many long batches at a time", retry_after_s=1)
        return in_turn(record, tail, pairs)

    async def in_turn(record: KeyRecord, tail: bytes, pairs: list[Pair]) -> Reply:
        nonlocal long
        long += 1
        try:
            found: list[bytes] = []
            for first in range(0, len(pairs), PIECE_PAIRS):
                snapshot = services.snapshots.current()
                at = served(snapshot, record, tail)
                found += _answered(snapshot, at, pairs[first : first + PIECE_PAIRS])
                await asyncio.sleep(0)
            return OK, b"[%b]" % b",".join(found)
        finally:
            long -= 1

    return handler


def _answered(snapshot: Snapshot, at: Served, pairs: Iterable[Pair]) -> list[bytes]:
    """Raises Fault NOT_FOUND for an unknown segment."""
    is_member = at.is_member
    return [
        ANSWERS[is_member(snapshot, pair.segment_key, pair.context_type, pair.context_key)] for pair in pairs
    ]


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
