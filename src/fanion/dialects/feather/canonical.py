"""Feather's events as canonical events: evaluations, the subject only as hashes (docs/apis/feather.md, events)."""

from __future__ import annotations

from typing import Final

from fanion.model.canonical import Canonical, Fields, instant, scalar, text
from fanion.model.rows import Member, Reads, RowShape, Variant


def _fields(event: dict[str, object]) -> Fields:
    return {
        "kind": "evaluation",
        "sent_at": instant(event.get("evaluatedAt")),
        "unit": text(event.get("userIdHash")) or text(event.get("anonymousIdHash")),
        "flag_key": text(event.get("flagKey")),
        "value": scalar(event.get("value")),
        "reason": text(event.get("reason")),
    }


ROWS: Final = RowShape(
    members=(
        Member("flagKey", "flag"),
        Member("value", "value", Reads.SCALAR),
        Member("reason", "reason"),
        Member("userIdHash", "unit", unit_kind="userId"),
        Member("anonymousIdHash", "unit", unit_kind="anonymousId"),
        Member("evaluatedAt", "sent_us", Reads.INSTANT),
    ),
    other=Variant("evaluation"),
    units_hashed=True,
)

CANONICAL = Canonical(_fields, ROWS)
