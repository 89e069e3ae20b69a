"""The newest events of the journal, and one of them whole.

What is read is bounded by time, and what is held by bytes, however quickly events come: the last seconds are read
first, and further back only where those have too few that fit.
"""

from __future__ import annotations

import json
import time
from collections import deque
from typing import Any, Final

import msgspec

from fanion.app.answering.records import Records
from fanion.console.questions import WORDS_MAX, EventFacts, EventList, EventRow, OneEvent, Tail
from fanion.dialects import canonical_forms
from fanion.errors import JournalError
from fanion.journal.batch import Record
from fanion.journal.event import Expanded, expand
from fanion.journal.reader import JournalReader
from fanion.model.canonical import iso_from_ns

WINDOWS_S: Final = (10.0, 120.0, 1_800.0, 86_400.0, 0.0)
"""How far back is looked; 0: to the beginning."""
BUDGET_S: Final = 2.5
FIND_S: Final = 8.0
HELD_BYTES_MAX: Final = 32 << 20
RECORDS_MAX: Final = 4_000
KEPT_S: Final = 1.5
"""Whoever asks the same within it is told the same."""
SHOWN_CHARS_MAX: Final = 40_000


class Events:
    """Of one data directory."""

    def __init__(self, records: Records) -> None:
        self._directory = records.directory
        self._forms = canonical_forms()
        self._kept: dict[Tail, tuple[float, EventList]] = {}

    def tail(self, asked: Tail) -> EventList:
        """The newest first."""
        made_at, found = self._kept.get(asked, (0.0, None))
        if found is None or time.monotonic() - made_at > KEPT_S:
            found = self._tail(asked)
            self._kept = {asked: (time.monotonic(), found)}
        return found

    def _tail(self, asked: Tail) -> EventList:
        ends = time.monotonic() + BUDGET_S
        found = EventList([], 0.0, True, 0, "")
        for window_s in WINDOWS_S:
            since_ns = time.time_ns() - int(window_s * 1e9) if window_s else 0
            try:
                held, whole = self._newest(asked, since_ns, ends)
            except JournalError as error:
                return EventList([], 0.0, True, 0, str(error))
            rows, read = self._rows(asked, held, ends)
            if rows or not found.rows:
                found = EventList(rows, window_s, whole, read, "")
            if len(rows) >= asked.most or not whole or time.monotonic() > ends:
                break
        return found

    def _newest(self, asked: Tail, since_ns: int, ends: float) -> tuple[list[Record], bool]:
        """Records of that time, the newest of each writer, and whether it was read to its end."""
        held: deque[Record] = deque()
        size = 0
        for batch in JournalReader(self._directory, since_ns=since_ns).read_batches():
            table, count = batch.table, len(batch.table)
            for row in range(max(0, count - RECORDS_MAX), count):
                if asked.dialect and batch.dialects[table.dialect[row]] != asked.dialect:
                    continue
                if asked.environment and batch.environments[table.environment[row]] != asked.environment:
                    continue
                held.append(batch.record(row))
                size += len(held[-1].body)
            while len(held) > RECORDS_MAX or size > HELD_BYTES_MAX:
                size -= len(held.popleft().body)
            if time.monotonic() > ends:
                return sorted(held, key=_received, reverse=True), False
        return sorted(held, key=_received, reverse=True), True

    def _rows(self, asked: Tail, held: list[Record], ends: float) -> tuple[list[EventRow], int]:
        rows: list[EventRow] = []
        for read, record in enumerate(held, 1):
            for one in reversed(self._expanded(record)):
                if _fits(asked, one):
                    rows.append(_row(one, record.received_ns))
                    if len(rows) >= asked.most:
                        return rows, read
            if time.monotonic() > ends:
                return rows, read
        return rows, len(held)

    def one(self, asked: OneEvent) -> EventFacts:
        """Raises JournalError where it isn't there any more."""
        ends = time.monotonic() + FIND_S
        reader = JournalReader(self._directory, since_ns=max(0, asked.received_ns))
        for record in reader.read():
            if (record.writer, record.epoch, record.sequence) == (asked.writer, asked.epoch, asked.sequence):
                for one in self._expanded(record):
                    if one.index == asked.index:
                        return self._facts(one, record)
            if time.monotonic() > ends:
                raise JournalError(
                    "It wasn't found in the time that a page has; `fanion journal cat` finds it."
                )
        raise JournalError("There is no such event, or it left the journal.")

    def _facts(self, one: Expanded, record: Record) -> EventFacts:
        said = msgspec.to_builtins(one.event)
        source = said.pop("source", None)
        return EventFacts(
            _row(one, record.received_ns),
            _indented(said),
            _indented(source),
            [
                ("writer", str(record.writer)),
                ("epoch", str(record.epoch)),
                ("sequence", f"{record.sequence:,}"),
                ("place in its request", str(one.index)),
                ("received", iso_from_ns(record.received_ns)),
                ("API", record.dialect),
                ("environment", record.environment),
                ("bytes of the request's events", f"{len(record.body):,}"),
            ],
        )

    def _expanded(self, record: Record) -> list[Expanded]:
        """Nothing of a record that can't be read."""
        try:
            return list(expand(record, self._forms))
        except JournalError:
            return []


def _received(record: Record) -> int:
    return record.received_ns


def _fits(asked: Tail, one: Expanded) -> bool:
    event = one.event
    return (
        asked.kind in ("", event.kind)
        and asked.flag in ("", event.flag_key or event.metric)
        and (not asked.unit or asked.unit in (event.unit or ""))
    )


def _row(one: Expanded, received_ns: int) -> EventRow:
    event = one.event
    value = "" if event.value is None else msgspec.json.encode(event.value).decode()
    return EventRow(
        one.writer,
        one.epoch,
        one.sequence,
        one.index,
        received_ns,
        event.received_at,
        event.kind,
        event.environment,
        event.dialect,
        (event.unit or "")[:WORDS_MAX],
        (event.flag_key or "")[:WORDS_MAX],
        (event.variant or "")[:WORDS_MAX],
        (event.metric or "")[:WORDS_MAX],
        value[:WORDS_MAX],
        event.disposition,
    )


def _indented(value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return (
        text
        if len(text) <= SHOWN_CHARS_MAX
        else f"{text[:SHOWN_CHARS_MAX]}\n… {len(text):,} characters in all"
    )
