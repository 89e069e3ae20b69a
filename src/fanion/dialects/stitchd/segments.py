"""stitchd's membership checks (docs/apis/stitchd.md: Membership checks, Batch membership checks).

A batch is answered in request order, one answer per pair; an unknown segment fails the whole call. Where its pairs
are plain, they are answered natively (`Answers`); the loop over pairs says the same of those, and of the rest.
After each `PIECE_PAIRS` that aren't a list's it gives way to other requests, and what comes then is answered from
the snapshot in force then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

from fanion._core.list_block import ListReader
from fanion._core.membership import Answers, Membership
from fanion.dialects.stitchd.envelope import OK
from fanion.dialects.stitchd.schema import Bodies, Pair
from fanion.dialects.stitchd.served import Served, not_found, served
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.json_bounds import UNSCANNED_BYTES_MAX
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Services, Snapshot
from fanion.model.api_key import KeyRecord

ANSWERS: Final = (b'{"is_member":false}', b'{"is_member":true}')

PIECE_PAIRS: Final = 512
"""Answered at a stretch, half a millisecond of a simple rule segment."""
LONG_MAX: Final = 16
"""Longer batches at a time: each holds its body meanwhile, or some MB of pairs."""
PAIR: Final = (b"segment_key", b"context_type", b"context_key")


def check_one(bodies: Bodies) -> Handler:
    read = bodies.pair

    def handler(snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers) -> Reply:
        at = served(snapshot, record, tail)
        pair = read(body)
        return OK, ANSWERS[at.holder(snapshot, pair.segment_key, pair.context_type)(pair.context_key)]

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
        scanned = len(body) > UNSCANNED_BYTES_MAX  # so what is passed over breaks no bound
        answers = Answers(body, PAIR, ANSWERS, text_max, scanned)
        done = _taken(answers, snapshot, at)
        if done:
            return OK, answers.list()
        pairs = read(body) if done is None else None
        if pairs is not None and len(pairs) <= PIECE_PAIRS:
            return OK, b"[%b]" % b",".join(_answered(snapshot, at, pairs))
        if long >= LONG_MAX:
            raise Fault(FaultKind.OVERLOADED, "too many long batches at a time", retry_after_s=1)
        return in_turn(record, tail, body, answers, pairs)

    async def in_turn(
        record: KeyRecord, tail: bytes, body: bytes, answers: Answers, pairs: list[Pair] | None
    ) -> Reply:
        """`answers`: of which some are there; `pairs`: of a body that they leave."""
        nonlocal long
        long += 1
        try:
            while pairs is None:
                await asyncio.sleep(0)
                snapshot = services.snapshots.current()
                done = _taken(answers, snapshot, served(snapshot, record, tail))
                if done:
                    return OK, answers.list()
                pairs = read(body) if done is None else None
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


def _taken(answers: Answers, snapshot: Snapshot, at: Served) -> bool | None:
    """Whether all is answered; None where the body is to be read. Raises Fault NOT_FOUND for an unknown segment."""
    try:
        return answers.take(partial(_segment, snapshot, at), PIECE_PAIRS)
    except KeyError as unknown:
        raise not_found(unknown.args[0]) from None
    except (LookupError, ValueError):
        return None  # a list that isn't there, or a damaged one: the loop tells


def _answered(snapshot: Snapshot, at: Served, pairs: Iterable[Pair]) -> list[bytes]:
    """Raises Fault NOT_FOUND for an unknown segment."""
    known: dict[tuple[str, str], Callable[[str], bool]] = {}
    found = []
    for pair in pairs:
        place = pair.segment_key, pair.context_type
        holds = known.get(place)
        if holds is None:
            holds = known[place] = at.holder(snapshot, *place)
        found.append(ANSWERS[holds(pair.context_key)])
    return found


def _segment(
    snapshot: Snapshot, at: Served, key: str, context_type: str
) -> Membership | tuple[ListReader | None, ListReader | None]:
    """What decides, or in which list a context's key has to stand and in which not. KeyError for an unknown
    segment."""
    segment = at.segments[key]
    if segment.lists is None:
        return at.decided(segment, context_type)
    sets = segment.lists.get(context_type)
    if sets is None:
        return None, None
    reader = snapshot.list_reader
    return reader(at.environment, sets[0]), reader(at.environment, sets[1])
