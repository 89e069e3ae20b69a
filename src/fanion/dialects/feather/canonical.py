"""Feather's events as canonical events: evaluations, the subject only as hashes (docs/apis/feather.md, events)."""

from __future__ import annotations

from fanion.model.canonical import Canonical, Fields, instant, scalar, text


def _fields(event: dict[str, object]) -> Fields:
    return {
        "kind": "evaluation",
        "sent_at": instant(event.get("evaluatedAt")),
        "unit": text(event.get("userIdHash")) or text(event.get("anonymousIdHash")),
        "flag_key": text(event.get("flagKey")),
        "value": scalar(event.get("value")),
        "reason": text(event.get("reason")),
    }


CANONICAL = Canonical(_fields)
