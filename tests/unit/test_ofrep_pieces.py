"""Answers of many flags, put together in pieces: the same as in one, and others are answered meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from fanion.dialects.ofrep import pieces, served
from fanion.dialects.ofrep.pieces import PIECE_FLAGS, Turns, cut
from fanion.dialects.wire.services import Services
from tests.unit.http_standins import Answered, Caller
from tests.unit.ofrep_world import CLIENT, FLAGS, SERVER, make_caller, post

COUNT = 2_500
NAMED = 1_000
"""The most that one request may name."""
MANIFEST = "/openfeature/v0/manifest"


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Caller:
    """An environment of so many flags, each second one split by the targeting key."""
    rule = {"id": "half", "value": True, "rollout_percentage": 50}
    flags = {
        f"flag-{number}": {
            "type": "boolean",
            "default_value": False,
            "client_safe": number % 3 > 0,
            "rules": [rule] if number % 2 else [],
        }
        for number in range(COUNT)
    }
    keys = [{"key": SERVER}, {"key": CLIENT, "kind": "client"}]
    project = {"environments": {"production": {"id": "env_many", "keys": keys}}, "flags": flags}
    path = tmp_path_factory.mktemp("many") / "world.json"
    path.write_text(json.dumps({"fanion": 1, "organisations": {"org": {"projects": {"p": project}}}}))
    return make_caller(path)


def body(*named: str, **context: Any) -> bytes:
    own = {"fanion": {"flags": named}} if named else {}
    return json.dumps({"context": {**context, **own}}).encode()


QUESTIONS: list[tuple[str, Callable[[Caller], Answered]]] = [
    ("a server's", lambda caller: post(caller, FLAGS, body(targetingKey="a"))),
    ("a client's", lambda caller: post(caller, FLAGS, body(targetingKey="a"), CLIENT)),
    ("nobody's", lambda caller: post(caller, FLAGS, body())),
    (
        "named",
        lambda caller: post(
            caller, FLAGS, body(*(f"flag-{n}" for n in range(2_000, 2_000 - NAMED, -1)), targetingKey="a")
        ),
    ),
    ("the manifest", lambda caller: caller.call("GET", MANIFEST, key=CLIENT.encode())),
]


@pytest.mark.parametrize("ask", [ask for _, ask in QUESTIONS], ids=[name for name, _ in QUESTIONS])
def test_an_answer_in_pieces_is_the_answer_in_one(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Caller], Answered]
) -> None:
    in_pieces = ask(caller)
    assert in_pieces.status == 200
    assert len(in_pieces.json()["flags"]) >= NAMED
    monkeypatch.setattr(pieces, "PIECE_FLAGS", 10**6)
    monkeypatch.setattr(served.Served, "large", False)
    whole = ask(caller)
    assert (whole.headers, whole.body) == (in_pieces.headers, in_pieces.body)


def turns_during(caller: Caller, ask: Callable[[], Answered], monkeypatch: pytest.MonkeyPatch) -> int:
    """Turns of the event loop that others had while the answer was made."""
    count = 0

    async def sleep(seconds: float) -> None:
        nonlocal count
        count += 1

    monkeypatch.setattr(pieces.asyncio, "sleep", sleep)  # type: ignore[attr-defined]
    ask()
    return count


@pytest.mark.parametrize("named", [(), tuple(f"none-{number}" for number in range(NAMED))])
def test_others_are_answered_between_pieces(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, named: tuple[str, ...]
) -> None:
    def ask() -> Answered:
        return post(caller, FLAGS, body(*named, targetingKey="a"))

    assert turns_during(caller, ask, monkeypatch) >= (len(named) or COUNT) // PIECE_FLAGS


def test_more_names_than_a_request_may_have_are_refused(caller: Caller) -> None:
    asked = post(caller, FLAGS, body(*(f"none-{number}" for number in range(NAMED + 1)), targetingKey="a"))
    assert asked.status == 400
    assert "context.fanion.flags" in asked.json()["errorDetails"]
    assert "1000" in asked.json()["errorDetails"]


def test_an_answer_is_none_to_keep_where_another_generation_came_meanwhile(caller: Caller) -> None:
    snapshots = caller.parts.snapshots
    before = snapshots.snapshot
    services: Services = caller.services
    kept = dict(before.contents)

    class Moving:
        """What counts is another thing once the answer is begun."""

        def __init__(self) -> None:
            self.asked = 0

        def current(self) -> Any:
            self.asked += 1
            if self.asked > 2:
                before.contents = dict.fromkeys(kept, b"another")
            return before

    services.snapshots = Moving()
    try:
        answer = post(caller, FLAGS, body(targetingKey="a"))
    finally:
        services.snapshots, before.contents = snapshots, kept
    assert answer.status == 200
    assert "etag" not in answer.headers
    assert len(answer.json()["flags"]) == COUNT


def test_one_answer_is_put_together_at_a_time() -> None:
    async def run() -> None:
        turns, seen = Turns(), []

        def work(name: bytes) -> Any:
            for _ in range(3):
                seen.append(name)
                yield [name]

        made = await asyncio.gather(turns.gather(work(b"a")), turns.gather(work(b"b")))
        assert seen == [b"a"] * 3 + [b"b"] * 3
        assert made == [[b"a"] * 3, [b"b"] * 3]

    asyncio.run(run())


@pytest.mark.parametrize("size", [0, 1, PIECE_FLAGS, PIECE_FLAGS + 1, 3 * PIECE_FLAGS])
def test_pieces_are_bounded_and_nothing_is_lost(size: int) -> None:
    found = [list(piece) for piece in cut(range(size))]
    assert [one for piece in found for one in piece] == list(range(size))
    assert all(len(piece) <= PIECE_FLAGS for piece in found)


def test_a_few_flags_of_many_are_answered_at_once(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> Answered:
        return post(caller, FLAGS, body("flag-1", "flag-2", targetingKey="a"))

    assert turns_during(caller, ask, monkeypatch) == 0
