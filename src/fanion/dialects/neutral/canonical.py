"""Events of the neutral API as canonical events and as rows (docs/apis/neutral.md: Rows)."""

from __future__ import annotations

from typing import Final

from fanion.model.canonical import Canonical, Fields, instant, scalar, text
from fanion.model.rows import Member, Reads, RowShape, Variant


def _fields(event: dict[str, object]) -> Fields:
    unit = event.get("unit")
    fields: Fields = {
        "kind": "metric",
        "sent_at": instant(event.get("time")),
        "unit": (text(unit.get("id")) or text(unit.get("sha256"))) if isinstance(unit, dict) else None,
        "value": scalar(event.get("value")),
    }
    if event.get("type") != "exposure":
        fields["metric"] = text(event.get("metric"))
        return fields
    fields["kind"] = "exposure"
    fields["flag_key"] = text(event.get("flag"))
    fields["variant"] = text(event.get("variant"))
    fields["reason"] = text(event.get("reason"))
    return fields


METRIC: Final = Variant("metric", frozenset({"flag", "variant", "reason"}))
ROWS: Final = RowShape(
    members=(
        Member("id", "event_id"),
        Member("time", "sent_us", Reads.INSTANT),
        Member("unit.kind", "unit_kind"),
        Member("unit.id", "unit"),
        Member("unit.sha256", "unit", hashed=True),
        Member("flag", "flag"),
        Member("variant", "variant"),
        Member("metric", "metric"),
        Member("value", "value", Reads.SCALAR),
        Member("reason", "reason"),
    ),
    tag="type",
    variants={"exposure": Variant("exposure", frozenset({"metric"})), "metric": METRIC},
    other=METRIC,
)

CANONICAL: Final = Canonical(_fields, ROWS, sent_when_received=True)
