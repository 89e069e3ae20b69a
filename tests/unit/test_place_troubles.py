"""Places that lose what they had, machines that overtake each other, and what a follower does beside following."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fanion.app.following import Taking
from fanion.app.publishing import keep_copy
from fanion.bundle.format import VERSION
from fanion.errors import PlaceError, PlaceMovedError
from fanion.places import open_place
from fanion.places.follower import look
from fanion.places.place import MANIFEST_BYTES_MAX
from fanion.places.sealing import Sealer
from fanion.process.contact import Contact
from fanion.store.layout import Origin
from fanion.store.replacement import replace_bundles
from fanion.store.store import Store
from fanion.store.transactions import Transactions
from tests.unit.places_world import (
    ENVIRONMENT,
    KEY,
    MAP_BYTES,
    OTHER,
    World,
    change_list,
    lay,
    make_key,
    need_libraries,
    objects,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    need_libraries()
    return World(tmp_path)


def test_a_revocation_that_was_overtaken_holds_everywhere(world: World) -> None:
    world.publish("a", "one")
    key = world.change("a", make_key)
    world.publish("b", "one")
    with pytest.raises(PlaceMovedError, match="but keys that were revoked"):
        world.change("a", lambda store: (store.revoke_key(key), world.publish("b", "two")))
    world.follow()
    (held,) = world.told("follower")["keys"]
    assert (held.record.id, held.origin) == (key, Origin.REVOKED)
    assert world.answer("follower") == "two"
    assert world.told("follower") == world.told("a")


def test_a_revocation_that_could_not_be_sent_is_sent_by_the_next_command(world: World) -> None:
    world.publish("a", "one")
    key = world.change("a", make_key)

    def cut(store: Store) -> None:
        store.revoke_key(key)
        (world.directory / "place").rename(world.directory / "away")
        (world.directory / "place").write_text("a file")

    with pytest.raises(PlaceError, match="isn't sent"):
        world.change("a", cut)
    (world.directory / "place").unlink()
    (world.directory / "away").rename(world.directory / "place")
    world.publish("b", "of b")  # meanwhile, so that the generation is given up
    with pytest.raises(ZeroDivisionError):  # whatever becomes of the next command
        world.change("a", lambda store: 1 / 0)
    world.follow()
    assert [held.origin for held in world.told("follower")["keys"]] == [Origin.REVOKED]


def test_a_change_that_is_given_up_is_said(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.publish("a", "one")
    with Store.open(world.directory / "a", write=True, map_bytes=MAP_BYTES) as store:
        make_key(store)  # as a command that was killed before it sent
    world.publish("b", "two")
    world.publish("a", "three")
    assert "which was not sent, is given up for number 2 of file://" in capsys.readouterr().err


def test_what_nobody_was_served_is_no_rollback(world: World) -> None:
    world.publish("a", "one")
    world.publish("b", "two")

    def overtaken(store: Store) -> None:
        lay(store, "nobody's")
        world.publish("b", "three")

    with pytest.raises(PlaceMovedError):
        world.change("a", overtaken)
    world.change("a", lambda store: store.rollback())
    assert world.told("a")["overrides"][ENVIRONMENT] == ""
    assert world.answer("a") == "one"  # what this directory had before it took what b made


def test_a_place_that_was_emptied_is_filled_again_once_that_is_asked_for(world: World) -> None:
    world.publish("a", "one", members=["u1", "u2"])
    world.follow()
    for path in [*(world.directory / "place").rglob("*")]:
        if path.is_file():
            path.unlink()
    with pytest.raises(PlaceError, match="it was emptied"):
        world.change("a", make_key)
    world.send("a")
    assert world.follow()[0].number == 2
    world.follow("new")
    assert world.told("new") == world.told("a")


def test_objects_that_were_lost_or_damaged_are_put_right(world: World) -> None:
    world.publish("a", "one", members=["u1", "u2"])
    for at, name in enumerate(sorted(objects(world))):
        path = world.directory / "place/objects" / name[:2] / name
        path.unlink() if at % 2 else path.write_bytes(b"")
    with pytest.raises(PlaceError):
        world.follow("new")
    world.send("a")
    world.follow("newer")
    assert world.told("newer") == world.told("a")


def test_a_place_that_was_put_back_goes_on_above_what_was_taken(world: World) -> None:
    world.publish("a", "one")
    shutil.copytree(world.directory / "place", world.directory / "older")
    world.publish("a", "two")
    world.follow()
    shutil.rmtree(world.directory / "place")
    (world.directory / "older").rename(world.directory / "place")
    with pytest.raises(PlaceError, match="without PATHS makes a higher one"):
        world.change("a", make_key)
    world.send("a")
    assert world.follow()[0].number == 3
    assert world.told("follower") == world.told("a")


def test_a_follower_that_forgot_a_person_takes_the_list_as_it_is_then(world: World) -> None:
    world.publish("a", "one", members=["u1", "u2", "u3"])
    world.follow()
    with Store.open(world.directory / "follower", write=True, map_bytes=MAP_BYTES) as store:
        change_list(store, "remove", [b"u2"])
    world.change("a", make_key)
    world.follow()
    assert world.told("follower") == world.told("a")


def test_a_follower_may_follow_another_place(world: World) -> None:
    world.publish("a", "one")
    world.publish("a", "two")
    world.follow()
    other = World(world.directory, f"file://{world.directory}/moved")
    other.publish("anew", "three")
    assert other.follow()[0].number == 1
    assert other.told("follower") == other.told("anew")


def test_a_directory_that_publishes_compiles_what_an_older_fanion_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish("a", "one")
    made: list[str] = []

    def noted(transactions: Transactions, publication: int, bundles: dict[str, bytes]) -> int:
        made.extend(bundles)
        return replace_bundles(transactions, publication, bundles)

    with monkeypatch.context() as newer:
        for module in ("fanion.store.upgrade", "fanion.app.machines"):
            newer.setattr(f"{module}.VERSION", VERSION + 1)
        newer.setattr("fanion.store.upgrade.replace_bundles", noted)
        newer.setattr("fanion.app.machines.check_bundle", lambda *_: pytest.fail("it is an older one"))
        world.publish("b", "two")
    assert set(made) >= {ENVIRONMENT, OTHER}
    world.follow()
    assert world.told("follower") == world.told("b")


def test_a_turn_is_taken_between_two_reads_of_the_place(world: World) -> None:
    world.publish("a", "one")
    turns: list[int] = []
    (world.directory / "follower").mkdir()
    with (
        closing(Taking(world.directory / "follower", world.following, lambda: turns.append(1))) as parts,
        closing(open_place(world.url, world.following.places)) as place,
    ):
        look(parts, place, Sealer(KEY), world.url)
    assert len(turns) >= len(objects(world))


def test_what_lies_in_a_place_is_bounded_before_it_is_read(world: World) -> None:
    world.publish("a", "one")
    place = world.directory / "place"
    (place / "manifests" / "²").write_bytes(b"")
    (place / "manifests" / f"{2:020}").write_bytes(b"x" * (MANIFEST_BYTES_MAX + 1))
    with pytest.raises(PlaceError, match=r"900,001 bytes; 900,000 are allowed"):
        world.follow()
    (place / "reports").mkdir(exist_ok=True)
    (place / "reports" / "machine").write_bytes(b"x" * 5_000)
    (place / "reports" / "other").write_bytes(b"said")
    with closing(open_place(world.url, world.config.places)) as opened:
        assert opened.reports() == {
            "other": b"said"
        }  # what is no report keeps nobody from reading those that are


def test_a_pipe_in_a_place_is_refused_and_not_waited_for(world: World) -> None:
    world.publish("a", "one")
    lies = next(one for one in (world.directory / "place" / "objects").rglob("*") if one.is_file())
    lies.unlink()
    os.mkfifo(lies)
    with (
        closing(open_place(world.url, world.config.places)) as opened,
        pytest.raises(PlaceError, match="a pipe, not a plain file"),
    ):
        opened.get(lies.name)


def test_a_server_that_starts_has_heard_the_place(world: World) -> None:
    """Or its workers would take the last time for the truth, and open nothing."""
    world.publish("a", "one")
    data = world.directory / "follower"
    data.mkdir()
    script = (
        "import sys; from pathlib import Path; from fanion.app.following import catch_up\n"
        "from fanion.config.loading import load_config; from fanion.dialects import vocabulary\n"
        "catch_up(Path(sys.argv[1]), load_config(vocabulary()))"
    )
    variables = {"FANION_PLACES_KEY": KEY, "FANION_PLACES_FOLLOW": world.url}
    command = [sys.executable, "-c", script, str(data)]  # of its own: it forks
    subprocess.run(command, env=os.environ | variables, check=True, timeout=60)
    with closing(Contact(data)) as contact:
        assert contact.stale_s() < 60
    with Store.open(data, write=True) as store:
        keep_copy(store, store.generation())
    os.truncate(data / "store" / "data.mdb", 5_000)
    again = subprocess.run(command, env=os.environ | variables, check=True, timeout=60, capture_output=True)
    assert b"the store was damaged" in again.stdout  # and its copy is followed on from


def test_a_directory_that_is_behind_sends_what_the_place_has(world: World) -> None:
    world.publish("a", "one")
    world.publish("b", "two")
    world.send("a")
    assert world.follow()[0].number == 3
    assert world.answer("follower") == "two"
