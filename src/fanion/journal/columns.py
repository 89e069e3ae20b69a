"""Batches of records to columns: the native expansion, and the plain one for what it doesn't read exactly.

`Expander` collects rows (docs/rows.md) until they are taken as `Columns`, which leave by the Arrow C data
interface. A record that can't be read is counted in `unreadable` and named in `problems`, and the others go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fanion._core.columns import Columns
from fanion._core.row_shape import Shape
from fanion._core.rows import RowBuilder
from fanion.errors import JournalError
from fanion.journal.batch import Record, RecordBatch
from fanion.journal.event import split_events
from fanion.journal.rows import (
    IMPLAUSIBLE,
    RECEIVED,
    SENT,
    SENT_AGE_MAX_US,
    SENT_AHEAD_MAX_US,
    FlagOf,
    Row,
    expand_rows,
    nobody,
    parts_of,
    row_of,
)
from fanion.model.canonical import DISPOSITIONS, Canonical
from fanion.model.rows import KINDS, Member, Variant
from fanion.model.units import KeyOf, no_key

PROBLEMS_MAX: Final = 20
"""What is told of records that can't be read; all of them are counted."""


class Expander:
    """`canonical`: dialect -> how its events read. `flag_of`: the flags of parameters, where events name those.
    `key_of`: the keys of environments whose units' digests are keyed. `own`: a kind of rows that is collected apart
    from the others."""

    def __init__(
        self,
        canonical: Mapping[str, Canonical],
        flag_of: FlagOf = nobody,
        key_of: KeyOf = no_key,
        *,
        own: str | None = None,
    ) -> None:
        self._canonical = canonical
        self._flag_of = flag_of
        self._key_of = key_of
        self._shapes = {dialect: _shape(form) for dialect, form in canonical.items()}
        self._builder = RowBuilder(
            kinds=KINDS,
            dispositions=DISPOSITIONS,
            times=(SENT, RECEIVED, IMPLAUSIBLE),
            age_max_us=SENT_AGE_MAX_US,
            ahead_max_us=SENT_AHEAD_MAX_US,
            own=own,
        )
        self.unreadable = 0
        self.problems: list[str] = []

    @property
    def rows(self) -> int:
        """Collected and not taken."""
        return self._builder.rows

    @property
    def text_bytes(self) -> int:
        """Of the column of texts that has the most; take it long before 2 GiB."""
        return self._builder.text_bytes

    def add(self, batch: RecordBatch) -> None:
        """The rows of a batch, which is not needed afterwards."""
        self._builder.expand(
            batch.buffer,
            batch.table,
            batch.machine.hex(),
            batch.writer,
            batch.epoch,
            batch.dialects,
            batch.environments,
            [self._key_of(environment) for environment in batch.environments],
            self._shapes,
            _Plain(self, batch).rows,
            self._flag_of,
        )

    def take(self) -> Columns:
        """What was collected; the next rows begin anew. Where no kind is collected apart."""
        (columns,) = self._builder.take()
        return columns

    def take_parts(self) -> list[Columns]:
        """The same: the rows of the kind that is collected apart, then the others, as far as there are some."""
        return self._builder.take()

    def plain_record(self, record: Record, machine: str) -> list[Row]:
        """Nothing, and counted, where the record can't be read."""
        try:
            return list(expand_rows(record, machine, self._canonical, self._flag_of, self._key_of))
        except JournalError as error:
            self.unreadable += 1
            if len(self.problems) < PROBLEMS_MAX:
                self.problems.append(str(error))
            return []

    def plain_event(self, record: Record, machine: str, index: int, sent: object) -> list[Row]:
        if sent is None and record.holes:
            return []  # erased
        form, key = self._canonical[record.dialect], self._key_of(record.environment)
        return [
            row_of(record, machine, form, index, part, fields, self._flag_of, key)
            for part, fields in enumerate(parts_of(form.rows, sent))
        ]


class _Plain:
    """A batch's records as the plain expansion reads them; the one that was asked for last is kept."""

    def __init__(self, expander: Expander, batch: RecordBatch) -> None:
        self._expander = expander
        self._batch = batch
        self._machine = batch.machine.hex()
        self._row = -1

    def rows(self, row: int, index: int) -> list[Row]:
        """Of one event, -1: of the whole record."""
        if row != self._row:
            self._record = self._batch.record(row)
            self._row = row
            self._events: list[object] | None = None
        if index < 0:
            return self._expander.plain_record(self._record, self._machine)
        if self._events is None:
            self._events = self._split()
        if index >= len(self._events):
            return []  # the text behind this event is no JSON: the whole record is asked for next
        return self._expander.plain_event(self._record, self._machine, index, self._events[index])

    def _split(self) -> list[object]:
        try:
            return split_events(self._record)
        except JournalError:
            return []


def _shape(form: Canonical) -> Shape:
    shape = form.rows
    variants = [(tag, *_variant(variant)) for tag, variant in shape.variants.items()]
    return Shape(
        [_member(member) for member in shape.members],
        shape.tag,
        [*variants, (None, *_variant(shape.other))],
        shape.parts,
        [_member(member) for member in shape.part_members],
        KINDS,
        units_hashed=shape.units_hashed,
        traced=form.traced,
        resolves=shape.flags_of is not None,
    )


def _member(member: Member) -> tuple[str, str, int, str | None, bool]:
    return member.path, member.column, int(member.reads), member.unit_kind, member.hashed


def _variant(variant: Variant) -> tuple[str, frozenset[str], bool]:
    return variant.kind, variant.without, variant.parts
