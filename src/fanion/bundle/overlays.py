"""Writing and reading back the rows of a table (`fanion.model.layers`)."""

from __future__ import annotations

from fanion.bundle import format as f
from fanion.bundle.format import Section
from fanion.bundle.sections import SectionReader, SectionWriter
from fanion.model.layers import Patch, Row, RowOutcome
from fanion.model.program import Table


def write_overlay(writer: SectionWriter, number: int, table: Table) -> None:
    """The rows of table `number`, where it has views of any."""
    views = table.views
    if not views and not table.rows:
        return
    if not 0 < views <= f.HOLES_MAX:
        raise writer.refuse(f"{views} views of a row", f"1 to {f.HOLES_MAX}")
    row_first = len(writer.rows[Section.ROWS])
    records = []
    for at, row in enumerate(table.rows):
        writer.where = ("row", at)
        records.append(_row(writer, row, at, table))
    writer.rows[Section.ROWS] += records
    writer.rows[Section.OVERLAYS].append(f.OVERLAY.pack(number, row_first, len(records), views))


def _row(writer: SectionWriter, row: Row, number: int, table: Table) -> bytes:
    views, entries = table.views, len(table.entries)
    if not 0 <= row.decision < len(writer.outcome_counts):
        raise writer.refuse(f"decision {row.decision}", f"there are {len(writer.outcome_counts)}")
    expected = writer.outcome_counts[row.decision]
    if len(row.outcomes) != expected:
        raise writer.refuse(f"{len(row.outcomes)} outcomes", f"as many as the decision: {expected}")
    slot = f.NONE
    if row.slot >= 0:
        slot = writer.slot(row.slot)
        writer.needs[slot] |= f.NEEDS_TEXT
    outcomes = []
    for outcome in row.outcomes:
        if len(outcome.views) != views:
            raise writer.refuse(f"{len(outcome.views)} views", f"in every row {views}")
        patch_first = len(writer.rows[Section.PATCHES])
        for patch in outcome.patches:
            if not 0 <= patch.entry < entries:
                raise writer.refuse(f"a patch of entry {patch.entry}", f"there are {entries}")
            writer.rows[Section.PATCHES].append(f.PATCH.pack(patch.entry, writer.fragment((patch.fragment,))))
        span = (patch_first, len(outcome.patches), outcome.note)
        outcomes.append(f.ROW_OUTCOME.pack(writer.fragment(outcome.views), *span))
    first = len(writer.rows[Section.ROW_OUTCOMES])
    writer.rows[Section.ROW_OUTCOMES] += outcomes
    group = number if row.group < 0 else row.group
    if group >= len(table.rows):
        raise writer.refuse(f"group {group}", f"there are {len(table.rows)} rows")
    return f.ROW.pack(row.decision, first, slot, group)


def read_overlay(reader: SectionReader, table: int) -> tuple[tuple[Row, ...], int]:
    """The rows of a table, in order, and how many views they have."""
    for number in range(reader.count(Section.OVERLAYS)):
        of, first, count, views = reader.row(Section.OVERLAYS, f.OVERLAY, number)
        if of == table:
            return tuple(_read_row(reader, first + n, n, views) for n in range(count)), views
    return (), 0


def _read_row(reader: SectionReader, number: int, at: int, views: int) -> Row:
    decision, first, slot, group = reader.row(Section.ROWS, f.ROW, number)
    count = reader.row(Section.DECISIONS, f.DECISION, decision)[4]
    outcomes = []
    for n in range(first, first + count):
        fragment, patch_first, patches, note = reader.row(Section.ROW_OUTCOMES, f.ROW_OUTCOME, n)
        rows = [reader.row(Section.PATCHES, f.PATCH, patch_first + k) for k in range(patches)]
        outcomes.append(
            RowOutcome(
                tuple(reader.fragment(fragment + view) for view in range(views)),
                tuple(Patch(entry, reader.fragment(patch)) for entry, patch in rows),
                note,
            )
        )
    return Row(decision, tuple(outcomes), -1 if slot == f.NONE else slot, -1 if group == at else group)
