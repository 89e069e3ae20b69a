"""Weights under keys put into a bundle that is compiled already, in the place of those that it has.

All else is copied as it is: no decision is read but for where its choices by weights stand. A choice is found by
the text that its draw's hash ends with, which tells a source's policies apart; it keeps its keys that no new
weights are for. What comes of it verifies as what the compiler makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from fanion.bundle import format as f
from fanion.bundle.format import NodeType, Section
from fanion.bundle.sections import SectionReader, SectionWriter
from fanion.model.parts import PieceKind

REPLACED: Final = frozenset({Section.BLOB, Section.NUMBERS, Section.VECTORS, Section.KEYED})


class Graft(msgspec.Struct, frozen=True):
    """`everyone`: the weights of all keys without some of their own; `keys`: those of others. `note` is of all."""

    everyone: tuple[float, ...]
    keys: Mapping[str, tuple[float, ...]]
    note: str


class _Row(msgspec.Struct, frozen=True):
    """A vector as it is written: spans of the blob, and its numbers."""

    key: tuple[int, int]
    numbers: tuple[float, ...]
    note: tuple[int, int]


def graft(bundle: bytes, grafts: Mapping[str, Graft]) -> bytes:
    """The bundle with other weights, by the last literal of the draw's hash. Raises ProgramError beyond a limit,
    KeyError for a literal that no choice has."""
    reader, writer = SectionReader(bundle), SectionWriter("", 0)
    writer.where = ("weights",)
    for section in Section:
        if section not in REPLACED:
            writer.rows[section].append(reader.bytes_of(section))
    writer.blob(reader.bytes_of(Section.BLOB))  # first: what is known stays where it is
    literals = _literals(reader)
    if missing := grafts.keys() - set(literals.values()):
        raise KeyError(min(missing))
    kept: dict[tuple[int, int], int] = {}
    for number in range(reader.count(Section.KEYED)):
        row = list(reader.row(Section.KEYED, f.KEYED, number))
        first, count, fallback = row[2:5]
        found = grafts.get(literals.get(number, ""))
        if found is None:
            row[2] = _copied(reader, writer, kept, first, count)
            row[4] = f.NONE if fallback == f.NONE else _copied(reader, writer, kept, fallback, 1)
        else:
            note = writer.text(found.note)
            known = {reader.text(*one.key): one for one in _rows(reader, first, count)}
            for key, numbers in found.keys.items():
                place = known[key].key if key in known else writer.text(key)
                known[key] = _Row(place, numbers, note)
            ordered = [known[key] for key in sorted(known, key=str.encode)]
            row[2], row[3] = _written(writer, ordered), len(ordered)
            row[4] = _written(writer, [_Row((0, 0), found.everyone, note)])
        writer.rows[Section.KEYED].append(f.KEYED.pack(*row))
    return writer.joined()


def _literals(reader: SectionReader) -> dict[int, str]:
    """Of each choice by weights, the literal that ends its draw's hash: the node before it."""
    nodes = reader.bytes_of(Section.NODES)
    size, found = f.TEST.size, {}
    at = -1
    types = nodes[::size]
    while (at := types.find(NodeType.KEYED, at + 1)) >= 0:
        number = f.BRANCH.unpack_from(nodes, at * size)[1]
        if at and types[at - 1] == NodeType.HASH:
            _, _, _, _, first, count, *_ = f.HASH.unpack_from(nodes, (at - 1) * size)
            kind, _, offset, length = reader.row(Section.PIECES, f.PIECE, first + count - 1)
            if kind == PieceKind.LITERAL:
                found[number] = reader.text(offset, length)
    return found


def _rows(reader: SectionReader, first: int, count: int) -> list[_Row]:
    made = []
    for number in range(first, first + count):
        key, size, start, length, note, note_size = reader.row(Section.VECTORS, f.VECTOR, number)
        numbers = tuple(reader.row(Section.NUMBERS, f.DOUBLE, start + n)[0] for n in range(length))
        made.append(_Row((key, size), numbers, (note, note_size)))
    return made


def _copied(
    reader: SectionReader, writer: SectionWriter, kept: dict[tuple[int, int], int], first: int, count: int
) -> int:
    """Where these vectors stand now; those of several choices once."""
    if (first, count) not in kept:
        kept[first, count] = _written(writer, _rows(reader, first, count))
    return kept[first, count]


def _written(writer: SectionWriter, rows: list[_Row]) -> int:
    """The number of the first."""
    start = len(writer.rows[Section.VECTORS])
    for row in rows:
        first = len(writer.rows[Section.NUMBERS])
        writer.rows[Section.NUMBERS] += [f.DOUBLE.pack(number) for number in row.numbers]
        writer.rows[Section.VECTORS].append(f.VECTOR.pack(*row.key, first, len(row.numbers), *row.note))
    return start
