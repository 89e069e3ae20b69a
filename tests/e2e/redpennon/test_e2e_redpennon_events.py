"""Red Pennon's events and traces against a real server process (docs/apis/redpennon.md: Events, Traces)."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.redpennon.asking import (
    BAD_EVENTS,
    EVENTS,
    MANY,
    ONE,
    SMALL_WINDOWS,
    UNAUTHORISED,
    event,
    kept,
    send,
)
from tests.e2e.redpennon_world import (
    OPEN,
    STAGING,
    ask,
    evaluate,
    publish_world,
)
from tests.e2e.server import Running, publish, run, start, wait_until

# -- events: the ten rules


@pytest.mark.parametrize(("bad", "text"), BAD_EVENTS)
def test_bad_event_has_its_exact_text(pennon: Running, bad: Any, text: str) -> None:
    answer = send(pennon, bad)
    assert (answer.status, answer.body) == (400, json.dumps({"error": text}, separators=(",", ":")).encode())


def test_first_bad_event_decides_and_the_order_within_one_is_the_tables(pennon: Running) -> None:
    worse = event(event="", variable="", variation="", user=1, value="x", occurred_at="x", event_id="x" * 201)
    fixes: list[tuple[str, Any]] = [
        ("event", "e"),
        ("variable", "plain"),
        ("variation", "control"),
        ("user", {}),
        ("value", 1),
        ("occurred_at", "2026-01-01"),
        ("event_id", "id"),
    ]
    for name, good in fixes:
        text = send(pennon, event(), worse, event(event="")).json()["error"]
        assert text.startswith(f"events[1].{name} ")
        worse = {**worse, name: good}
    assert send(pennon, event(), worse, event(event="")).json()["error"] == "events[2].event is required."


def test_one_bad_event_refuses_all_and_keeps_none(pennon: Running, data: Path) -> None:
    assert send(pennon, event(event="none-kept"), event(event="")).status == 400
    assert kept(data, event="none-kept") == []


@pytest.mark.parametrize(
    "good",
    [
        event(),
        event(variable="CHECKOUT-FLOW"),
        event(variable="off"),
        event(variable="old"),
        event(variable="done", variation="variant-a"),
        event(value=1.5, occurred_at="2026-02-01T10:30:00.123Z", user={"id": "u"}),
        event(value=None, occurred_at=None, user=None, event_id=None, evaluation_trace=None),
        event(value=10**30, occurred_at="2026-02-01T10:30:00+02:00"),
        event(occurred_at="2026-02-01", event_id=""),
        event(event_id="é" * 200, evaluation_trace=7, unknown={"a": 1}),
        event(variable="native-flag", variation="on"),
        event(variable="weird/key", variation="on"),
    ],
)
def test_good_event_is_accepted(pennon: Running, good: dict[str, Any]) -> None:
    answer = send(pennon, good)
    assert (answer.status, answer.body) == (202, b'{"accepted":1}')


def test_empty_batch_of_events(pennon: Running) -> None:
    answer = ask(pennon, EVENTS, {"events": []})
    assert (answer.status, answer.body) == (202, b'{"accepted":0}')


def test_event_ids_count_once_per_environment_also_in_one_request(pennon: Running, data: Path) -> None:
    first = send(
        pennon, event(event="dedup", event_id="d1"), event(event="dedup", event_id="d1"), event(event="dedup")
    )
    assert (first.status, first.body) == (202, b'{"accepted":2,"duplicates":1}')
    again = send(pennon, event(event="dedup", event_id="d1"), event(event="dedup", event_id="d2"))
    assert again.body == b'{"accepted":1,"duplicates":1}'
    only = send(pennon, event(event="dedup", event_id="d1"), event(event="dedup", event_id="d2"))
    assert only.body == b'{"accepted":0,"duplicates":2}'
    assert send(pennon, event(event="dedup", event_id="d1"), key=STAGING).body == b'{"accepted":1}'
    assert [one.disposition for one in kept(data, event="dedup")] == [
        *("kept", "duplicate", "kept"),
        *("duplicate", "kept"),
        "kept",
    ]


def test_a_flood_of_one_environment_s_ids_does_not_make_another_s_retry_count_twice(pennon: Running) -> None:
    assert send(pennon, event(event_id="before"), key=STAGING).body == b'{"accepted":1}'
    remembered = int(SMALL_WINDOWS["FANION_JOURNAL_EVENT_IDS"])

    def flood(first: int) -> int:
        return send(
            pennon, *(event(event_id=f"flood-{number}") for number in range(first, first + 500))
        ).status

    with ThreadPoolExecutor(8) as senders:  # one alone would wait for the disk at each
        assert set(senders.map(flood, range(0, 3 * remembered, 500))) == {202}
    assert send(pennon, event(event_id="before"), key=STAGING).body == b'{"accepted":0,"duplicates":1}'
    assert send(pennon, event(event_id="flood-0")).body == b'{"accepted":1}'


# -- traces


def traced(server: Running, user: dict[str, Any], variable: str = "checkout-flow", key: str = OPEN) -> str:
    trace = evaluate(server, variable, user, key)["evaluation_trace"]
    assert isinstance(trace, str)
    assert trace.startswith("rpe_v1:")
    return trace


def disposition(server: Running, data: Path, name: str, **changes: Any) -> tuple[bytes, str]:
    answer = send(server, event(event=name, **changes))
    assert answer.status == 202
    return answer.body, kept(data, event=name)[-1].disposition


def test_trace_of_an_evaluation_verifies_its_event(pennon: Running, data: Path) -> None:
    user = {"id": "t1"}
    assert disposition(pennon, data, "with-user", user=user, evaluation_trace=traced(pennon, user)) == (
        b'{"accepted":1}',
        "verified",
    )
    assert disposition(pennon, data, "without", evaluation_trace=traced(pennon, user))[1] == "verified"
    batch = ask(pennon, MANY, {"keys": ["checkout-flow"], "user": user}).json()["results"]["checkout-flow"]
    assert disposition(pennon, data, "batch", evaluation_trace=batch["evaluation_trace"])[1] == "verified"


def test_traces_that_do_not_verify_give_the_same_answer(pennon: Running, data: Path) -> None:
    user = {"id": "t2"}
    good = traced(pennon, user)
    tampered = good[:-1] + ("A" if good[-1] != "A" else "B")
    bad: dict[str, dict[str, Any]] = {
        "tampered": {"evaluation_trace": tampered},
        "cut": {"evaluation_trace": good[:-4]},
        "nonsense": {"evaluation_trace": "rpe_v1:nonsense"},
        "no-token": {},
        "other-environment": {"evaluation_trace": traced(pennon, user, key=STAGING)},
        "other-variable": {"evaluation_trace": traced(pennon, user, "plain")},
        "other-variation": {"evaluation_trace": good, "variation": "variant-a"},
        "other-user": {"evaluation_trace": good, "user": {"id": "someone"}},
        "other-email": {"evaluation_trace": good, "user": {"email": "t2"}, "variable": "plain"},
    }
    answers = {name: disposition(pennon, data, name, **changes) for name, changes in bad.items()}
    assert set(answers.values()) == {(b'{"accepted":1}', "kept")}
    assert disposition(pennon, data, "still-good", evaluation_trace=good)[1] == "verified"


def test_trace_verifies_once_per_event_name(pennon: Running, data: Path) -> None:
    trace = traced(pennon, {"id": "t3"})
    found = [
        disposition(pennon, data, name, evaluation_trace=trace) for name in ("buy", "buy", "view", "view")
    ]
    assert found == [
        (b'{"accepted":1}', "verified"),
        (b'{"accepted":1}', "kept"),
        (b'{"accepted":1}', "verified"),
        (b'{"accepted":1}', "kept"),
    ]
    trace = traced(pennon, {"id": "t3"})
    both = send(
        pennon, event(event="twice", evaluation_trace=trace), event(event="twice", evaluation_trace=trace)
    )
    assert both.body == b'{"accepted":2}'
    assert [one.disposition for one in kept(data, event="twice")] == ["verified", "kept"]


def test_duplicate_event_does_not_use_its_trace(pennon: Running, data: Path) -> None:
    trace = traced(pennon, {"id": "t4"})
    send(pennon, event(event="dup-trace", event_id="dt1"))
    send(pennon, event(event="dup-trace", event_id="dt1", evaluation_trace=trace), event(event="dup-filler"))
    assert disposition(pennon, data, "dup-trace", event_id="dt2", evaluation_trace=trace)[1] == "verified"


# -- keys and time


def test_expired_trace_does_not_verify_and_the_answer_is_the_same(tmp_path: Path) -> None:
    own = tmp_path / "data"
    publish_world(own)
    short = {**SMALL_WINDOWS, "FANION_REDPENNON_TRACE_TTL_S": "1"}
    running = start(tmp_path / "log", "--workers", "1", data=own, environment=short)
    trace = traced(running, {"id": "u"})
    taken = time.monotonic()
    wait_until(lambda: time.monotonic() > taken + 1.1)
    assert disposition(running, own, "too-late", evaluation_trace=trace) == (b'{"accepted":1}', "kept")
    assert running.stop() == 0


def test_rotation_of_the_signing_key_ends_no_trace_and_a_second_one_does(tmp_path: Path) -> None:
    own = tmp_path / "data"
    publish_world(own)
    running = start(tmp_path / "log", "--workers", "2", data=own, environment=SMALL_WINDOWS)
    trace = traced(running, {"id": "u"})
    assert run(["keys", "rotate-signing", "--data", str(own)]).returncode == 0
    assert disposition(running, own, "after-one", evaluation_trace=trace)[1] == "verified"
    newer = traced(running, {"id": "u"})
    assert run(["keys", "rotate-signing", "--data", str(own)]).returncode == 0
    assert disposition(running, own, "after-two", evaluation_trace=trace)[1] == "kept"
    assert disposition(running, own, "newer", evaluation_trace=newer)[1] == "verified"
    assert running.stop() == 0


@pytest.mark.heavy
def test_used_traces_and_event_ids_are_remembered_over_a_restart_and_a_kill(tmp_path: Path) -> None:
    own = tmp_path / "data"
    publish_world(own)
    trace = None
    for number in (15, 9, 15):
        running = start(tmp_path / "log", "--workers", "2", data=own, environment=SMALL_WINDOWS)
        if trace is None:
            trace = traced(running, {"id": "u"})
            assert disposition(running, own, "first", event_id="r1", evaluation_trace=trace)[1] == "verified"
        else:
            again = send(running, event(event="first", event_id="r1", evaluation_trace=trace))
            assert again.body == b'{"accepted":0,"duplicates":1}'
            assert disposition(running, own, "first", evaluation_trace=trace)[1] == "kept"
        running.stop(number)


def test_replaced_key_fails_and_the_new_one_works_with_the_next_request(tmp_path: Path) -> None:
    own = tmp_path / "data"
    publish_world(own)
    running = start(tmp_path / "log", "--workers", "2", data=own, environment=SMALL_WINDOWS)
    assert ask(running, ONE, {}).status == 200
    world = own.with_name("definitions") / "world.json"
    other = "6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7aff"
    world.write_text(world.read_text().replace(OPEN, other))
    publish(own, world)
    for _ in range(10):
        assert ask(running, ONE, {}).body == UNAUTHORISED
        assert ask(running, ONE, {}, key=other).status == 200
    assert running.stop() == 0


def test_demo_world_answers_the_examples(tmp_path: Path) -> None:
    running = start(tmp_path / "log", "--workers", "1", "--demo", environment=SMALL_WINDOWS)
    key = "00000000-0000-0000-0000-000000000000"
    results = ask(
        running, MANY, {"keys": ["checkout-flow", "show-banner"], "user": {"id": "user-123"}}, key=key
    ).json()["results"]
    assert results["checkout-flow"]["feature"] == "checkout"
    assert results["checkout-flow"]["variation"] in ("control", "variant-a")
    assert results["show-banner"]["feature"] == "marketing-banner"
    assert results["show-banner"]["value"] is True
    assert running.stop() == 0
