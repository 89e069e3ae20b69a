"""What the tests of Red Pennon against a real server send and look for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fanion.dialects import canonical_forms
from fanion.journal.event import Event, expand
from fanion.journal.reader import JournalReader
from tests.e2e.redpennon_world import (
    OPEN,
    ask,
)
from tests.e2e.server import Answer, Running

ONE = "/v1/variables/checkout-flow"
MANY = "/v1/variables"
EVENTS = "/v1/events"
SMALL_WINDOWS = {"FANION_JOURNAL_EVENT_IDS": "65536", "FANION_JOURNAL_USED_TRACES": "65536"}
UNAUTHORISED = b'{"error":"Invalid or missing API key."}'


def event(**changes: Any) -> dict[str, Any]:
    made = {"event": "purchase", "variable": "checkout-flow", "variation": "control", **changes}
    return {name: value for name, value in made.items() if value is not ...}


def send(server: Running, *events: Any, key: str = OPEN) -> Answer:
    return ask(server, EVENTS, {"events": list(events)}, key=key)


def kept(data: Path, event: str, **wanted: Any) -> list[Event]:
    """The journal's events of this name (ASCII) whose source has these members, in the order of their arrival at
    either worker. Only records that hold the name are taken apart: others hold floods."""
    wanted["event"] = event
    holding = [record for record in JournalReader(data).read() if event.encode() in record.body]
    records = sorted(holding, key=lambda record: record.received_ns)
    found = [one.event for record in records for one in expand(record, canonical_forms())]
    return [one for one in found if all(one.source.get(name) == value for name, value in wanted.items())]


BAD_EVENTS = [
    (1, "events[0] must be an object."),
    ([], "events[0] must be an object."),
    (event(event=...), "events[0].event is required."),
    (event(event=" \t"), "events[0].event is required."),
    (event(event=None), "events[0].event is required."),
    (event(event=7), "events[0].event is required."),
    (event(variable=...), "events[0].variable is required."),
    (event(variable=""), "events[0].variable is required."),
    (event(variation=...), "events[0].variation is required."),
    (event(variation="  "), "events[0].variation is required."),
    (event(variable="nope"), "events[0].variable resolves to unknown variable."),
    (event(variable="gone"), "events[0].variable resolves to unknown variable."),
    (event(variation="nope"), "events[0].variation is not defined on feature."),
    (event(variation="Control"), "events[0].variation is not defined on feature."),
    (event(user=1), "events[0].user must be an object."),
    (event(user=[]), "events[0].user must be an object."),
    (event(value="1"), "events[0].value must be numeric when set."),
    (event(value=True), "events[0].value must be numeric when set."),
    (event(value={}), "events[0].value must be numeric when set."),
    (event(occurred_at="yesterday"), "events[0].occurred_at must be ISO-8601 when set."),
    (event(occurred_at=1), "events[0].occurred_at must be ISO-8601 when set."),
    (event(event_id="x" * 201), "events[0].event_id must be at most 200 characters."),
    (event(event_id=1), "events[0].event_id must be a string."),
]
