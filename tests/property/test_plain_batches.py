"""The quick checks of Traffical's and Red Pennon's batches: what one takes, the event-by-event way takes with the
same outcome, however the bytes are bent. A schema is lowered from the decoder's own struct, so both are seen here.
"""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from fanion.config import Limits
from fanion.dialects.redpennon.emit import Catalogue
from fanion.dialects.redpennon.schema import Bodies, read_flat_batch
from fanion.dialects.redpennon.schema import check_events as check_redpennon
from fanion.dialects.traffical.event_schema import EventRule, EventSchemas, PropertySchema
from fanion.dialects.traffical.events import check_events, check_flat
from fanion.dialects.traffical.schema import Schema
from fanion.dialects.wire.fault import Fault
from fanion.dialects.wire.plain_batch import quick_check
from tests.property.bending import bend

SEED = 20261121
LAYER = {"layerId": "l", "bucket": 893, "policyId": "p", "allocationName": "t", "probability": 0.25}
SCOPE = {"orgId": "o", "projectId": "p", "env": "e"}
EXPOSURE: dict[str, Any] = {
    "type": "exposure",
    "id": "exp_1",
    "decisionId": None,
    **SCOPE,
    "unitKey": "user_123",
    "timestamp": "2026-11-21T03:45:56.611Z",
    "assignments": {"a": "t", "b": 1, "c": 1.5, "d": True, "e": None},
    "layers": [LAYER, LAYER | {"probability": 1}],
    "context": {},
}
DECISION = {**EXPOSURE, "type": "decision", "id": "dec_1", "requestedParameters": ["a", "b"], "latencyMs": 3}
del DECISION["decisionId"]
ATTRIBUTION = {"layerId": "l", "policyId": "p", "allocationName": "t", "weight": 1.0, "model": "linear"}
TRACK = {
    "type": "track",
    "event": "buy",
    "unitKey": "",
    "timestamp": "2026-11-21T03:45:56.611Z",
    "properties": {"a": 1},
    "value": -1.5,
    "values": {"a": 2},
    "attribution": [ATTRIBUTION],
}
SCHEMA = Schema(Limits())
AT: Any = SimpleNamespace(
    organisation="o", project="p", environment="e", own=(b"o", b"p", b"e"), events=EventSchemas({})
)

CATALOGUE = Catalogue(
    variables={"var": (0, True), "hidden": (1, False)}, features=[("feature", ["a", "b"]), ("other", ["a"])]
)
EVENT: dict[str, Any] = {
    "event": "purchase",
    "variable": "Var",
    "variation": "a",
    "user": {"id": "u", "email": "u@x", "audiences": ["x"]},
    "value": 12.5,
    "occurred_at": "2026-11-21T10:00:00.000Z",
    "evaluation_trace": "rpe_v1:x",
    "event_id": "id-1",
}
BODIES = Bodies(Limits())


def traffical(draw: random.Random) -> bytes:
    events = [draw.choice([EXPOSURE, DECISION, TRACK]) for _ in range(draw.randrange(1, 4))]
    return json.dumps({"events": events}, separators=draw.choice([(",", ":"), (", ", ": ")])).encode()


@pytest.mark.parametrize("event", [EXPOSURE, DECISION, TRACK])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_what_traffical_clients_send_is_taken(event: Any, separators: tuple[str, str]) -> None:
    batch = check_flat(SCHEMA, AT, json.dumps({"events": [event] * 3}, separators=separators).encode())
    assert batch is not None
    assert (batch.accepted, batch.count, batch.ids) == (3, 3, [event.get("id")] * 3)


@pytest.mark.parametrize("round_", range(4))
def test_what_is_taken_of_traffical_comes_to_the_same_event_by_event(round_: int) -> None:
    draw = random.Random(SEED + round_)
    taken = 0
    for _ in range(4_000):
        body = bend(draw, traffical(draw))
        batch = check_flat(SCHEMA, AT, body)
        if batch is None:
            continue
        taken += 1
        slow = check_events(SCHEMA, AT, SCHEMA.events(body))
        assert slow.errors is None or not slow.errors.count, body
        assert (batch.accepted, batch.count, batch.ids) == (slow.accepted, slow.count, slow.ids), body
        assert slow.kept is None, body
        assert SCHEMA.alone(body), body
    assert taken > 300


@pytest.mark.parametrize(
    "changes",
    [
        {"orgId": "other"},
        {"projectId": ""},
        {"more": 1},
        {"context": {"deep": {}}},
        {"unitKey": None},
        {"layers": [LAYER | {"bucket": 1.5}]},
        {"layers": [LAYER | {"probability": 0}]},
        {"layers": [LAYER | {"probability": 1.01}]},
        {"layers": [LAYER | {"probability": 2}]},
        {"layers": [{"bucket": 1}]},
        {"latencyMs": 1},
        {"assignments": {"a": "é"}},
        {"assignments": {"a": 10**18}},
    ],
)
def test_what_is_unusual_for_traffical_is_read(changes: Any) -> None:
    body = json.dumps({"events": [EXPOSURE, EXPOSURE | changes]}, ensure_ascii=False).encode()
    assert check_flat(SCHEMA, AT, body) is None


def test_events_whose_properties_are_checked_are_read() -> None:
    at = SimpleNamespace(**vars(AT))
    at.events = EventSchemas({"buy": EventRule("warn", PropertySchema(type="object"))})
    assert check_flat(SCHEMA, at, json.dumps({"events": [EXPOSURE, TRACK]}).encode()) is None
    assert check_flat(SCHEMA, at, json.dumps({"events": [TRACK | {"event": "see"}]}).encode()) is not None


def redpennon(draw: random.Random) -> bytes:
    events = []
    for _ in range(draw.randrange(1, 4)):
        gone = draw.sample(sorted(EVENT), draw.choice([0, 0, 1, 3]))
        events.append({name: value for name, value in EVENT.items() if name not in gone[1:]})
    return json.dumps({"events": events}, separators=draw.choice([(",", ":"), (", ", ": ")])).encode()


@pytest.mark.parametrize("client", [False, True])
@pytest.mark.parametrize("round_", range(4))
def test_what_is_taken_of_red_pennon_comes_to_the_same_event_by_event(round_: int, client: bool) -> None:
    draw = random.Random(SEED + round_)
    taken = 0
    for _ in range(4_000):
        body = bend(draw, redpennon(draw))
        found = read_flat_batch(body, CATALOGUE, client=client)
        if found is None:
            continue
        taken += 1
        try:
            slow = check_redpennon(BODIES.events(body), CATALOGUE, client=client)
        except Fault:
            pytest.fail(f"{body!r} was taken")
        asked = any(one.event_id is not None or one.trace is not None for one in slow)
        assert found[0] == len(slow), body
        # Without ids and traces nothing else is asked; empty texts count as none.
        assert found[1] == slow if asked else all(one.event_id is None for one in found[1]), body
    assert taken > 300


@pytest.mark.parametrize(
    "changes",
    [
        {"variable": "none"},
        {"variation": "c"},
        {"event": "  "},
        {"user": {"custom_data": {}}},
        {"value": True},
        {"occurred_at": "today"},
        {"event_id": "x" * 201},
        {"evaluation_trace": 5},
    ],
)
def test_what_is_unusual_for_red_pennon_is_read(changes: Any) -> None:
    assert (
        read_flat_batch(json.dumps({"events": [EVENT, EVENT]}).encode(), CATALOGUE, client=False) is not None
    )
    body = json.dumps({"events": [EVENT, EVENT | changes]}).encode()
    assert read_flat_batch(body, CATALOGUE, client=False) is None


def test_a_client_key_does_not_see_what_is_hidden() -> None:
    body = json.dumps({"events": [EVENT | {"variable": "hidden"}]}).encode()
    assert read_flat_batch(body, CATALOGUE, client=False) is not None
    assert read_flat_batch(body, CATALOGUE, client=True) is None


class Few(msgspec.Struct):
    """Types of which the quick check can't say that all their bounds are kept."""

    short: Annotated[str, Meta(max_length=3)] | None = None
    small: Annotated[int, Meta(le=10)] | None = None
    odd: Annotated[float, Meta(ge=0.5)] | None = None
    open: dict[str, int] | None = None
    deep: list[list[int]] | None = None
    one: Literal["a", "b"] | None = None


def test_types_with_bounds_of_their_own_are_left_to_the_decoder() -> None:
    check = quick_check("events", Few, 10).check
    values: dict[str, Any] = {
        "short": "a",
        "small": 1,
        "odd": 1.0,
        "open": {"a": 1},
        "deep": [[1]],
        "one": "c",
    }
    for name, value in values.items():
        assert check(json.dumps({"events": [{name: value}]}).encode()) is None, name
        assert check(json.dumps({"events": [{name: None}]}).encode()) is not None, name
    assert check(b'{"events":[{"one":"b"},{}]}') is not None
