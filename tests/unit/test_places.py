"""Places: what is sent comes out as it was, once, in order, and never where it isn't signed, whole and newer."""

from __future__ import annotations

import os
import random
import re
import secrets
import shutil
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fanion.config.places import Places
from fanion.errors import ConfigError, PlaceError, PlaceMovedError, StoreError
from fanion.places import kind_of, open_place, shown
from fanion.places.lists import GROUP_BYTES
from fanion.places.manifest import Body, Head, read_manifest, write_manifest
from fanion.places.place import Found
from fanion.places.sealing import Sealer
from fanion.store.layout import Origin
from fanion.store.store import Store
from tests.rounds import rounds
from tests.unit.places_world import (
    ENVIRONMENT,
    KEY,
    World,
    change_list,
    lay,
    make_key,
    manifests,
    need_libraries,
    objects,
    random_change,
)

HISTORIES = rounds(1, 2, "PLACE_HISTORIES")
RACES = rounds(1, 3, "PLACE_RACES")


@pytest.fixture
def world(tmp_path: Path) -> World:
    need_libraries()
    return World(tmp_path)


@pytest.fixture(params=["folder", "nats"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty place of each kind that is at hand here; object stores: `tests/e2e`."""
    need_libraries()
    if request.param == "folder":
        return f"file://{tmp_path / 'place'}"
    return str(request.getfixturevalue("nats").url(f"p-{secrets.token_hex(6)}"))


@pytest.fixture
def any_world(tmp_path: Path, place: str) -> World:
    return World(tmp_path, place)


def another(url: str) -> str:
    """A place that nobody has used, of the same kind."""
    return f"{url}-{secrets.token_hex(4)}"


def test_a_follower_has_what_was_published_and_takes_it_once(any_world: World) -> None:
    world = any_world
    world.publish("publisher", "one", members=["u1", "u2"])
    origin, fetched = world.follow()
    assert (origin.number, origin.role) == (1, "follows")
    assert fetched > 1
    assert world.told("follower") == world.told("publisher")
    generation = world.number("follower")
    assert world.follow()[1] == 0
    assert world.number("follower") == generation


def test_random_histories_come_out_the_same(place: str, tmp_path: Path) -> None:
    """Every change that a command makes, by two machines in turn, and followers that look now and then."""
    for _ in range(HISTORIES):
        seed = int(os.environ.get("PLACE_SEED") or random.randrange(1 << 30))
        print("PLACE_SEED", seed)
        draw = random.Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        one = World(folder, another(place))
        one.publish("a", "first", members=["u1"])
        last = 0
        for _ in range(12):
            machine = draw.choice("ab")
            if machine == "b" and not (folder / "b").exists():
                one.publish("b", "of b")
            random_change(one, machine, draw)
            if draw.random() < 0.6:
                name = draw.choice(["follower", "late"])
                origin, _ = one.follow(name)
                assert one.told(name) == one.told(machine)
                assert origin.number >= last
                last = origin.number
        one.follow()
        assert one.told("follower") == one.told(machine)


def test_two_machines_that_publish_at_once_leave_whole_generations_of_either(any_world: World) -> None:
    """Numbers grow by one, each is one machine's, and who follows has of it just what that machine has. Full
    rounds: PLACE_RACES=1000."""
    world = any_world
    world.publish("a", "start")
    world.publish("b", "start")
    made: dict[str, dict[int, dict[str, Any]]] = {"a": {}, "b": {}}
    taken = {"a": 0, "b": 0}

    def publish(machine: str, barrier: threading.Barrier) -> None:
        own = World(world.directory, world.url, files=machine)
        for number in range(RACES):
            barrier.wait()
            try:
                own.publish(machine, f"{machine}-{number}")
            except PlaceMovedError:
                continue
            taken[machine] += 1
            made[machine][own.place_number(machine)] = own.told(machine)

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=publish, args=(name, barrier)) for name in "ab"]
    for thread in threads:
        thread.start()
    before, followed = 0, dict[int, dict[str, Any]]()
    while any(thread.is_alive() for thread in threads):
        origin, fetched = world.follow()
        assert origin.number >= before
        before = origin.number
        if fetched:
            followed[before] = world.told("follower")
        time.sleep(0.02)  # or it takes what the two work with
    for thread in threads:
        thread.join()
    assert sum(taken.values()) >= RACES
    last = world.follow("late")[0].number
    assert last == sum(taken.values()) + 2
    assert sorted([*made["a"], *made["b"]]) == list(range(3, last + 1))  # none is of both
    if world.url.startswith("file:"):
        assert [int(path.name) for path in manifests(world)] == list(range(1, last + 1))
    either = made["a"] | made["b"]
    assert [number for number in followed if number > 2 and followed[number] != either[number]] == []
    print(f"{RACES} races: {taken['a']} of one and {taken['b']} of the other, {len(followed)} followed")
    world.follow()
    world.change("a", make_key)
    world.follow()
    assert world.told("follower") == world.told("a")


def test_one_of_many_racers_has_a_number(any_world: World) -> None:
    world = any_world
    places = Places(key=KEY)
    for number in range(1, 4):
        won: list[int] = []

        def race(name: int, number: int, won: list[int]) -> None:
            with closing(open_place(world.url, places, create=True)) as place:
                try:
                    place.move(number, b"%d" % name)
                    won.append(name)
                except PlaceMovedError:
                    pass

        threads = [threading.Thread(target=race, args=(name, number, won)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        with closing(open_place(world.url, places)) as place:
            assert place.newest() == Found(number, b"%d" % won[0])
            with pytest.raises(PlaceMovedError):
                place.move(number - 1 or 1, b"late")


def test_a_change_that_another_machine_overtook_is_taken_back(any_world: World) -> None:
    world = any_world
    world.publish("a", "one")
    world.publish("b", "two")
    with pytest.raises(PlaceMovedError, match="give it again"):
        # `a` knows of number 2 before it begins; number 3 comes while it works.
        world.change("a", lambda store: (make_key(store), world.publish("b", "three")))
    assert world.told("a") == world.told("b")
    world.publish("a", "four")
    world.follow()
    assert world.answer("follower") == "four"


def test_an_environment_that_only_the_loser_changed_goes_back_too(any_world: World) -> None:
    """What the winner left alone was the loser's own bundle in its store; that must not stay."""
    world = any_world
    world.publish("a", "one")
    world.publish("b", "one")

    def change(store: object) -> None:
        lay(store, "over")  # type: ignore[arg-type]
        world.change("b", make_key)

    with pytest.raises(PlaceMovedError):
        world.change("a", change)
    assert world.told("a") == world.told("b")


def test_a_change_while_the_place_is_away_is_refused_before_it_is_made(world: World) -> None:
    world.publish("a", "one")
    before = world.told("a")
    (world.directory / "place").rename(world.directory / "away")
    with pytest.raises(PlaceError, match="no such folder"):
        world.change("a", make_key)
    assert world.told("a") == before


def test_a_change_that_could_not_be_sent_is_sent_by_the_next(world: World) -> None:
    world.publish("a", "one")

    def cut(store: object) -> None:
        make_key(store)  # type: ignore[arg-type]
        (world.directory / "place").rename(world.directory / "away")
        (world.directory / "place").write_text("a file")

    with pytest.raises(PlaceError, match="isn't sent"):
        world.change("a", cut)
    (world.directory / "place").unlink()
    (world.directory / "away").rename(world.directory / "place")
    assert world.follow()[0].number == 1
    world.change("a", lambda store: change_list(store, "add", [b"u7"]))
    assert world.follow()[0].number == 3  # by itself, before the next begins
    assert world.told("follower") == world.told("a")


def test_nothing_in_a_place_can_be_read_or_made_without_its_key(world: World) -> None:
    world.publish("a", "a-secret-answer", members=["someone@example.com"])
    everything = b"".join([*objects(world).values(), *(path.read_bytes() for path in manifests(world))])
    assert b"secret-answer" not in everything
    assert b"someone@example.com" not in everything
    with closing(open_place(world.url, Places())) as place:
        found = place.newest()
    assert found is not None
    sealer = Sealer("x" * 40)
    with pytest.raises(PlaceError, match="manifest 1 is refused: its signature"):
        read_manifest(sealer, found)
    head = Head(2, 0.0, "stranger", "", ())
    manifests(world)[0].with_name(f"{2:020}").write_bytes(write_manifest(sealer, head, Body()))
    with pytest.raises(PlaceError, match="manifest 2 is refused: its signature"):
        world.follow("new")


def test_every_damaged_byte_is_refused_and_what_was_taken_stays(world: World) -> None:
    world.publish("a", "one", members=["u1"])
    world.follow()
    before = world.told("follower")
    world.publish("a", "two", members=["u1", "u2"])
    good = {path: path.read_bytes() for path in (world.directory / "place").rglob("*") if path.is_file()}
    known = {path for path in good if path.parent.name != "manifests"}
    latest = manifests(world)[-1]
    draw = random.Random(7)
    fetched = missing = 0
    for path in [*sorted(known), latest]:
        content = good[path]
        cut = content[: draw.randrange(len(content))]
        at = draw.randrange(len(content))
        flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        for bad in (flipped, cut, b""):
            path.write_bytes(bad)
            shutil.rmtree(world.directory / "copy", ignore_errors=True)
            shutil.copytree(world.directory / "follower", world.directory / "copy")
            try:
                world.follow("copy")
                assert world.told("copy") == world.told("a")  # it was fetched before
            except (PlaceError, StoreError):
                fetched += 1
                assert world.told("copy") == before
        path.unlink()
        if path != latest:
            try:
                world.follow("empty")  # it is an older number's
            except PlaceError as error:
                assert "isn't there" in str(error)  # noqa: PT017 - one of several
                missing += 1
            shutil.rmtree(world.directory / "empty")
        path.write_bytes(content)
    assert fetched > 6
    assert missing > 3
    world.follow()
    assert world.told("follower") == world.told("a")


def test_a_place_that_was_put_back_or_made_anew_is_not_followed(world: World) -> None:
    world.publish("a", "one")
    shutil.copytree(world.directory / "place", world.directory / "older")
    world.publish("a", "two")
    world.follow()
    before = world.told("follower")
    shutil.rmtree(world.directory / "place")
    with pytest.raises(PlaceError, match="no such folder"):
        world.follow()
    (world.directory / "older").rename(world.directory / "place")
    with pytest.raises(PlaceError, match="number 2, which was taken from there, is there no more"):
        world.follow()
    shutil.rmtree(world.directory / "place")
    World(world.directory, world.url).publish("anew", "other")
    World(world.directory, world.url).publish("anew", "another")
    with pytest.raises(PlaceError):
        world.follow()
    assert world.told("follower") == before
    with pytest.raises(PlaceError, match="another number 2"):
        world.change("a", make_key)


def test_a_revoked_key_stays_revoked_wherever_it_came(any_world: World) -> None:
    world = any_world
    world.publish("a", "one")
    key = world.change("a", make_key)
    world.follow()
    world.change("a", lambda store: store.revoke_key(key))
    world.follow()
    (held,) = world.told("follower")["keys"]
    assert (held.record.id, held.origin) == (key, Origin.REVOKED)
    noted = (world.directory / "follower/store/revoked").read_text()
    assert held.hash.hex() in noted
    world.publish("a", "two")
    world.change("a", lambda store: store.rollback())
    world.follow()
    assert world.told("follower")["keys"] == [held]


def test_an_override_ends_on_a_follower_by_itself(world: World) -> None:
    from fanion.app.overriding import lay_overrides

    world.publish("a", "one")
    world.change("a", lambda store: lay(store, "over", time.time() + 0.3))
    world.follow()
    data = world.directory / "follower"
    ends = time.monotonic() + 30
    with Store.open(data, write=True, map_bytes=1 << 28) as store:
        while True:  # on a busy machine it is over before it was taken
            lay_overrides(store)
            with store.pin() as pinned:
                if not pinned.manifest.environments[ENVIRONMENT].overrides:
                    break
            assert time.monotonic() < ends
            time.sleep(0.02)
    assert world.told("follower")["overrides"][ENVIRONMENT] == ""
    world.change("a", make_key)
    world.follow()
    assert world.told("follower")["overrides"][ENVIRONMENT] == ""


def test_one_member_sends_its_block_and_not_the_list(any_world: World) -> None:
    world = any_world
    many = [b"somebody-%d@example.com" % n for n in range(60_000)]
    world.publish("a", "one")
    world.change("a", lambda store: change_list(store, "add", many))
    world.follow()
    whole = sum(map(len, objects(world).values()))
    before = objects(world).keys()
    world.change("a", lambda store: change_list(store, "add", [b"one-more@example.com"]))
    sent = sum(len(content) for name, content in objects(world).items() if name not in before)
    _, fetched = world.follow()
    assert whole > 10 * GROUP_BYTES
    assert sent < 2 * GROUP_BYTES
    assert fetched < 2 * GROUP_BYTES
    world.change("a", lambda store: change_list(store, "remove", many[:50_000]))
    world.follow()
    assert world.told("follower") == world.told("a")


def test_directories_say_what_they_are_and_refuse_what_they_are_not(world: World) -> None:
    world.publish("a", "one")
    world.follow()
    with pytest.raises(PlaceError, match=f"follows {re.escape(world.url)}; change it there"):
        world.change("follower", make_key)
    with pytest.raises(PlaceError, match="follows"):
        world.publish("follower", "two")
    with pytest.raises(PlaceError, match=r"publishes .*; use another directory"):
        world.follow("a")
    alone = World(world.directory, f"file://{world.directory}/other")
    alone.publish("b", "own")
    with pytest.raises(PlaceError, match="has number 1 of others"):
        world.publish("b", "mine")
    (world.directory / "void").mkdir()
    with pytest.raises(PlaceError, match="nobody has published there yet"):
        World(world.directory, f"file://{world.directory}/void").follow("new")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://user:password@bucket/x", "allowed: s3"),
        ("ftp://host/x", "allowed: "),
        ("file://relative", "allowed: s3"),
        ("s3://", "allowed: "),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(url: str, said: str) -> None:
    need_libraries()
    with pytest.raises(PlaceError, match=said) as caught:
        open_place(url, Places())
    assert "password" not in str(caught.value)
    assert "password" not in shown(url)


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanion.places.find_spec", lambda name: None)
    with pytest.raises(PlaceError, match=r"obstore and cryptography not installed; .*fanion\[machines\]"):
        kind_of("s3://bucket")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"FANION_PLACES_KEY": "short"}, "places.key has 5 characters"),
        ({"FANION_PLACES_FOLLOW": "file:///x"}, "needs places.key"),
        ({"FANION_PLACES_MACHINE": "a/b"}, "places.machine is 'a/b'"),
        ({"FANION_PLACES_MAX_STALENESS_S": "3"}, "below twice places.poll_s"),
        ({"FANION_PLACES_ACCESS_KEY": "x"}, "together"),
        ({"FANION_PLACES_ENDPOINT": "http://u:p@host"}, "without a path or a user"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, str], said: str) -> None:
    from fanion.config.loading import load_config
    from fanion.dialects import vocabulary

    with pytest.raises(ConfigError, match=said):
        load_config(vocabulary(), environ=settings)
