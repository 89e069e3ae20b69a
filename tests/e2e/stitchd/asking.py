"""What the tests of stitchd against a real server send and look for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fanion.dialects import canonical_forms
from fanion.journal.event import expand
from fanion.journal.reader import JournalReader
from tests.e2e.server import Answer

PAIR = {"segment_key": "beta-users", "context_type": "user", "context_key": "user-123"}
EVENT = {"metric_key": "button_click", "context_type": "user", "context_key": "u1", "value": True}
GOOD: dict[str, Any] = {
    "/evaluate": {"flag_key": "for-beta", "context_type": "user", "context_key": "u1"},
    "/events": EVENT,
    "/events/batch": {"events": [EVENT]},
    "/segments/list-check": PAIR,
    "/segments/batch-list-check": [PAIR],
    "/segments/list-check/batch": [PAIR],
}
ROUTES = list(GOOD)


def refused(answer: Answer, status: int, code: str) -> str:
    """The text of an error in its envelope."""
    document = answer.json()
    assert (answer.status, document["code"]) == (status, code), answer
    assert set(document) == {"error", "code"}
    assert answer.headers["content-type"] == "application/json"
    text: str = document["error"]
    assert text
    return text


def kept(data: Path) -> list[Any]:
    """What the journal holds, as the events' own documents, in the order of their arrival at either worker."""
    records = sorted(JournalReader(data).read(), key=lambda record: record.received_ns)
    return [one.event.source for record in records for one in expand(record, canonical_forms())]
