"""A toy's events as canonical events: evaluations."""

from __future__ import annotations

from typing import Final

from fanion.model.canonical import Canonical, Fields, text
from fanion.model.rows import Member, RowShape, Variant


def _fields(event: dict[str, object]) -> Fields:
    return {"kind": "evaluation", "unit": text(event.get("who")), "flag_key": text(event.get("flag"))}


ROWS: Final = RowShape((Member("who", "unit"), Member("flag", "flag")), Variant("evaluation"))

CANONICAL: Final = Canonical(_fields, ROWS, sent_when_received=True)
