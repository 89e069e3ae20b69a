"""What programs, tables and layers are put together from: parts of a hash's input, and JSON text in pieces."""

from __future__ import annotations

import msgspec

from fanion.model.word import Word


class PieceKind(Word):
    LITERAL = 0
    TEXT = 1
    BYTE_LENGTH = 2


class Piece(msgspec.Struct, frozen=True, gc=False):
    """Part of a hash's input: literal text, a slot's text form, or that text's length in bytes (decimal)."""

    kind: PieceKind
    literal: str = ""
    slot: int = -1


class Hole(msgspec.Struct, frozen=True):
    """A place in a fragment that only the request can fill: in a row what `RowHole` numbers; in an entry it is
    where the fragment is cut in two (`Question.put_each`), or nothing."""

    number: int


Fragment = tuple[bytes | Hole, ...]
"""JSON text in pieces. Equal pieces are stored once in a bundle, so a value is shared by its wrappers."""
