"""Ingest (docs/apis/redpennon.md: Events, Traces): all or nothing, each event_id once per environment, traces
verified once.

Disposition of an event in the journal: 0 kept, 1 its trace verified, 2 its event_id was there before. A repeated
event is acknowledged, counted in `duplicates` and not stored as a row of its own; its trace isn't looked at. What
is wrong with a trace never shows: the answer depends on ids alone.

Event ids and used traces are reserved in windows that all workers share, then the record is published, then the
reservations are committed; nothing is awaited in between. The record carries the ids' hashes, one for each event,
and behind them those of the traces.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Final

from fanion._core.window import Reservation
from fanion.dialects.redpennon.emit import Catalogue
from fanion.dialects.redpennon.envelope import ACCEPTED
from fanion.dialects.redpennon.evaluate import Signers
from fanion.dialects.redpennon.governed import Gate
from fanion.dialects.redpennon.judged import Judge, read_judged_batch
from fanion.dialects.redpennon.schema import (
    Bodies,
    Checked,
    check_events,
    checked_of,
    read_flat_batch,
    read_plain_batch,
)
from fanion.dialects.redpennon.served import served
from fanion.dialects.redpennon.trace import TraceSigner, scope_of
from fanion.dialects.redpennon.words import NAME
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.ingest import Ingest
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Services, Snapshot
from fanion.errors import JournalError
from fanion.model.api_key import KeyRecord
from fanion.model.canonical import DUPLICATE, VERIFIED

NO_ID: Final = bytes(16)


def accepted(count: int, duplicates: int) -> Reply:
    if duplicates:
        return ACCEPTED, b'{"accepted":%d,"duplicates":%d}' % (count, duplicates)
    return ACCEPTED, b'{"accepted":%d}' % count


def take_events(services: Services, bodies: Bodies, signers: Signers, gate: Gate) -> Handler:
    read = bodies.events
    limits = services.config.limits
    judge = Judge(limits)
    ingest = Ingest(services, NAME)
    keep = _Keeper(services, ingest).keep

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
        if flat is None:
            flat = read_judged_batch(judge, body, at.catalogue, client=client)
        count, checked = flat if flat is not None else read_batch(body, at.catalogue, client=client)
        refused = gate.events(at.governed, count)
        if refused is not None:
            return refused
        if not count:
            return accepted(0, 0)
        try:
            return keep(record.environment, count, checked, signers.of(snapshot), body, received_ns)
        except JournalError as error:
            raise ingest.refusal(error) from None

    return handler


class _Keeper:
    """Puts one batch into the journal, with what the windows say of it."""

    def __init__(self, services: Services, ingest: Ingest) -> None:
        self._ingest = ingest
        self._event_ids = services.event_ids
        self._replays = services.replays

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
            return self._ingest.keep(environment, received_ns, body, accepted(count, 0), whole=True)
        ids: list[str | bytes | None] = [event.event_id for event in checked]
        repeated = None
        scope = f"{NAME}/{environment}".encode()
        if any(id is not None for id in ids):
            repeated = self._event_ids.reserve(scope, ids)
        reserved = [] if repeated is None else [repeated]
        try:
            dispositions = bytearray(len(checked) if repeated is None else repeated.dispositions)
            hashes = len(checked) * NO_ID if repeated is None else repeated.hashes
            duplicates = dispositions.count(DUPLICATE)
            reply = accepted(len(checked) - duplicates, duplicates)
            if duplicates == len(checked):
                sequence = 0
            else:
                used = self._use_traces(scope, environment, checked, signer, dispositions)
                if used is not None:
                    reserved.append(used)
                    hashes += used.hashes
                sequence = self._ingest.append(
                    environment, received_ns, body, bytes(dispositions), hashes, whole=True
                )
        except BaseException:
            for reservation in reserved:
                reservation.release()
            raise
        for reservation in reserved:
            if sequence:
                reservation.commit(sequence)
            else:
                reservation.release()
        return self._ingest.answer(reply, sequence, repeated if duplicates else None)

    def _use_traces(
        self,
        tenant: bytes,
        environment: str,
        checked: list[Checked],
        signer: TraceSigner | None,
        dispositions: bytearray,
    ) -> Reservation | None:
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
        used = self._replays.reserve(tenant, tokens)
        for number, replayed in zip(numbers, used.dispositions, strict=True):
            if not replayed:
                dispositions[number] = VERIFIED
        return used
