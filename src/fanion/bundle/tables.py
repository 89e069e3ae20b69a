"""A dialect's table, written and read back: entries, the index of their keys, the absent key's fragment, rows."""

from __future__ import annotations

import msgspec
import xxhash

from fanion.bundle import format as f
from fanion.bundle.format import Section
from fanion.bundle.overlays import read_overlay, write_overlay
from fanion.bundle.sections import SectionReader, SectionWriter, free_place
from fanion.model.program import Entry, Table


def write_table(writer: SectionWriter, name: str, table: Table) -> None:
    """Appends the table. Raises ProgramError with the key that breaks a rule."""
    entry_first = len(writer.rows[Section.ENTRIES])
    capacity = 1 << max(2, (2 * len(table.entries)).bit_length())
    index = [0] * capacity
    for place, entry in enumerate(table.entries):
        writer.where = ("table", name, "key", entry.key)
        if not 0 <= entry.decision < len(writer.outcome_counts):
            raise writer.refuse(f"decision {entry.decision}", f"there are {len(writer.outcome_counts)}")
        expected = writer.outcome_counts[entry.decision]
        if len(entry.fragments) != expected:
            raise writer.refuse(f"{len(entry.fragments)} fragments", f"one per outcome: {expected}")
        key = entry.key.encode()
        json = writer.blob(msgspec.json.encode(entry.key))
        fragment = writer.fragment(entry.fragments)
        if not -1 <= entry.row < len(table.rows):
            raise writer.refuse(f"row {entry.row}", f"there are {len(table.rows)}")
        row = f.NONE if entry.guest else entry.row + 1
        writer.rows[Section.ENTRIES].append(
            f.ENTRY.pack(*writer.blob(key), *json, entry.decision, fragment, entry.client_safe, row)
        )
        at = free_place(index, xxhash.xxh64_intdigest(key), lambda place: place == 0)
        index[at] = place + 1
    writer.where = ("table", name)
    if len({entry.key for entry in table.entries}) != len(table.entries):
        raise writer.refuse("a key stands twice", "keys are unique in a table")
    index_first = len(writer.rows[Section.INDEX])
    writer.rows[Section.INDEX] += [f.NUMBER.pack(number) for number in index]
    absent = writer.fragment((table.absent,))
    counts = (entry_first, len(table.entries), index_first, capacity - 1)
    number = len(writer.rows[Section.TABLES])
    writer.rows[Section.TABLES].append(f.TABLE.pack(*writer.text(name), *counts, absent, 0))
    write_overlay(writer, number, table)


def read_tables(reader: SectionReader) -> dict[str, Table]:
    """Every dialect's table, fragments in pieces."""
    found = {}
    for number in range(reader.count(Section.TABLES)):
        name, size, first, count, _, _, absent, _ = reader.row(Section.TABLES, f.TABLE, number)
        entries = tuple(_read_entry(reader, first + n) for n in range(count))
        rows, views = read_overlay(reader, number)
        found[reader.text(name, size)] = Table(entries, reader.fragment(absent), rows=rows, views=views)
    return found


def read_keys(reader: SectionReader) -> dict[str, set[str]]:
    """Every dialect's keys, without what is answered for them."""
    found = {}
    for number in range(reader.count(Section.TABLES)):
        name, size, first, count, *_ = reader.row(Section.TABLES, f.TABLE, number)
        rows = (reader.row(Section.ENTRIES, f.ENTRY, first + n) for n in range(count))
        found[reader.text(name, size)] = {reader.text(*row[:2]) for row in rows}
    return found


def _read_entry(reader: SectionReader, number: int) -> Entry:
    row = reader.row(Section.ENTRIES, f.ENTRY, number)
    outcomes = reader.row(Section.DECISIONS, f.DECISION, row[4])[4]
    fragments = tuple(reader.fragment(row[5] + n) for n in range(outcomes))
    guest = row[7] == f.NONE
    place = -1 if guest else row[7] - 1
    return Entry(reader.text(*row[:2]), row[4], fragments, bool(row[6]), place, guest)
