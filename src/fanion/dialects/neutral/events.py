"""Taking a batch (docs/apis/neutral.md: Batches, Answers): every event by itself, each id once per environment, the
answer when the batch is safe.

Events that are wrong are cut from what is stored; repeated ones stay in the record and are marked. Ids are reserved
in the window that all workers share, then the record is published, then the reservation is committed; nothing is
awaited in between.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from fanion._core.said import Said
from fanion.dialects.neutral.envelope import OK, OVERLOADED
from fanion.dialects.neutral.schema import Schema
from fanion.dialects.neutral.served import Gate, served
from fanion.dialects.neutral.words import NAME
from fanion.dialects.wire.bodies import mended
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.ingest import Ingest
from fanion.dialects.wire.refusals import refusals
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Services, Snapshot
from fanion.errors import JournalError
from fanion.model.api_key import KeyRecord
from fanion.model.canonical import DUPLICATE

ID: Final = attrgetter("id")


class Checked(NamedTuple):
    """What a batch came to: `ids` of the events that are to be stored, as they stand in `body`; `places` of those
    in the request, None where all are to be stored."""

    body: bytes
    ids: list[str | bytes | None]
    rejected: Said | None
    places: list[int] | None

    @property
    def sent(self) -> int:
        """How many events came."""
        return len(self.ids) + (0 if self.rejected is None else self.rejected.count)

    def reply(self, duplicates: list[int]) -> Reply:
        """`duplicates`: numbers of stored events."""
        accepted = len(self.ids) - len(duplicates)
        if not duplicates and self.rejected is None:
            return OK, b'{"accepted":%d,"duplicates":[],"rejected":[]}' % accepted
        places = duplicates if self.places is None else [self.places[number] for number in duplicates]
        rejected = msgspec.Raw(b"[]" if self.rejected is None else self.rejected.list())
        answer = {"accepted": accepted, "duplicates": places, "rejected": rejected}
        return OK, msgspec.json.encode(answer)


def check(schema: Schema, body: bytes) -> Checked:
    """A batch. Raises Fault INVALID_JSON, INVALID_SHAPE; Condensed."""
    flat = schema.flat(body)
    if flat is not None:
        return Checked(body, [*flat], None, None)
    judged = schema.is_judged_first(body)
    sorted = sort(schema, body, partial(schema.check, body)) if judged else None
    if sorted is not None:
        return sorted
    schema.check(body)
    if not judged:
        sorted = sort(schema, body)
    if sorted is None and (meant := mended(body)) is not None:  # no decoder reads what was mended
        body = meant
        sorted = sort(schema, body)
    if sorted is not None:
        return sorted
    events = schema.whole(body)
    if events is not None:
        return Checked(body, list(map(ID, events)), None, None)
    return check_each(schema, schema.texts(body))


def sort(schema: Schema, body: bytes, check: Callable[[], object] | None = None) -> Checked | None:
    """A batch whose events are told apart natively; None for one that is to be read. As `check_each`, in less
    time. `check` looks for the bounds of a body, where it may break one."""
    rejected = refusals("reason")

    def ask(index: int, text: bytes) -> str | tuple[str]:
        event = schema.judge(text)
        return event if isinstance(event, str) else (event.id,)

    found = schema.event_judge.sort(body, rejected, ask, check=check)
    if found is None:
        return None
    (ids,), places, kept, _ = found
    if kept is None:
        return Checked(body, [*ids], None, None)
    return Checked(b'{"events":[%b]}' % kept, [*ids], rejected, places)


def check_each(schema: Schema, texts: list[bytes]) -> Checked:
    """The plain twin of `sort`, for every batch."""
    ids: list[str | bytes | None] = []
    kept: list[bytes] = []
    places: list[int] = []
    rejected = refusals("reason")
    for index, text in enumerate(texts):
        event = schema.judge(text)
        if isinstance(event, str):
            rejected.say(index, event)
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
        gate.events(at.terms, batch.sent)
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
