"""What `choices` and `overlays` ask of whoever writes or reads a bundle's other sections.

`fanion.bundle.compiler.Writer` and `fanion.bundle.inspect.BundleReader` are these; they hand themselves in.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, Protocol

from fanion.bundle.format import Section
from fanion.errors import ProgramError
from fanion.model.choice import Vector
from fanion.model.parts import Fragment, Piece


class RecordWriter(Protocol):
    """Sections while they grow. What returns a number, or a span, says where the part was put."""

    rows: list[list[bytes]]
    needs: list[int]
    vectors: dict[tuple[Vector, ...], int]
    outcome_counts: list[int]
    where: tuple[object, ...]

    def refuse(self, found: str, allowed: str) -> ProgramError: ...

    def blob(self, content: bytes) -> tuple[int, int]: ...

    def text(self, content: str) -> tuple[int, int]: ...

    def target(self, target: int, number: int, count: int) -> int: ...

    def slot(self, slot: int) -> int: ...

    def pieces(self, pieces: tuple[Piece, ...]) -> tuple[int, int]: ...

    def fragment(self, fragments: tuple[Fragment, ...]) -> int: ...


class RecordReader(Protocol):
    """A verified bundle's sections."""

    def count(self, section: Section) -> int: ...

    def row(self, section: Section, layout: Struct, number: int) -> tuple[Any, ...]: ...

    def text(self, offset: int, length: int) -> str: ...

    def pieces(self, first: int, count: int) -> tuple[Piece, ...]: ...

    def fragment(self, number: int) -> Fragment: ...
