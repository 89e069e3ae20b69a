"""Taking a batch (docs/apis/neutral.md: Batches, Answers): every event by itself, each id once per environment, the
answer when the batch is safe.

Events that are wrong are cut from what is stored; repeated ones stay in the record and are marked. Ids are reserved
in the window that all workers share, then the record is published, then the reservation is committed; nothing is
awaited in between.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from fanion.dialects.neutral.envelope import OK, OVERLOADED
from fanion.dialects.neutral.schema import Schema
from fanion.dialects.neutral.served import Gate, served
from fanion.dialects.neutral.words import NAME
from fanion.dialects.wire.bodies import mended
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.fault import Fault
from fanion.dialects.wire.ingest import Ingest, echoed
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Services, Snapshot
from fanion.errors import JournalError
from fanion.model.api_key import KeyRecord
from fanion.model.canonical import DUPLICATE

ID: Final = attrgetter("id")
Rejected = dict[str, object]


class Checked(NamedTuple):
    """What a batch came to: `ids` of the events that are to be stored, as they stand in `body`; `places` of those
    in the request, None where all are to be stored."""

    body: bytes
    ids: list[str | bytes | None]
    rejected: list[Rejected]
    places: list[int] | None

    def reply(self, duplicates: list[int]) -> Reply:
        """`duplicates`: numbers of stored events."""
        accepted = len(self.ids) - len(duplicates)
        if not duplicates and not self.rejected:
            return OK, b'{"accepted":%d,"duplicates":[],"rejected":[]}' % accepted
        places = duplicates if self.places is None else [self.places[number] for number in duplicates]
        rejected = echoed(self.rejected, _shown_bytes)
        answer = {"accepted": accepted, "duplicates": places, "rejected": rejected}
        return OK, msgspec.json.encode(answer)


def _shown_bytes(entry: Rejected) -> int:
    return len(msgspec.json.encode(entry))


def check(schema: Schema, body: bytes) -> Checked:
    """A batch. Raises Fault INVALID_JSON, INVALID_SHAPE; Condensed."""
    flat = schema.flat(body)
    if flat is not None:
        return Checked(body, [*flat], [], None)
    schema.check(body)
    events = schema.whole(body)
    if events is None and (meant := mended(body)) is not None:
        body = meant
        events = schema.whole(body)
    if events is not None:
        return Checked(body, list(map(ID, events)), [], None)
    return check_each(schema, schema.texts(body))


def check_each(schema: Schema, texts: list[bytes]) -> Checked:
    ids: list[str | bytes | None] = []
    kept: list[bytes] = []
    places: list[int] = []
    rejected: list[Rejected] = []
    for index, text in enumerate(texts):
        try:
            event = schema.event(text)
        except Fault as fault:
            rejected.append({"index": index, "reason": fault.message})
        else:
            ids.append(event.id)
            kept.append(text)
            places.append(index)
    return Checked(b'{"events":[%b]}' % b",".join(kept), ids, rejected, places)


def take_events(services: Services, schema: Schema) -> Handler:
    ingest = Ingest(services, NAME, OVERLOADED)
    gate = Gate(services)
    window = services.event_ids

    def handler(
        snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers
    ) -> Reply | Awaitable[Reply]:
        received_ns = time.time_ns()
        at = served(snapshot, record)
        batch = check(schema, body)
        gate.events(at.terms, len(batch.ids) + len(batch.rejected))
        if not batch.ids:
            return batch.reply([])
        try:
            return keep(record.environment, at.scope, batch, received_ns)
        except JournalError as error:
            raise ingest.refusal(error) from None

    def keep(environment: str, scope: bytes, batch: Checked, received_ns: int) -> Reply | Awaitable[Reply]:
        """Raises JournalError when nothing was kept."""
        reserved = window.reserve(scope, batch.ids)
        dispositions = bytes(reserved.dispositions)
        repeated = DUPLICATE in dispositions
        duplicates = [n for n, code in enumerate(dispositions) if code == DUPLICATE] if repeated else []
        reply = batch.reply(duplicates)
        if len(duplicates) == len(batch.ids):
            reserved.release()
            return ingest.answer(reply, 0, reserved)
        try:
            ids = bytes(reserved.hashes)
            sequence = ingest.append(environment, received_ns, batch.body, dispositions, ids, whole=True)
        except BaseException:
            reserved.release()
            raise
        reserved.commit(sequence)
        return ingest.answer(reply, sequence, reserved if repeated else None)

    return handler
