"""Red Pennon's events as canonical events: metrics tied to a variable's variation (docs/apis/redpennon.md, events).

The subject is the user's id, else the e-mail address; an event that names no time happened when it was received.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from fanion.model.canonical import Canonical, Fields, instant, name, number, text
from fanion.model.rows import Member, Reads, RowShape, Variant


def _fields(event: dict[str, object]) -> Fields:
    user = event.get("user")
    user = user if isinstance(user, dict) else {}
    return {
        "kind": "metric",
        "sent_at": instant(event.get("occurred_at")),
        "unit": name(user.get("id")) or name(user.get("email")),
        "flag_key": text(event.get("variable")),
        "variant": text(event.get("variation")),
        "metric": text(event.get("event")),
        "value": number(event.get("value")),
    }


def _flags_of(document: Callable[[str], bytes | None]) -> Callable[[str], str | None]:
    """A variable's feature, by the environment's catalogue of today: none for a variable that is gone."""
    # Only whoever resolves flags needs what is loaded for it.
    from fanion.dialects.redpennon.emit import CATALOGUE, Catalogue

    raw = document(CATALOGUE)
    if raw is None:
        return lambda variable: None
    catalogue = msgspec.json.decode(raw, type=Catalogue)

    def flag_of(variable: str) -> str | None:
        known = catalogue.variables.get(variable.lower())
        return None if known is None else catalogue.features[known[0]][0]

    return flag_of


ROWS: Final = RowShape(
    members=(
        Member("event", "metric"),
        Member("variable", "parameter"),
        Member("variation", "variant"),
        Member("user.id", "unit", Reads.NAME, unit_kind="id"),
        Member("user.email", "unit", Reads.NAME, unit_kind="email"),
        Member("value", "value", Reads.NUMBER),
        Member("occurred_at", "sent_us", Reads.INSTANT),
        Member("event_id", "event_id"),
    ),
    other=Variant("metric"),
    flags_of=_flags_of,
)

CANONICAL = Canonical(_fields, ROWS, sent_when_received=True, traced=True)
