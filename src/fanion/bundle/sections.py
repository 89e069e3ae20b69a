"""The sections of a bundle: how they grow, how they are read back, and the parts that all other records use.

Those parts are texts, pieces of hash inputs, fragments, slots and targets. What a record looks like is `format`'s;
what belongs together (`operands`, `nodes`, `choices`, `tables`, `overlays`) is written and read in one module, with
the writer or reader handed in. Equal texts and fragments are stored once.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, TypeVar

import xxhash

from fanion.bundle import format as f
from fanion.bundle.format import Section
from fanion.errors import ProgramError
from fanion.model.choice import Vector
from fanion.model.parts import Fragment, Hole, Piece, PieceKind
from fanion.model.program import Op, Test, Version

T = TypeVar("T")


class SectionWriter:
    """The sections while they grow. What returns a number, or a span, says where the part was put."""

    def __init__(self, environment: str, slots: int) -> None:
        self.environment = environment
        self.rows: list[list[bytes]] = [[] for _ in Section]
        self.where: tuple[object, ...] = ()
        """What is being written: the place that a refusal names."""
        self.needs = [0] * slots
        """For each slot, what its nodes read of it."""
        self.depths: list[int] = []
        """For each decision, how deep it asks others."""
        self.outcome_counts: list[int] = []
        self.memos: dict[int, int] = {}
        """Asked decision -> its memo cell."""
        self.tests: dict[Test, bytes] = {}
        self.sets: dict[tuple[tuple[str, ...], bool], int] = {}
        self.versions: dict[Version, int] = {}
        self.externals: dict[tuple[Op, int, str], int] = {}
        self.vectors: dict[tuple[Vector, ...], int] = {}
        self._fragments: dict[tuple[Fragment, ...], int] = {}
        self._fragment_count = 0
        self._blob_offsets: dict[bytes, int] = {}
        self._blob_size = 0

    def refuse(self, found: str, allowed: str) -> ProgramError:
        place = " ".join(map(str, self.where))
        return ProgramError(f"environment {self.environment}: {place}: {found}; {allowed}")

    def blob(self, content: bytes) -> tuple[int, int]:
        if not content:
            return 0, 0
        offset = self._blob_offsets.get(content)
        if offset is None:
            offset = self._blob_size
            self._blob_offsets[content] = offset
            self.rows[Section.BLOB].append(content)
            self._blob_size += len(content)
            if self._blob_size > f.TOTAL_BYTES_MAX:
                raise self.refuse(f"{self._blob_size} bytes of text", f"at most {f.TOTAL_BYTES_MAX}")
        return offset, len(content)

    def text(self, content: str) -> tuple[int, int]:
        return self.blob(content.encode())

    def target(self, target: int, number: int, count: int) -> int:
        if not number < target < count:
            raise self.refuse(f"target {target}", f"{number + 1} to {count - 1}: targets point forward")
        return target

    def slot(self, slot: int) -> int:
        if not 0 <= slot < len(self.needs):
            raise self.refuse(f"slot {slot}", f"there are {len(self.needs)}")
        return slot

    def pieces(self, pieces: tuple[Piece, ...]) -> tuple[int, int]:
        """Number of the first, and how many."""
        first = len(self.rows[Section.PIECES])
        for piece in pieces:
            if piece.kind is PieceKind.LITERAL:
                self.rows[Section.PIECES].append(f.PIECE.pack(piece.kind, f.NONE, *self.text(piece.literal)))
            else:
                slot = self.slot(piece.slot)
                self.needs[slot] |= f.NEEDS_TEXT
                self.rows[Section.PIECES].append(f.PIECE.pack(piece.kind, slot, 0, 0))
        return first, len(pieces)

    def fragment(self, fragments: tuple[Fragment, ...]) -> int:
        """The number of the first of these fragments, stored as a run."""
        if fragments in self._fragments:
            return self._fragments[fragments]
        first = self._fragment_count
        for pieces in fragments:
            if len(pieces) > f.ROPES_PER_FRAGMENT_MAX:
                raise self.refuse(
                    f"a fragment of {len(pieces)} pieces", f"at most {f.ROPES_PER_FRAGMENT_MAX}"
                )
            rope_first = len(self.rows[Section.ROPES])
            for piece in pieces:
                if isinstance(piece, Hole):
                    if not 0 <= piece.number < f.HOLES_MAX:
                        raise self.refuse(f"hole {piece.number}", f"0 to {f.HOLES_MAX - 1}")
                    self.rows[Section.ROPES].append(f.ROPE.pack(f.NONE, piece.number))
                elif piece:
                    self.rows[Section.ROPES].append(f.ROPE.pack(*self.blob(piece)))
            count = len(self.rows[Section.ROPES]) - rope_first
            self.rows[Section.FRAGMENTS].append(f.FRAGMENT.pack(rope_first, count))
            self._fragment_count += 1
        self._fragments[fragments] = first
        return first

    def joined(self) -> bytes:
        """The whole bundle: header, table, sections."""
        self.where = ("bundle",)
        parts: list[bytes] = []
        table: list[bytes] = []
        offset = f.HEADER.size + f.SECTION.size * len(Section)
        for section in Section:
            body = b"".join(self.rows[section])
            size = f.RECORD_SIZES[section]
            table.append(f.SECTION.pack(offset, len(body) // size, size))
            body += bytes(-len(body) % 8)
            parts.append(body)
            offset += len(body)
        if offset > f.TOTAL_BYTES_MAX:
            raise self.refuse(f"{offset} bytes", f"at most {f.TOTAL_BYTES_MAX}")
        rest = b"".join(table) + b"".join(parts)
        header = f.HEADER.pack(f.MAGIC, f.VERSION, len(Section), offset, xxhash.xxh64_intdigest(rest))
        return header + rest


class SectionReader:
    """A verified bundle's sections. The buffer is the caller's for as long as this lives."""

    def __init__(self, buffer: memoryview | bytes) -> None:
        self.buffer = memoryview(buffer)
        self.spans = [f.SECTION.unpack_from(self.buffer, f.HEADER.size + f.SECTION.size * n) for n in Section]

    def count(self, section: Section) -> int:
        """Records in a section (bytes, for the blob and meta)."""
        return int(self.spans[section][1])

    def bytes_of(self, section: Section) -> bytes:
        offset, count, size = self.spans[section]
        return bytes(self.buffer[offset : offset + count * size])

    def row(self, section: Section, layout: Struct, number: int) -> tuple[Any, ...]:
        offset, count, size = self.spans[section]
        if not 0 <= number < count:
            raise IndexError(f"{section.name.lower()} {number} of {count}")
        row: tuple[Any, ...] = layout.unpack_from(self.buffer, offset + number * size)
        return row

    def blob(self, offset: int, length: int) -> bytes:
        start = self.spans[Section.BLOB][0] + offset
        return bytes(self.buffer[start : start + length])

    def text(self, offset: int, length: int) -> str:
        return self.blob(offset, length).decode()

    def pieces(self, first: int, count: int) -> tuple[Piece, ...]:
        pieces = []
        for n in range(count):
            piece, slot, offset, length = self.row(Section.PIECES, f.PIECE, first + n)
            if piece == PieceKind.LITERAL:
                pieces.append(Piece(PieceKind.LITERAL, self.text(offset, length)))
            else:
                pieces.append(Piece(PieceKind(piece), slot=slot))
        return tuple(pieces)

    def fragment(self, number: int) -> Fragment:
        first, count = self.row(Section.FRAGMENTS, f.FRAGMENT, number)
        ropes = (self.row(Section.ROPES, f.ROPE, first + n) for n in range(count))
        return tuple(
            Hole(length) if offset == f.NONE else self.blob(offset, length) for offset, length in ropes
        )


def free_place(places: list[T], digest: int, is_free: Callable[[T], bool]) -> int:
    """Where a digest goes in an open-addressing table: its low bits, then the next free place."""
    mask = len(places) - 1
    at = digest & mask
    while not is_free(places[at]):
        at = (at + 1) & mask
    return at
