"""Ingest (docs/apis/traffical.md: Events): every event by itself, each id once per project, the answer when
the batch is safe.

`accepted` counts the valid events, repeated ones included; `written` those less the repeated and the ones that a
schema keeps out. Events that are not valid or kept out are cut from what is stored, and so is whatever stands
beside the events, which is not looked at; repeated ones stay in the record and are marked. Ids are reserved in the
window that all workers share, then the record is published, then the reservation is committed; nothing is awaited
in between.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from operator import attrgetter
from typing import Final

import msgspec

from fanion._core.said import Said
from fanion.dialects.traffical.envelope import EVENTS_MAX, NO_EVENTS, OK, OVERLOADED
from fanion.dialects.traffical.event_schema import (
    LISTED_MAX,
    VIOLATIONS_MAX,
    Effort,
    TooManyListedError,
    Violation,
)
from fanion.dialects.traffical.event_structs import PlainTrack, Track
from fanion.dialects.traffical.schema import PlainEvent, Schema
from fanion.dialects.traffical.served import Served, served
from fanion.dialects.traffical.words import NAME
from fanion.dialects.wire.bodies import mended
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.ingest import ECHO_BYTES_MAX, Ingest, echoed
from fanion.dialects.wire.refusals import refusals
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Services, Snapshot
from fanion.errors import JournalError, StoreError
from fanion.model.api_key import KeyRecord
from fanion.model.canonical import DUPLICATE

ID: Final = attrgetter("id")
PLACE: Final = attrgetter("orgId", "projectId", "env")
NOTHING: Final[list[dict[str, object]]] = []
"""What is warned of in a batch in which nothing is wrong; never added to."""

TOLD_MAX: Final = ECHO_BYTES_MAX // len(b'{"path":"","message":"must be","rule":""}')
"""More violations than that don't fit into what is echoed, whatever they are."""


TOO_MANY_LISTED: Final = f"properties: at most {LISTED_MAX} values inside lists are looked at in one batch"


class CheckedBatch:
    """What one request's events came to: `count` are to be stored, as they stand in the body, or where some are
    to be left out, as `kept`, with commas between."""

    __slots__ = ("_effort", "_told", "accepted", "count", "errors", "ids", "kept", "warnings")

    def __init__(
        self,
        ids: list[str | bytes | None],
        warnings: list[dict[str, object]],
        errors: Said | None = None,
    ) -> None:
        """Of a batch in which every event, one for each of `ids`, is to be stored."""
        self.accepted = self.count = len(ids)
        self.kept: bytes | None = None
        self.ids = ids
        self.errors = errors
        self.warnings = warnings
        self._told = 0
        self._effort = Effort()

    def violations(self, at: Served, event: Track | PlainTrack) -> tuple[list[Violation], bool]:
        """What is wrong with an event's properties; one of it where no answer has room for more. Raises
        TooManyListedError."""
        most = VIOLATIONS_MAX if self._told < TOLD_MAX else 1
        return at.events.check(event.event, event.properties, most, self._effort)

    def warn(self, index: int, event: Track | PlainTrack, violations: list[Violation]) -> None:
        self._told += len(violations)
        self.warnings.append({"index": index, "event": event.event, "violations": violations})

    def reply(self, written: int) -> Reply:
        wrong = self.errors is not None and self.errors.count > 0
        if not wrong and not self.warnings:
            return OK, b'{"accepted":%d,"written":%d}' % (self.accepted, written)
        answer: dict[str, object] = {"accepted": self.accepted, "written": written}
        if self.errors is not None and wrong:
            answer["validationErrors"] = msgspec.Raw(self.errors.list())
        if self.warnings:
            answer["schemaWarnings"] = echoed(self.warnings, _shown_bytes)
        return OK, msgspec.json.encode(answer)


def _shown_bytes(entry: dict[str, object]) -> int:
    return len(msgspec.json.encode(entry))


def is_text(data: bytes) -> bool:
    """Whether the bytes are UTF-8: the decoder doesn't look at members that it skips."""
    try:
        return data.isascii() or data.decode() is not None
    except UnicodeDecodeError:
        return False


def check_flat(schema: Schema, at: Served, body: bytes) -> CheckedBatch | None:
    """What a batch came to that is plain to the byte, with no event whose properties are to be checked; None: read
    it."""
    found = schema.flat_events.check(body, at.own)
    if found is None:
        return None
    count, names, _, (ids,) = found
    if at.events and any(name in at.events for (name,) in names if name is not None):
        return None
    return CheckedBatch([None] * count if ids is None else [*ids], NOTHING)


def check_plain(at: Served, events: list[PlainEvent]) -> CheckedBatch | None:
    """What a batch of plain events came to; None where one of them is another project's or kept out."""
    places = set(map(PLACE, events))
    own = at.organisation, at.project, at.environment
    for given in places:
        if any(one is not None and one != mine for one, mine in zip(given, own, strict=True)):
            return None
    batch = CheckedBatch(list(map(ID, events)), [])
    if at.events:
        for index, event in enumerate(events):
            if isinstance(event, PlainTrack) and event.event in at.events:
                try:
                    violations, rejected = batch.violations(at, event)
                except TooManyListedError:
                    return None
                if rejected:
                    return None
                if violations:
                    batch.warn(index, event, violations)
    return batch


def judging(
    schema: Schema, at: Served, batch: CheckedBatch
) -> Callable[[int, bytes], str | tuple[str | None, ...] | None]:
    """Reads the events of one batch one by one: what is wrong with one, None where a schema keeps it out, else its
    id and its name as far as it has one. `batch` is told what a schema says."""
    judge = schema.judging()

    def ask(index: int, text: bytes) -> str | tuple[str | None, ...] | None:
        event = judge(text) if is_text(text) else "not UTF-8"
        if isinstance(event, str):
            return event
        for name, given, own in (
            ("orgId", event.orgId, at.organisation),
            ("projectId", event.projectId, at.project),
            ("env", event.env, at.environment),
        ):
            if given is not None and given != own:
                return f"{name}: not the API key's own"
        if not isinstance(event, Track | PlainTrack):
            return event.id, None
        try:
            violations, rejected = batch.violations(at, event)
        except TooManyListedError:
            return TOO_MANY_LISTED
        if violations:
            batch.warn(index, event, violations)
        return None if rejected else (event.id, event.event)

    return ask


def sort_events(
    schema: Schema, at: Served, body: bytes, check: Callable[[], object] | None = None
) -> CheckedBatch | None:
    """A batch whose events are told apart natively; None for one that is to be read. As `check_events`, in less
    time. `check` looks for the bounds of a body, where it may break one."""
    batch = CheckedBatch([], [], refusals("error"))
    assert batch.errors is not None
    watched = at.events if at.events else None
    found = schema.event_judge.sort(body, batch.errors, judging(schema, at, batch), at.own, watched, check)
    if found is None:
        return None
    (ids, _), _, batch.kept, left_out = found
    batch.ids, batch.count, batch.accepted = [*ids], len(ids), len(ids) + left_out
    return batch


def check_events(schema: Schema, at: Served, texts: list[bytes]) -> CheckedBatch:
    """Every event by itself: the plain twin of `sort_events`, for every batch."""
    errors = refusals("error")
    batch = CheckedBatch([], [], errors)
    kept: list[bytes] = []
    ask = judging(schema, at, batch)
    for index, text in enumerate(texts):
        found = ask(index, text)
        if isinstance(found, str):
            errors.say(index, found)
            continue
        batch.accepted += 1
        if found is not None:
            kept.append(text)
            batch.ids.append(found[0])
    batch.count = len(kept)
    batch.kept = None if batch.count == len(texts) else b",".join(kept)
    return batch


def unserved(error: StoreError | Fault) -> Exception:
    """Why the environment can't be had; of a client's 4xx it would drop what it can send again."""
    if isinstance(error, Fault) and error.kind is FaultKind.NOT_FOUND:
        return Fault(FaultKind.OVERLOADED, "The environment is not there now", retry_after_s=1)
    return error


def take_events(services: Services, schema: Schema) -> Handler:
    ingest = Ingest(services, NAME, OVERLOADED)
    keeper = _Keeper(services, ingest)

    def handler(
        snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers
    ) -> Reply | Awaitable[Reply]:
        received_ns = time.time_ns()
        at: Served | Exception
        try:
            at = served(snapshot, record)
        except (StoreError, Fault) as error:
            at = unserved(error)  # what is wrong with the body is told first
        batch = None if isinstance(at, Exception) else check_flat(schema, at, body)
        judged = batch is None and schema.is_judged_first(body)
        if batch is None and judged and not isinstance(at, Exception):
            batch = sort_events(schema, at, body, partial(schema.check_batch, body))
        if batch is None:
            schema.check_batch(body)
            body, batch = check(at, body, judged=judged)
        if not batch.count:
            return batch.reply(0)
        assert not isinstance(at, Exception)
        try:
            return keeper.keep(record.environment, at.ids_scope, batch, body, received_ns)
        except JournalError as error:
            raise ingest.refusal(error) from None

    def check(at: Served | Exception, body: bytes, *, judged: bool) -> tuple[bytes, CheckedBatch]:
        """The body as it is kept. No decoder reads one that has to be mended. `judged`: it can't be sorted."""
        sort = None if judged or isinstance(at, Exception) else sort_events(schema, at, body)
        meant = mended(body) if sort is None else None
        if meant is not None:
            body = meant
            sort = None if isinstance(at, Exception) else sort_events(schema, at, body)
        if sort is not None:
            return body, sort
        plain = schema.plain_events(body)
        texts = [] if plain is not None else read(body)
        if isinstance(at, Exception):
            raise at
        batch = None if plain is None else check_plain(at, plain)
        if batch is None:
            texts = texts or read(body)
            batch = check_events(schema, at, texts)
            if batch.kept is None and not schema.alone(body):
                batch.kept = b",".join(texts)
        return body, batch

    def read(body: bytes) -> list[bytes]:
        """The events' own bytes; what is no array of 1 to 1000 is refused in the documents' words."""
        try:
            texts = schema.events(body)
        except Fault as fault:
            if fault.kind is FaultKind.INVALID_SHAPE:
                raise Fault(FaultKind.INVALID_SHAPE, NO_EVENTS) from None
            raise
        if not 0 < len(texts) <= EVENTS_MAX:
            raise Fault(FaultKind.INVALID_SHAPE, NO_EVENTS)
        return texts

    return handler


class _Keeper:
    """Puts one batch into the journal, with what the window says of its ids."""

    def __init__(self, services: Services, ingest: Ingest) -> None:
        self._ingest = ingest
        self._window = services.event_ids

    def keep(
        self, environment: str, scope: bytes, batch: CheckedBatch, body: bytes, received_ns: int
    ) -> Reply | Awaitable[Reply]:
        """Raises JournalError when nothing was kept."""
        kept = batch.kept
        if kept is not None:
            body = b"[%b]" % kept
        reserved = None
        duplicates = 0
        dispositions = ids = b""
        if batch.ids.count(None) < batch.count:
            reserved = self._window.reserve(scope, batch.ids)
            dispositions, ids = bytes(reserved.dispositions), bytes(reserved.hashes)
            duplicates = dispositions.count(DUPLICATE)
        reply = batch.reply(batch.count - duplicates)
        if duplicates == batch.count:
            assert reserved is not None
            reserved.release()
            return self._ingest.answer(reply, 0, reserved)
        try:
            sequence = self._ingest.append(
                environment, received_ns, body, dispositions, ids, whole=kept is None
            )
        except BaseException:
            if reserved is not None:
                reserved.release()
            raise
        if reserved is not None:
            reserved.commit(sequence)
        return self._ingest.answer(reply, sequence, reserved if duplicates else None)
