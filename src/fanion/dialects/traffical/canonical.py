"""Traffical's events as canonical events (docs/apis/traffical.md, events).

Exposures and decisions name allocations per layer, of which a canonical event has room for one; tracks name an
event. All else is a metric without a name.
"""

from __future__ import annotations

from typing import Final, Literal

from fanion.model.canonical import Canonical, Fields, instant, number, text
from fanion.model.rows import Member, Reads, RowShape, Variant


def _fields(event: dict[str, object]) -> Fields:
    sent_at = instant(event.get("eventTimestamp")) or instant(event.get("timestamp"))
    unit = text(event.get("unitKey"))
    if event.get("type") == "track":
        return {
            "kind": "metric",
            "sent_at": sent_at,
            "unit": unit,
            "metric": text(event.get("event")),
            "value": number(event.get("value")),
        }
    fields: Fields = {
        "kind": _kind(event.get("type")),
        "sent_at": sent_at,
        "unit": unit,
        "value": event.get("assignments"),
    }
    layers = event.get("layers")
    layers = [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []
    named = [layer for layer in layers if text(layer.get("policyId"))]
    if len(named) == 1:
        fields["flag_key"] = text(named[0].get("policyKey")) or named[0]["policyId"]
        fields["variant"] = text(named[0].get("allocationName"))
    return fields


def _kind(sent: object) -> Literal["exposure", "decision", "metric"]:
    if sent == "exposure":
        return "exposure"
    return "decision" if sent == "decision" else "metric"


MEASURES: Final = frozenset({"metric", "value"})
ROWS: Final = RowShape(
    members=(
        Member("id", "event_id"),
        Member("unitKey", "unit"),
        Member("eventTimestamp", "sent_us", Reads.INSTANT),
        Member("timestamp", "sent_us", Reads.INSTANT),
        Member("event", "metric"),
        Member("value", "value", Reads.NUMBER),
    ),
    tag="type",
    variants={
        "track": Variant("metric"),
        "exposure": Variant("exposure", MEASURES, parts=True),
        "decision": Variant("decision", MEASURES, parts=True),
    },
    other=Variant("metric", MEASURES),
    parts="layers",
    part_members=(
        Member("policyId", "flag"),
        Member("allocationKey", "variant"),
        Member("allocationName", "variant"),
        Member("unitKey", "unit_kind"),
        Member("unitKeyValue", "unit"),
    ),
)
"""A layer with a unit of its own names it; the others' is the event's, whose kind is the project's."""

CANONICAL = Canonical(_fields, ROWS)
