"""How often a machine that follows a place in NATS waits for an answer: what can be asked for at once is."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fanion.config.places import Places
from fanion.errors import PlaceError
from fanion.nats.connection import Connection
from fanion.places import follower, open_place
from fanion.places.follower import Follower
from fanion.places.nats import PART_BYTES
from tests.crash.receivers import NatsServers
from tests.unit.places_world import KEY, World, need_libraries


@pytest.fixture(autouse=True)
def libraries() -> None:
    need_libraries()
    pytest.importorskip("nats")


@pytest.fixture
def url(nats: NatsServers) -> str:
    return nats.url(f"n-{secrets.token_hex(6)}")


def test_several_objects_come_back_as_each_does(url: str) -> None:
    made = {
        "aa": b"",
        "bb": os.urandom(100),
        "cc": os.urandom(2 * PART_BYTES + 7),
        "dd": os.urandom(PART_BYTES),
    }
    with closing(open_place(url, Places(key=KEY), create=True)) as place:
        for name, content in made.items():
            place.put(name, content)
        sizes = {name: len(content) for name, content in made.items()}
        assert place.get_several(sizes) == list(made.values()) == [place.get(name) for name in made]
        with pytest.raises(PlaceError, match="object ee isn't there"):
            place.get_several({"aa": 0, "ee": 1, "bb": 100})
        with pytest.raises(PlaceError, match="object bb has 100 bytes; 99 are allowed"):
            place.get_several({"aa": 0, "bb": 99})


def test_a_publication_is_fetched_in_one_step(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the manifest: bundle, key set, definitions and key table of the environment that changed."""
    world = World(tmp_path, url)
    waits = Counter[str]()
    run, together = Connection.run, Connection.together
    world.publish("admin", "one", environments=1)
    world.follow()
    world.publish("admin", "two", environments=1)

    def counted_run(*given: object, **named: object) -> object:
        waits["one"] += 1
        return run(*given, **named)  # type: ignore[arg-type]

    def counted_together(*given: object) -> object:
        waits["several"] += 1
        return together(*given)  # type: ignore[arg-type]

    def opened(*given: object, **named: object) -> object:
        made = open_place(*given, **named)  # type: ignore[arg-type]
        waits.clear()  # of reaching it
        return made

    monkeypatch.setattr(Connection, "run", counted_run)
    monkeypatch.setattr(Connection, "together", counted_together)
    monkeypatch.setattr("tests.unit.places_world.open_place", opened)
    assert world.follow()[1] > 0
    assert waits == {"one": 2, "several": 1}  # `together` is run as one; the manifest, and the rest
    assert world.answer("follower") == "two"


@pytest.mark.parametrize(("poll_s", "most"), [(1.0, 1.0), (5.0, 5.0), (3_600.0, 5.0)])
def test_a_place_that_is_away_is_tried_again_within_seconds_however_seldom_it_is_asked(
    monkeypatch: pytest.MonkeyPatch, poll_s: float, most: float
) -> None:
    """N-8: cut off for long, up to date soon after."""
    waits: list[float] = []

    def away(*_: object) -> object:
        raise PlaceError("Connect call failed")

    def pause(_: Follower, seconds: float, ending: object) -> bool:
        waits.append(seconds)
        return len(waits) == 10

    monkeypatch.setattr(follower, "open_place", away)
    monkeypatch.setattr(Follower, "_pause", pause)
    parts: Any = None
    Follower("nats://host/place", Places(key=KEY, poll_s=poll_s), parts).run(Never())
    expected = 0.25
    for wait in waits:
        assert expected / 2 <= wait <= expected
        expected = min(2 * expected, most)
    assert expected == most


class Never:
    def __call__(self) -> bool:
        return False

    def wait(self, timeout_s: float) -> bool:
        raise AssertionError(timeout_s)
