"""Ingest (contract sections 4 and 6): all or nothing, each event_id once per environment, traces verified once.

Disposition of an event in the journal: 0 kept, 1 its trace verified, 2 its event_id was there before. A repeated
event is acknowledged, counted in `duplicates` and not stored as a row of its own; its trace isn't looked at. What
is wrong with a trace never shows: the answer depends on ids alone.

Event ids and used traces are reserved in windows that all workers share, then the record is published, then the
reservations are committed; nothing is awaited in between. The record carries the ids' hashes, one for each event,
and behind them those of the traces.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fanion.auth.trace import TraceSigner, scope_of
from fanion.dialects.redpennon.emit import NAME, Catalogue
from fanion.dialects.redpennon.evaluate import Signers, served
from fanion.dialects.redpennon.refusals import COMMON, Gate
from fanion.dialects.redpennon.schema import (
    Bodies,
    Checked,
    check_events,
    checked_of,
    read_flat_batch,
    read_plain_batch,
)
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.ingest import when_safe
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Services, Snapshot
from fanion.errors import JournalError, JournalFullError
from fanion.model.api_key import KeyRecord

RETRY_AFTER_S: Final = 1.0
NO_ID: Final = bytes(16)
VERIFIED: Final = 1
DUPLICATE: Final = 2
TRACES: Final = b"redpennon/traces"

ACCEPTED: Final[dict[str, Any]] = {"type": "http.response.start", "status": 202, "headers": COMMON}


def accepted(count: int, duplicates: int) -> Reply:
    if duplicates:
        return ACCEPTED, b'{"accepted":%d,"duplicates":%d}' % (count, duplicates)
    return ACCEPTED, b'{"accepted":%d}' % count


def take_events(
    services: Services, bodies: Bodies, signers: Signers, gate: Gate
) -> Callable[..., Reply | Awaitable[Reply]]:
    read = bodies.events
    limits = services.config.limits
    keep = _Keeper(services).keep

    def read_batch(body: bytes, catalogue: Catalogue, *, client: bool) -> tuple[int, list[Checked]]:
        plain = read_plain_batch(body, limits, catalogue, client=client)
        if plain is not None:
            return len(plain), checked_of(plain, catalogue)
        events = read(body)
        return len(events), check_events(events, catalogue, client=client)

    def handler(
        snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers
    ) -> Reply | Awaitable[Reply]:
        received_ns = time.time_ns()
        at = served(snapshot, record)
        client = record.kind == "client"
        flat = read_flat_batch(body, at.catalogue, client=client)
        count, checked = flat if flat is not None else read_batch(body, at.catalogue, client=client)
        refused = gate.events(at.governed, count)
        if refused is not None:
            return refused
        if not count:
            return accepted(0, 0)
        try:
            return keep(record.environment, count, checked, signers.of(snapshot), body, received_ns)
        except JournalError as error:
            raise _overloaded(error) from None

    return handler


class _Keeper:
    """Puts one batch into the journal, with what the windows say of it."""

    def __init__(self, services: Services) -> None:
        self._journal = services.journal
        self._event_ids = services.event_ids
        self._replays = services.replays
        self._durable = services.config.journal.ack == "durable"

    def keep(
        self,
        environment: str,
        count: int,
        checked: list[Checked],
        signer: TraceSigner | None,
        body: bytes,
        received_ns: int,
    ) -> Reply | Awaitable[Reply]:
        """`checked` may be empty where no event has an id or a trace. Raises JournalError when nothing was kept."""
        if not any(event.event_id is not None or event.trace is not None for event in checked):
            sequence = self._append(environment, body, received_ns, b"", b"")
            return self._answer(sequence, accepted(count, 0), None)
        ids: list[str | bytes | None] = [event.event_id for event in checked]
        repeated = None
        if any(id is not None for id in ids):
            repeated = self._event_ids.reserve(f"{NAME}/{environment}".encode(), ids)
        reserved = [] if repeated is None else [repeated]
        try:
            dispositions = bytearray(len(checked) if repeated is None else repeated.dispositions)
            hashes = len(checked) * NO_ID if repeated is None else repeated.hashes
            duplicates = dispositions.count(DUPLICATE)
            reply = accepted(len(checked) - duplicates, duplicates)
            if duplicates == len(checked):
                sequence = 0
            else:
                used = self._use_traces(environment, checked, signer, dispositions)
                if used is not None:
                    reserved.append(used)
                    hashes += used.hashes
                sequence = self._append(environment, body, received_ns, bytes(dispositions), hashes)
        except BaseException:
            for reservation in reserved:
                reservation.release()
            raise
        for reservation in reserved:
            if sequence:
                reservation.commit(sequence)
            else:
                reservation.release()
        return self._answer(sequence, reply, repeated if duplicates else None)

    def _use_traces(
        self,
        environment: str,
        checked: list[Checked],
        signer: TraceSigner | None,
        dispositions: bytearray,
    ) -> Any | None:
        """Marks the events whose trace verifies; the reservation of the traces used, if any."""
        if signer is None:
            return None
        numbers: list[int] = []
        tokens: list[str | bytes | None] = []
        for number, event in enumerate(checked):
            if event.trace is None or dispositions[number] == DUPLICATE:
                continue
            scope = scope_of(environment, event.feature, event.variation)
            found = signer.check(event.trace, scope, event.user)
            if found is not None:
                numbers.append(number)
                tokens.append(found.serial + event.name.encode())
        if not tokens:
            return None
        used = self._replays.reserve(TRACES, tokens)
        for number, replayed in zip(numbers, used.dispositions, strict=True):
            if not replayed:
                dispositions[number] = VERIFIED
        return used

    def _append(
        self, environment: str, body: bytes, received_ns: int, dispositions: bytes, ids: bytes
    ) -> int:
        return self._journal.append(
            dialect=NAME,
            environment=environment,
            received_ns=received_ns,
            body=body,
            whole=True,
            dispositions=dispositions,
            ids=ids,
        )

    def _answer(self, sequence: int, reply: Reply, repeated: Any | None) -> Reply | Awaitable[Reply]:
        if not self._durable and repeated is None:
            return reply
        synced = self._journal.durable(sequence) if self._durable and sequence else None
        return when_safe(reply, _overloaded, synced, self._event_ids, repeated)


def _overloaded(error: JournalError) -> Fault:
    """Nothing of the batch counts as kept; the client sends it again."""
    full = isinstance(error, JournalFullError)
    reason = "The event buffer is full." if full else "The events could not be stored."
    return Fault(FaultKind.OVERLOADED, f"{reason} Send them again.", retry_after_s=RETRY_AFTER_S)
