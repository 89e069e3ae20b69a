"""Red Pennon's dialect with stand-ins for journal, windows and sets: what a real server can't be made to do."""

from __future__ import annotations

import random
import time
from typing import Any

import msgspec
import pytest

from fanion.config import Config, Limits
from fanion.dialects.redpennon.emit import CATALOGUE, Catalogue
from fanion.dialects.redpennon.schema import Bodies, check_events, checked_of, read_plain_batch
from fanion.dialects.redpennon.settings import RedPennonSettings
from fanion.dialects.wire.fault import Fault
from fanion.errors import JournalError, JournalFullError, JournalOpeningError, StoreError
from fanion.model.signing import SigningKeys
from tests.unit.redpennon_standins import CLIENT_KEY, KEY, World, event


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("number", [b"1e999", b"-1E+999"])
def test_number_beyond_a_double_is_400_wherever_it_stands(world: World, number: bytes) -> None:
    good = msgspec.json.encode(event())
    bad = b'{"more":{"deep":[%b]},' % number + good[1:]
    for body in (b'{"events":[%b,%b]}' % (good, bad), b'{"x":%b,"events":[%b]}' % (number, good)):
        answer = world.caller.call("POST", "/v1/events", body, {"x-api-key": KEY}, key=None)
        assert (answer.status, list(answer.json())) == (400, ["error"])
    body = b'{"x":%b,"user":{}}' % number
    assert world.caller.call("POST", "/v1/variables/v", body, {"x-api-key": KEY}, key=None).status == 400
    assert world.journal.records == []


# -- overload


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (JournalFullError("full"), "The event buffer is full. Send them again."),
        (JournalOpeningError("draining"), "The server has just started. Send them again."),
        (JournalError("broken"), "The events could not be stored. Send them again."),
    ],
)
def test_journal_that_takes_nothing_is_503_and_gives_ids_back(
    world: World, error: Exception, text: str
) -> None:
    trace = world.one({"id": "u"}).json()["evaluation_trace"]
    world.journal.full = error
    answer = world.send(event(event_id="e1", evaluation_trace=trace))
    assert (answer.status, answer.json()) == (503, {"error": text})
    assert answer.headers["retry-after"] == "1"
    assert [made.end for made in (*world.event_ids.made, *world.replays.made)] == ["released", "released"]
    world.journal.full = None
    again = world.send(event(event_id="e1", evaluation_trace=trace))
    assert again.json() == {"accepted": 1}
    assert world.journal.records[-1]["dispositions"] == b"\x01"


def test_journal_that_can_not_sync_is_503(world: World) -> None:
    world.journal.sync_error = JournalError("the disk failed")
    assert world.send(event()).status == 503


def test_window_that_is_not_ready_refuses_only_what_needs_it(world: World) -> None:
    trace = world.one({"id": "u"}).json()["evaluation_trace"]
    world.event_ids.error = world.replays.error = JournalFullError("being rebuilt")
    assert world.send(event()).status == 202
    assert world.send(event(evaluation_trace="forged")).status == 202
    assert world.send(event(event_id="e")).status == 503
    assert world.send(event(evaluation_trace=trace)).status == 503
    world.event_ids.error = None
    assert world.send(event(event_id="e", evaluation_trace=trace)).status == 503
    assert world.event_ids.made[-1].end == "released"


def test_duplicate_is_acknowledged_only_when_what_it_repeats_is_safe(world: World) -> None:
    world.send(event(event_id="e"))
    world.event_ids.settle_error = JournalError("not safe yet")
    assert world.send(event(event_id="e")).status == 503
    world.event_ids.settle_error = None
    assert world.send(event(event_id="e")).json() == {"accepted": 0, "duplicates": 1}
    assert len(world.journal.records) == 1


def test_users_that_can_not_be_counted_are_overload() -> None:
    world = World({"plan": "free"})
    world.users.error = StoreError("disk full")
    answer = world.one({"id": "u"})
    assert answer.status == 503
    assert "retry-after" in answer.headers


def test_store_that_can_not_be_read_is_overload_and_no_401(world: World) -> None:
    snapshots: Any = world.services.snapshots
    snapshots.error = StoreError("broken")
    assert world.one().status == 503


# -- what is written


def test_record_carries_ids_for_each_event_and_traces_behind_them(world: World) -> None:
    trace = world.one({"id": "u"}).json()["evaluation_trace"]
    world.send(event(), event(event_id="e"), event(evaluation_trace=trace), event(evaluation_trace="x"))
    (record,) = world.journal.records
    assert record["dispositions"] == b"\x00\x00\x01\x00"
    assert len(record["ids"]) == 5 * 16
    assert record["whole"] is True
    assert (record["dialect"], record["environment"]) == ("redpennon", "env")


def test_record_without_ids_and_traces_has_neither(world: World) -> None:
    world.send(event(), event(evaluation_trace=None, event_id=None))
    (record,) = world.journal.records
    assert (record.get("dispositions", b""), record.get("ids", b"")) == (b"", b"")
    assert world.event_ids.made == world.replays.made == []


def test_traces_alone_leave_the_events_places_empty(world: World) -> None:
    trace = world.one({"id": "u"}).json()["evaluation_trace"]
    world.send(event(), event(evaluation_trace=trace))
    (record,) = world.journal.records
    assert record["ids"][:32] == bytes(32)
    assert len(record["ids"]) == 48
    assert world.event_ids.made == []


def test_store_without_signing_keys_traces_nothing_and_verifies_nothing(world: World) -> None:
    trace = world.one({"id": "u"}).json()["evaluation_trace"]
    world.snapshot.sign_with(None)
    assert world.one({"id": "u"}).json()["evaluation_trace"] is None
    world.send(event(evaluation_trace=trace))
    assert world.journal.records[-1]["dispositions"] in (b"", b"\x00")


def test_rotated_keys_count_with_the_next_request(world: World) -> None:
    trace = world.one({"id": "u"}).json()["evaluation_trace"]
    world.snapshot.sign_with(world.snapshot.signing_keys.rotated(time.time()))
    world.send(event(evaluation_trace=trace))
    assert world.journal.records[-1]["dispositions"] == b"\x01"
    trace = world.one({"id": "u"}).json()["evaluation_trace"]
    world.snapshot.sign_with(SigningKeys(b"n" * 32))
    world.send(event(evaluation_trace=trace))
    assert world.journal.records[-1]["dispositions"] in (b"", b"\x00")


# -- client keys


def test_client_key_can_not_tell_a_hidden_variable_from_an_unknown_one(world: World) -> None:
    hidden, unknown = world.one(key=CLIENT_KEY), world.one(key=CLIENT_KEY, variable="x")
    assert hidden.body.replace(b'"v"', b'"x"') == unknown.body
    assert world.one(key=CLIENT_KEY, variable="shown").json()["value"] == "S"
    texts = [world.send(event(variable=name), key=CLIENT_KEY).json()["error"] for name in ("v", "x")]
    assert texts == ["events[0].variable resolves to unknown variable."] * 2
    assert world.send(event(variable="shown"), key=CLIENT_KEY).status == 202


# -- governance


@pytest.mark.parametrize(
    ("organisation", "cap"),
    [
        ({"plan": "free"}, 1_000),
        ({"plan": "basic"}, 10_000),
        ({"plan": "business"}, 100_000),
        ({"plan": "enterprise"}, None),
        ({"plan": "enterprise", "limits": {"monthly_active_users": 7}}, 7),
        ({"plan": "free", "limits": {"monthly_active_users": 5_000}}, 5_000),
    ],
)
def test_caps_are_the_plans_or_the_definitions(organisation: dict[str, Any], cap: int | None) -> None:
    world = World(organisation)
    world.one({"id": "u", "email": "e"})
    world.one({"email": "e"})
    world.one({})
    world.ask("/v1/variables", {"keys": ["v", "v"], "user": {"id": "w"}})
    world.send(event(user={"id": "never"}))
    users = ["u", "e", "anon:unidentified", "w"]
    assert world.users.asked == ([] if cap is None else [("org", user, cap) for user in users])


def test_codes_come_in_the_order_of_the_table() -> None:
    world = World(
        {"plan": "basic", "suspended": True, "subscription_active": False, "limits": {"batch_keys": 1}}
    )
    world.users.full, world.limiter.wait_s = True, 3.5
    batch = {"keys": ["a", "b"]}
    assert world.ask("/v1/variables", batch).json()["code"] == "organisation_suspended"
    world = World({"plan": "basic", "subscription_active": False})
    world.users.full = True
    assert world.ask("/v1/variables", batch).json()["code"] == "organisation_inactive"
    world = World({"plan": "basic", "limits": {"rate_per_s": 1, "batch_keys": 1, "batch_events": 1}})
    world.users.full, world.limiter.wait_s = True, 3.5
    assert world.ask("/v1/variables", batch).json()["code"] == "monthly_active_users_exceeded"
    world.users.full = False
    limited = world.ask("/v1/variables", batch)
    assert (limited.json()["code"], limited.headers["retry-after"]) == ("rate_limit_exceeded", "4")
    assert world.send(event(), event()).json()["code"] == "rate_limit_exceeded"
    world.limiter.wait_s = 0
    assert world.ask("/v1/variables", batch).json()["code"] == "batch_too_large"
    assert world.send(event(), event()).json()["code"] == "events_batch_too_large"


def test_free_plan_without_subscription_is_active() -> None:
    assert World({"plan": "free", "subscription_active": False}).one().status == 200


def test_rate_of_the_configuration_counts_where_the_definition_has_none() -> None:
    world = World(config=Config(own=(RedPennonSettings(rate_per_s=5, burst=7),)))
    world.one()
    assert len(world.limiter.taken) == 1
    unlimited = World()
    unlimited.one()
    assert unlimited.limiter.taken == []


# -- the quick way through a batch


def random_event(source: random.Random) -> Any:
    """Mostly good; each member is sometimes something else."""
    made: dict[str, Any] = event()
    choices: dict[str, list[Any]] = {
        "event": ["buy", "", " ", 1, None],
        "variable": ["v", "V", "shown", "x", "", 2],
        "variation": ["a", "b", "c", "", []],
        "user": [
            {},
            {"id": "u"},
            {"email": "e"},
            {"id": "", "email": "e"},
            {"custom_data": {}},
            1,
            None,
            {"id": 5},
        ],
        "value": [1, 2.5, "1", True, None, 10**25],
        "occurred_at": ["2026-01-01T00:00:00Z", "x", "", None, 5],
        "evaluation_trace": ["t", "", 5, None],
        "event_id": ["e", "", "x" * 200, "x" * 201, 5, None],
        "other": [1, {"a": []}],
    }
    for name, values in choices.items():
        if source.random() < 0.35:
            made[name] = values[0] if source.random() < 0.8 else source.choice(values)
    return made if source.random() < 0.98 else source.choice([1, [], None])


def test_quick_and_plain_way_agree_on_random_batches(world: World) -> None:
    source = random.Random(7)
    catalogue = msgspec.json.decode(world.bundle.document(CATALOGUE), type=Catalogue)
    bodies, limits = Bodies(Limits()), Limits()
    quick = 0
    for _ in range(3_000):
        body = msgspec.json.encode({"events": [random_event(source) for _ in range(source.randrange(4))]})
        plain = read_plain_batch(body, limits, catalogue, client=False)
        try:
            expected = check_events(bodies.events(body), catalogue, client=False)
        except Fault:
            assert plain is None, body
            continue
        if plain is None:
            continue
        quick += 1
        asked = [one for one in expected if one.event_id is not None or one.trace is not None]
        assert (checked_of(plain, catalogue) or [] if asked else []) == (expected if asked else []), body
    assert quick > 500


def test_ids_and_traces_are_reserved_in_their_environment_s_share(world: World) -> None:
    trace = world.one({"id": "u"}).json()["evaluation_trace"]
    world.send(event(event_id="e", evaluation_trace=trace))
    scopes = {scope for window in (world.event_ids, world.replays) for scope, _ in window.made[0].ids}
    assert scopes == {b"redpennon/env"}
