"""What a stream has lost is found, sent again, and kept in the journal until it was read back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from fanion.journal.reader import list_checkpoints
from fanion.journal.retention import run_pass
from fanion.journal.settings import JournalSettings
from fanion.journal.storage import Storage
from fanion.shipping import READER
from fanion.shipping.state import State, load_state
from fanion.shipping.stream import Stream
from tests.crash.receivers import NatsServers, nats_servers
from tests.unit.shipping_world import World
from tests.unit.test_shipping import administer


@pytest.fixture(autouse=True)
def libraries() -> None:
    pytest.importorskip("nats")


@pytest.fixture
def world(nats: NatsServers, tmp_path: Path) -> World:
    return World(tmp_path / "data", nats)


def fill(world: World, segments: int = 3, count: int = 40, size: int = 20_000) -> None:
    for writer in (0, 1):
        for _ in range(segments):
            world.journal.append(writer, count, size=size)
            world.journal.begin(writer)
        world.journal.append(writer, 1)


def verified(world: World) -> dict[int, int]:
    return list_checkpoints(Storage(), world.journal.directory / "journal")[READER].next_sequence


def state(world: World) -> State:
    return load_state(Storage(), world.journal.directory)


def lose(world: World, *places: int) -> None:
    """Takes messages out of the stream."""
    for place in places:
        administer(world, lambda streams, name: streams.delete_msg(name, place))  # noqa: B023 - at once


def test_finished_segments_are_read_back_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[int] = []
    fetch = Stream.fetch

    def noted(self: Stream, places: Any) -> Any:
        fetched.extend(places)
        return fetch(self, places)

    monkeypatch.setattr(Stream, "fetch", noted)
    fill(world)
    with world.shipper() as shipper:
        shipper.run_once()
        assert verified(world) == {0: 121, 1: 121}
        assert shipper.stands().unverified_segments == 0
        shipper.run_once()
    world.ship()
    assert len(fetched) == len(set(fetched)) == len(world.blocks()) - 2  # but the two that aren't finished
    assert state(world).verified_blocks == len(fetched) - len(
        world.blocks()
    )  # the call above fetched them too


@pytest.mark.parametrize("when", ["before they were read back", "after"])
def test_messages_that_were_deleted_are_found_and_sent_again(
    world: World, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world)
    if when == "after":
        world.ship()
    else:
        with monkeypatch.context() as patched:
            patched.setattr("fanion.shipping.shipper.Shipper.reconcile", lambda *_: 0)
            world.ship()
        assert verified(world) == {}
    lose(world, 2, 3, 9)
    assert world.downstream() != world.journal.records()
    world.ship()
    assert world.downstream() == world.journal.records()
    assert state(world).resent_blocks == 3
    world.ship()
    assert verified(world) == {0: 121, 1: 121}
    assert state(world).resent_blocks == 3
    assert state(world).unrecovered_records == 0


def test_a_stream_that_was_purged_or_made_anew_gets_all_again(world: World) -> None:
    fill(world, segments=2)
    for lose_all in ("purge_stream", "delete_stream"):
        world.ship()
        administer(world, lambda streams, name: getattr(streams, lose_all)(name))  # noqa: B023 - at once
        world.ship()
        assert world.downstream() == world.journal.records()


def test_what_is_lost_is_kept_by_retention_until_it_was_read_back(world: World) -> None:
    fill(world)
    directory = world.journal.directory / "journal"
    settings = JournalSettings(retention_bytes=1, retention_hours=0, compress=False, pool_segments=0)

    def left() -> int:
        assert run_pass(Storage(), directory, settings) is not None
        return len(list(directory.glob("*.log")))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fanion.shipping.shipper.Shipper.reconcile", lambda *_: 0)
        world.ship()
    before = left()
    assert before == 8
    all_of_them = world.journal.records()
    lose(world, 1)
    with world.shipper() as shipper:
        shipper.run_once()
        assert (
            left() == 8 - 3
        )  # the other writer's; this one's first block was sent again, and not read back yet
        shipper.run_once()
    assert left() == 2
    assert world.downstream() == all_of_them
    world.ship()
    assert state(world).resent_blocks == 1


def test_a_block_is_sent_again_once_in_its_time(world: World) -> None:
    """No hot loop where a stream never keeps what it takes."""
    now = [1_000.0]
    fill(world, segments=1)
    with world.shipper(now=lambda: now[0]) as shipper:
        shipper.run_once()
        count = len(world.blocks())
        for _ in range(3):
            administer(world, lambda streams, name: streams.purge_stream(name))
            for _ in range(5):
                shipper.run_once()
                now[0] += 1
            assert world.blocks() == []
            now[0] += world.settings.check_s
            shipper.run_once()
            assert len(world.blocks()) == count


def test_what_the_stream_keeps_no_longer_is_no_loss(world: World) -> None:
    now = [1_000.0]
    fill(world, segments=1)
    with world.shipper(now=lambda: now[0]) as shipper:
        shipper.run_once()
        administer(world, lambda streams, name: streams.purge_stream(name))
        now[0] += world.settings.keep_hours * 3_600
        shipper.run_once()
        shipper.run_once()
        assert world.blocks() == []
        assert shipper.verified().next_sequence == {0: 42, 1: 42}
        assert shipper.state.resent_blocks == 0


def test_a_record_that_is_gone_on_both_sides_is_counted(world: World) -> None:
    fill(world, segments=1, count=10)
    world.ship()
    path = world.journal.path(0, 1)
    content = bytearray(path.read_bytes())
    content[8_192 + 30_000] ^= 1
    path.write_bytes(content)
    lose(world, 1)
    world.ship()
    assert world.downstream() == world.journal.records()
    assert len(world.journal.records()) == 21
    assert state(world).unrecovered_records == 1


def flip(store: Path, at: float = 0.3) -> int:
    """One bit of the largest of a server's files of messages."""
    path = max(store.rglob("*.blk"), key=lambda each: each.stat().st_size)
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 1
    path.write_bytes(content)
    return len(content)


def test_one_flipped_bit_in_a_servers_file_loses_nothing_in_the_end(tmp_path: Path) -> None:
    """N-6, at its worst: no other replica has them. Of three servers: `tests/crash/test_nats_troubles.py`."""
    with nats_servers(tmp_path / "nats") as servers:
        world = World(tmp_path / "data", servers)
        fill(world)
        world.ship()
        servers.kill()
        assert flip(servers.store(0)) > 1 << 20
        servers.start()
        servers.ready()
        lost = len(world.journal.records()) - len(world.downstream())
        assert lost > 0
        world.ship()
        world.ship()
        assert world.downstream() == world.journal.records()
        print(f"one bit: {lost} of {len(world.journal.records())} records lost, sent again")


def patiently(world: World) -> None:
    """Again until it works: a cluster chooses leaders, which takes seconds."""
    from fanion.errors import ShippingError

    ends = time.monotonic() + 90
    while True:
        try:
            world.ship()
            return
        except ShippingError:
            assert time.monotonic() < ends
            time.sleep(0.2)
