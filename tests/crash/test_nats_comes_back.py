"""NATS that restarts as a whole, wakes nobody any more, or lets somebody in no longer: who follows a place is up to
date again by its own looks (N-7), and what is to be shipped waits in the journal (N-9). Each prints its figure."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fanion.app.following import Taking
from fanion.errors import ShippingError
from fanion.journal.storage import Storage
from fanion.nats.connection import Access, Connection
from fanion.places.follower import Follower
from fanion.shipping.shipper import Shipper
from fanion.shipping.state import load_state
from tests.crash.receivers import NatsServers, nats_servers
from tests.crash.test_nats_troubles import Switch, until, with_errors
from tests.unit.places_world import World as Places
from tests.unit.places_world import need_libraries
from tests.unit.shipping_world import World

PASSWORD = "a-password-of-nats"


@pytest.fixture(autouse=True)
def libraries() -> None:
    need_libraries()
    pytest.importorskip("nats")


@contextmanager
def following(world: Places, machine: str) -> Iterator[list[int]]:
    """The numbers that a machine has had, at each look."""
    numbers: list[int] = []
    ending, data = Switch(), world.directory / machine
    data.mkdir()
    with closing(Taking(data, world.following)) as parts:
        contact = parts.contact

        def noted(at: float, number: int) -> None:
            numbers.append(number)
            contact(at, number)

        parts.contact = noted  # type: ignore[method-assign]
        thread = threading.Thread(
            target=Follower(world.url, world.following.places, parts).run, args=(ending,)
        )
        thread.start()
        try:
            yield numbers
        finally:
            ending.set()
            thread.join()
    assert numbers == sorted(numbers)


@pytest.mark.heavy
@pytest.mark.timeout(1_200)
def test_machines_are_up_to_date_again_after_a_restart_of_the_whole_cluster(tmp_path: Path) -> None:
    """N-7."""
    with nats_servers(tmp_path / "nats", 3) as servers:
        world = Places(tmp_path, servers.url("place"), poll_s=1.0, timeout_s=5)
        until(lambda: with_errors(lambda: world.publish("admin", "one")), 90)
        with following(world, "first") as first, following(world, "second") as second:
            until(lambda: first and second, 90)
            for number in range(3):
                servers.kill(number)
            for number in range(3):
                servers.start(number)
            for number in range(3):
                servers.ready(number)
            up = time.monotonic()
            until(lambda: with_errors(lambda: world.publish("admin", "two")), 90)
            published = time.monotonic()
            until(lambda: first[-1] >= 2 and second[-1] >= 2, 90)
            print(
                f"published {published - up:.1f} s after the cluster was up again, taken by both "
                f"{time.monotonic() - published:.1f} s later"
            )
        assert world.answer("first") == world.answer("second") == "two"


def test_who_is_woken_no_more_sees_what_is_new_by_looking(
    nats: NatsServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """N-7: the watcher is silent."""
    world = Places(tmp_path, nats.url(f"n7-{os.urandom(4).hex()}"), poll_s=0.3)
    world.publish("admin", "one")

    def silent(connection: Connection, subject: str, heard: Callable[[], None]) -> None:
        pass

    monkeypatch.setattr(Connection, "subscribe", silent)
    with following(world, "follower") as numbers:
        until(lambda: numbers, 60)
        world.publish("admin", "two")
        began = time.monotonic()
        until(lambda: numbers[-1] == 2, 60)
        print(f"taken {time.monotonic() - began:.1f} s after it was published, by a look every 0.3 s at most")
    assert world.answer("follower") == "two"


def test_who_is_let_in_no_more_keeps_all_and_ships_it_once_let_in_again(tmp_path: Path) -> None:
    """N-9: rejected, while connected and anew. Another user looks at the stream."""
    users = f'{{user: fanion, password: "{PASSWORD}"}}, {{user: other, password: "x{random.random()}"}}'
    configured = f"authorization {{ users: [{users}] }}\nno_auth_user: other"
    with nats_servers(tmp_path / "nats", more=configured) as servers:
        world = World(tmp_path / "data", servers)

        def shipper() -> Shipper:
            return Shipper(world.journal.directory, world.settings, Access("fanion", PASSWORD))

        world.journal.append(0, 10)
        with shipper() as connected:
            connected.run_once()
            servers.change(PASSWORD, "another")
            world.journal.append(0, 10)
            until(lambda: refused(connected, world), 60)
            connected.failed("not let in")
        world.journal.append(0, 10)
        assert len(world.downstream()) < len(world.journal.records())
        with pytest.raises(ShippingError, match="Authorization Violation") as caught:
            once(shipper)
        assert PASSWORD not in str(caught.value)
        assert load_state(Storage(), world.journal.directory).failing == "not let in"

        servers.change("another", PASSWORD)
        until(lambda: with_errors(lambda: once(shipper)), 60)
        assert world.downstream() == world.journal.records()
        assert load_state(Storage(), world.journal.directory).failing == ""
        print(f"{len(world.journal.records())} records, lost 0")


def refused(connected: Shipper, world: World) -> bool:
    """Whether the server ended the connection, which it does some time after it was told to: what was sent
    a moment before may be in the stream though nobody heard so."""
    try:
        connected.run_once()
    except ShippingError:
        return True
    world.journal.append(0, 1)
    return False


def once(make: Callable[[], Shipper]) -> None:
    with make() as shipper:
        shipper.run_once()
