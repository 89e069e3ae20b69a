"""A dialect's table, written and read back: entries, the index of their keys, the absent key's fragment, rows."""

from __future__ import annotations

import msgspec

from fanion.bundle import format as f
from fanion.bundle.format import Section
from fanion.bundle.overlays import read_overlay, write_overlay
from fanion.bundle.sections import SectionReader, SectionWriter
from fanion.model.parts import Fragment
from fanion.model.program import Entry, Table


def write_table(writer: SectionWriter, name: str, table: Table) -> None:
    """Appends the table. Raises ProgramError with the key that breaks a rule."""
    entries, index = writer.rows[Section.ENTRIES], writer.rows[Section.INDEX]
    entry_first, index_first = len(entries), len(index)
    try:
        writer.fragments.entries(
            entries, index, table.entries, writer.outcome_counts, len(table.rows), msgspec.json.encode
        )
    except (UnicodeEncodeError, OverflowError) as error:
        writer.where = ("table", name)
        raise writer.refuse(
            f"{error}", "text without halves of surrogate pairs, numbers of 32 bits"
        ) from None
    except ValueError as error:
        key, found, allowed = error.args
        writer.where = ("table", name) if key is None else ("table", name, "key", key)
        raise writer.refuse(found, allowed) from None
    writer.where = ("table", name)
    absent = writer.fragment((table.absent,))
    counts = (entry_first, len(table.entries), index_first, len(index) - index_first - 1)
    number = len(writer.rows[Section.TABLES])
    writer.rows[Section.TABLES].append(f.TABLE.pack(*writer.text(name), *counts, absent, 0))
    write_overlay(writer, number, table)


def read_tables(reader: SectionReader, fragments: bool) -> dict[str, Table]:
    """Every dialect's table, fragments in pieces. Without `fragments` entries have none."""
    found = {}
    for number in range(reader.count(Section.TABLES)):
        name, size, first, count, _, _, absent, _ = reader.row(Section.TABLES, f.TABLE, number)
        entries = tuple(_read_entry(reader, first + n, fragments) for n in range(count))
        rows, views = read_overlay(reader, number)
        found[reader.text(name, size)] = Table(entries, reader.fragment(absent), rows=rows, views=views)
    return found


def read_keys(reader: SectionReader) -> dict[str, set[str]]:
    """Every dialect's keys, without what is answered for them."""
    entries = reader.bytes_of(Section.ENTRIES)
    known: dict[int, str] = {}
    """By their places in the blob: dialects mostly have the same."""
    found = {}
    for number in range(reader.count(Section.TABLES)):
        name, size, first, count, *_ = reader.row(Section.TABLES, f.TABLE, number)
        own = entries[first * f.ENTRY.size : (first + count) * f.ENTRY.size]
        places = {place for (place,) in f.ENTRY_KEY.iter_unpack(own)}
        for place in places - known.keys():
            known[place] = reader.text(place & f.NONE, place >> 32)
        found[reader.text(name, size)] = {known[place] for place in places}
    return found


def _read_entry(reader: SectionReader, number: int, fragments: bool) -> Entry:
    row = reader.row(Section.ENTRIES, f.ENTRY, number)
    own: tuple[Fragment, ...] = ()
    if fragments:
        outcomes = reader.row(Section.DECISIONS, f.DECISION, row[4])[4]
        own = tuple(reader.fragment(row[5] + n) for n in range(outcomes))
    guest = row[7] == f.NONE
    place = -1 if guest else row[7] - 1
    return Entry(reader.text(*row[:2]), row[4], own, bool(row[6]), place, guest)
