"""OFREP takes no events, so none of its stand in a journal; a record that says so reads as a bare metric."""

from __future__ import annotations

from fanion.model.canonical import Canonical, Fields
from fanion.model.rows import NOTHING


def _fields(event: dict[str, object]) -> Fields:
    return {"kind": "metric"}


CANONICAL = Canonical(_fields, NOTHING)
