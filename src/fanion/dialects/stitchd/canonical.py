"""stitchd's events as canonical events: metrics of a context (docs/apis/stitchd.md, events).

The subject is "type:key"; an event that names no time happened when it was received.
"""

from __future__ import annotations

from typing import Final

from fanion.model.canonical import Canonical, Fields, iso_from_ns, scalar, text
from fanion.model.rows import Member, Reads, RowShape, Variant


def _fields(event: dict[str, object]) -> Fields:
    sent = event.get("timestamp_ms")
    kind, key = text(event.get("context_type")), text(event.get("context_key"))
    return {
        "kind": "metric",
        "sent_at": iso_from_ns(sent * 1_000_000) if isinstance(sent, int) else None,
        "unit": f"{kind}:{key}" if kind is not None and key is not None else None,
        "metric": text(event.get("metric_key")),
        "value": scalar(event.get("value")),
    }


ROWS: Final = RowShape(
    members=(
        Member("metric_key", "metric"),
        Member("context_type", "unit_kind"),
        Member("context_key", "unit"),
        Member("value", "value", Reads.SCALAR),
        Member("timestamp_ms", "sent_us", Reads.MILLISECONDS),
    ),
    other=Variant("metric"),
)

CANONICAL = Canonical(_fields, ROWS, sent_when_received=True)
