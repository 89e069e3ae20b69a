"""Red Pennon's events as canonical events: metrics tied to a variable's variation (docs/apis/redpennon.md, events).

The subject is the user's id, else the e-mail address; an event that names no time happened when it was received.
"""

from __future__ import annotations

from fanion.model.canonical import Canonical, Fields, instant, name, number, text


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


CANONICAL = Canonical(_fields, sent_when_received=True, traced=True)
