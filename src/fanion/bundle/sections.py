"""The sections of a bundle: how they grow, how they are read back, and the parts that all other records use.

Those parts are texts, pieces of hash inputs, fragments, slots and targets. What a record looks like is `format`'s;
what belongs together (`operands`, `nodes`, `choices`, `tables`, `overlays`) is written and read in one module, with
the writer or reader handed in. Equal texts and fragments are stored once.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, TypeVar

from fanion._core.sections import Fragments, Rows, Texts, expect, sealed
from fanion.bundle import format as f
from fanion.bundle.format import Section
from fanion.errors import ProgramError
from fanion.model.choice import Vector
from fanion.model.parts import Fragment, Hole, Piece, PieceKind
from fanion.model.program import Op, Version

T = TypeVar("T")


class SectionWriter:
    """The sections while they grow. What returns a number, or a span, says where the part was put."""

    def __init__(self, environment: str, slots: int) -> None:
        self.environment = environment
        self.rows = [Rows(f.RECORD_SIZES[section]) for section in Section]
        self.where: tuple[object, ...] = ()
        """What is being written: the place that a refusal names."""
        self.needs = [0] * slots
        """For each slot, what its nodes read of it."""
        self.depths: list[int] = []
        """For each decision, how deep it asks others."""
        self.outcome_counts: list[int] = []
        self.memos: dict[int, int] = {}
        """Asked decision -> its memo cell."""
        self.sets: dict[tuple[tuple[str, ...], bool], int] = {}
        self.versions: dict[Version, int] = {}
        self.externals: dict[tuple[Op, int, str], int] = {}
        self.vectors: dict[tuple[Vector, ...], int] = {}
        self.texts = Texts(self.rows[Section.BLOB], f.TOTAL_BYTES_MAX)
        self.fragments = Fragments(
            self.texts,
            self.rows[Section.ROPES],
            self.rows[Section.FRAGMENTS],
            Hole,
            f.ROPES_PER_FRAGMENT_MAX,
            f.HOLES_MAX,
        )

    def expect(self, sizes: list[int]) -> None:
        """About how many bytes each section will have, before anything is written: one that stays within them isn't
        copied when all are joined."""
        expect(self.rows, sizes, f.HEADER.size + f.SECTION.size * len(Section))

    def refuse(self, found: str, allowed: str) -> ProgramError:
        place = " ".join(map(str, self.where))
        return ProgramError(f"environment {self.environment}: {place}: {found}; {allowed}")

    def blob(self, content: bytes) -> tuple[int, int]:
        try:
            return self.texts.span(content)
        except ValueError as error:
            raise self.refuse(*error.args) from None

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
        try:
            return self.fragments.add(fragments)
        except ValueError as error:
            raise self.refuse(*error.args) from None

    def joined(self) -> bytes:
        """The whole bundle: header, table, sections. Nothing more can be written then."""
        self.where = ("bundle",)
        self.fragments.forget()
        table: list[bytes] = []
        offset = f.HEADER.size + f.SECTION.size * len(Section)
        for section in Section:
            count, size = len(self.rows[section]), f.RECORD_SIZES[section]
            table.append(f.SECTION.pack(offset, count, size))
            offset += -(-count * size // 8) * 8
        if offset > f.TOTAL_BYTES_MAX:
            raise self.refuse(f"{offset} bytes", f"at most {f.TOTAL_BYTES_MAX}")
        head = f.HEADER.pack(f.MAGIC, f.VERSION, len(Section), offset, 0)
        return sealed(self.rows, head + b"".join(table), f.HEADER.size)


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
