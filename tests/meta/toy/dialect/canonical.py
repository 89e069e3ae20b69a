"""A toy's events as canonical events: evaluations."""

from __future__ import annotations

from typing import Final

from fanion.model.canonical import Canonical, Fields, text


def _fields(event: dict[str, object]) -> Fields:
    return {"kind": "evaluation", "unit": text(event.get("who")), "flag_key": text(event.get("flag"))}


CANONICAL: Final = Canonical(_fields, sent_when_received=True)
