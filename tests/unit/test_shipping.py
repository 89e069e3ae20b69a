"""Shipping: every record is in the stream, whatever ended when; in order per writer; what can't be says why."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanion.config.shipping import Shipping
from fanion.errors import JournalError, ShippingError
from fanion.journal.reader import JournalReader, list_checkpoints
from fanion.journal.storage import Storage
from fanion.nats.address import parse_address
from fanion.nats.connection import Access, Connection
from fanion.shipping import READER
from fanion.shipping.block import BLOCK_BYTES, HEADER, PART_BYTES, Block, Span, cut, parse_block
from fanion.shipping.chain import Entry
from fanion.shipping.flight import AT_ONCE
from fanion.shipping.ledger import Ledger
from fanion.shipping.shipper import Shipper
from fanion.shipping.state import load_state
from fanion.shipping.stream import Stream
from tests.crash.receivers import NatsServers, nats_servers
from tests.unit.shipping_world import MACHINE, Journal, World


@pytest.fixture(autouse=True)
def libraries() -> None:
    pytest.importorskip("nats")


@pytest.fixture
def world(nats: NatsServers, tmp_path: Path) -> World:
    return World(tmp_path / "data", nats)


def held(world: World) -> dict[int, int]:
    """From where on the journal keeps records for shipping, once another process has begun."""
    world.shipper().close()
    return list_checkpoints(Storage(), world.journal.directory / "journal")[READER].next_sequence


def test_records_of_all_writers_are_shipped_once_and_new_ones_after(world: World) -> None:
    for writer, count in ((0, 50), (3, 20)):
        world.journal.append(writer, count)
        world.journal.begin(writer)
        world.journal.append(writer, count)
    assert world.ship() == 140
    assert world.downstream() == world.journal.records()
    assert world.ship() == 0
    world.journal.append(3, 5)
    with world.shipper() as shipper:
        assert shipper.run_once() == 5
        world.journal.append(0, 1)
        assert shipper.run_once() == 1
        assert shipper.stands().lag_records == 0
    assert world.downstream() == world.journal.records()
    assert held(world) == {0: 51, 3: 21}  # of finished segments, which were read back
    state = load_state(Storage(), world.journal.directory)
    assert (state.records, state.failing) == (146, "")


def test_blocks_are_whole_records_in_sequence_and_of_a_bounded_size(world: World) -> None:
    for _ in range(3):
        world.journal.append(0, 300, size=2_000)
        world.journal.append(1, 100, size=9_000)
    world.ship()
    blocks = world.blocks()
    ends: dict[int, int] = {}
    for block in blocks:
        assert block.span.first == ends.get(block.span.writer, 1)
        ends[block.span.writer] = block.span.next
        assert len(block.data) <= BLOCK_BYTES
    assert sum(len(block.data) > BLOCK_BYTES // 4 for block in blocks) > len(blocks) // 2
    assert world.downstream() == world.journal.records()


@pytest.mark.parametrize("size", [BLOCK_BYTES - 64, BLOCK_BYTES + 1, PART_BYTES + 1, 3 * PART_BYTES])
def test_a_record_larger_than_a_message_goes_in_parts(world: World, size: int) -> None:
    world.journal.append(0, 2)
    world.journal.append(0, 1, size=size)
    world.journal.append(0, 2)
    assert world.ship() == 5
    assert world.downstream() == world.journal.records()


def test_parts_are_as_small_as_the_servers_messages(tmp_path: Path) -> None:
    with nats_servers(tmp_path / "nats", more="max_payload: 64KB") as servers:
        world = World(tmp_path / "data", servers)
        world.journal.append(0, 1, size=300_000)
        world.journal.append(0, 3)
        assert world.ship() == 4
        assert world.downstream() == world.journal.records()


class KilledError(Exception):
    """As a process that was killed."""


def test_a_kill_between_any_two_blocks_loses_and_doubles_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After what the stream took and before the ledger says so, and the other way round."""
    monkeypatch.setattr("fanion.shipping.flight.AT_ONCE_FIRST", 2)
    monkeypatch.setattr("fanion.shipping.flight.AT_ONCE", 2)
    monkeypatch.setattr("fanion.journal.log_segment.WINDOW_BYTES", 2_048)
    draw = random.Random(5)
    real_add, real_begin, real_wait = Ledger.add, Stream.begin, Stream.wait
    dies = {"at": 0}

    def die() -> None:
        dies["at"] -= 1
        if dies["at"] == 0:
            raise KilledError

    def add(self: Ledger, entries: list[Entry]) -> None:
        die()
        real_add(self, entries)
        die()

    def begin(self: Stream, block: Block, again: bool) -> Any:
        die()
        return real_begin(self, block, again)

    def wait(self: Stream, sent: Any) -> int:
        place = real_wait(self, sent)
        die()
        return place

    monkeypatch.setattr(Ledger, "add", add)
    monkeypatch.setattr(Stream, "begin", begin)
    monkeypatch.setattr(Stream, "wait", wait)
    for _ in range(25):
        world.journal.append(draw.randrange(2), draw.randrange(1, 12), size=400)
        dies["at"] = draw.randrange(1, 9)
        with contextlib.suppress(KilledError):
            world.ship()
    dies["at"] = 0
    world.ship()
    assert world.downstream() == world.journal.records()
    numbers = [block.span for block in world.blocks()]
    assert len(numbers) == len(set(numbers))  # what was sent again had the same id


def test_blocks_that_were_acknowledged_before_one_that_was_not_are_noted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.journal.append(0, 40, size=100_000)
    publish = None

    with world.shipper() as shipper:
        streams = shipper.stream._connection.streams
        publish = streams.publish
        calls = 0

        async def fail_third(*given: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise ValueError("no")
            return await publish(*given, **named)

        monkeypatch.setattr(streams, "publish", fail_third)
        with pytest.raises(ShippingError, match="no"):
            shipper.run_once()
        taken = shipper.sent().next_sequence.get(0, 1)
    assert taken < 41
    assert world.ship() == 41 - taken
    assert world.downstream() == world.journal.records()


def test_what_the_journal_cannot_read_is_passed_and_the_rest_shipped(world: World) -> None:
    world.journal.append(0, 10)
    path = world.journal.path(0, 1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 + 4_096] ^= 1
    path.write_bytes(content)
    world.journal.begin(0)
    world.journal.append(0, 3)
    with world.shipper() as shipper:
        assert shipper.run_once() == 12
        (defect,) = shipper.problems()
        assert "records do not verify" in defect
    assert world.downstream() == world.journal.records()
    assert len(world.journal.records()) == 12
    assert held(world) == {0: 11}
    assert world.ship() == 0


def test_another_journal_in_the_directory_is_shipped_from_its_beginning(world: World, tmp_path: Path) -> None:
    world.journal.append(0, 5)
    world.ship()
    (world.journal.directory / "journal").rename(tmp_path / "away")
    before = world.downstream()
    world.journal = Journal(world.journal.directory, machine=bytes(16))
    world.journal.append(0, 3)
    assert world.ship() == 3
    assert len(before) == 5
    assert held(world) == {0: 1}
    assert len([block for block in world.blocks() if block.machine == bytes(16)]) == 1


def test_only_one_process_ships(world: World) -> None:
    world.journal.append(0, 1)
    with world.shipper(), pytest.raises(ShippingError, match="another process ships"):
        world.shipper()


def test_without_a_journal_nothing_is_made(nats: NatsServers, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal"):
        Shipper(tmp_path, Shipping(url=nats.url("none")), Access())
    assert list(tmp_path.iterdir()) == []


def test_a_journal_that_gets_its_first_segment_later_is_shipped_without_an_error(world: World) -> None:
    """As of a server that has just been started for the first time."""
    with world.shipper() as shipper:
        assert shipper.run_once() == 0
        world.journal.append(0, 7)
        assert shipper.run_once() == 7
        assert shipper.stands().lag_records == 0
        world.journal.begin(0)
        world.journal.append(0, 1)
        assert shipper.run_once() == 1
    assert held(world) == {0: 8}
    assert world.downstream() == world.journal.records()


def test_retention_waits_also_while_no_stream_was_reached_yet(tmp_path: Path, nats: NatsServers) -> None:
    world = World(tmp_path / "data", nats)
    world.settings = Shipping(url="nats://127.0.0.1:1/none", timeout_s=1)
    world.journal.append(0, 1)
    with pytest.raises(ShippingError, match="Connect call failed"):
        world.ship()
    (checkpoint,) = list_checkpoints(Storage(), world.journal.directory / "journal").values()
    assert checkpoint.next_sequence == {}
    assert not checkpoint.yields
    world.settings = msgspec.structs.replace(world.settings, when_full="drop")
    with pytest.raises(ShippingError):
        world.ship()
    (checkpoint,) = list_checkpoints(Storage(), world.journal.directory / "journal").values()
    assert checkpoint.yields


def administer(world: World, do: Callable[[Any, str], Any]) -> Any:
    """Of the stream, as an operator could: `do` gets the library's streams and the name."""
    address = parse_address(world.settings.url)
    assert address is not None
    connection = Connection(address, Access(), 10)
    try:
        return connection.run(do(connection.streams, address.name))
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_bytes": 1 << 20, "discard": "old"}, "drops its oldest when it is full"),
        ({"retention": "workqueue"}, "drops what somebody read"),
    ],
)
def test_a_stream_that_drops_what_it_took_is_refused(world: World, given: dict[str, Any], said: str) -> None:
    administer(
        world,
        lambda streams, name: streams.add_stream(name=name, subjects=[f"fanion.events.{name}.>"], **given),
    )
    world.journal.append(0, 1)
    with pytest.raises(ShippingError, match=said):
        world.ship()


def test_a_full_stream_takes_no_more_and_nothing_is_lost(world: World) -> None:
    """N-9: rejected. The journal keeps what the stream refuses."""
    administer(
        world,
        lambda streams, name: streams.add_stream(
            name=name, subjects=[f"fanion.events.{name}.>"], max_bytes=200_000, discard="new"
        ),
    )
    world.journal.append(0, 30, size=20_000)
    with world.shipper() as shipper:
        with pytest.raises(ShippingError, match="maximum bytes exceeded"):
            shipper.run_once()
        shipper.failed("maximum bytes exceeded")
    assert "maximum bytes" in load_state(Storage(), world.journal.directory).failing
    administer(
        world,
        lambda streams, name: streams.update_stream(
            name=name, max_bytes=-1, discard="new", subjects=[f"fanion.events.{name}.>"]
        ),
    )
    world.ship()
    assert world.downstream() == world.journal.records()
    assert load_state(Storage(), world.journal.directory).failing == ""


def test_a_stream_that_stops_answering_is_left_in_time(tmp_path: Path) -> None:
    with nats_servers(tmp_path / "nats") as servers:
        world = World(tmp_path / "data", servers)
        world.journal.append(0, 5)
        with world.shipper() as shipper:
            stream = shipper.stream
            servers.pause()
            stream._connection.timeout_s = 0.5
            began = time.monotonic()
            with pytest.raises(ShippingError, match=r"no answer|lost"):
                shipper.run_once()
            assert time.monotonic() - began < 60
            servers.go_on()
        world.ship()
        assert world.downstream() == world.journal.records()


def test_a_stream_that_ended_and_came_back_has_all(tmp_path: Path) -> None:
    with nats_servers(tmp_path / "nats") as servers:
        world = World(tmp_path / "data", servers)
        for _ in range(3):
            world.journal.append(0, 20, size=5_000)
            world.ship()
            servers.kill()
            world.journal.append(0, 20, size=5_000)
            with pytest.raises(ShippingError):
                world.ship()
            servers.start()
            servers.ready()
        world.ship()
        assert world.downstream() == world.journal.records()


def test_a_message_that_was_changed_is_no_block(world: World) -> None:
    world.journal.append(0, 3)
    (batch,) = list(JournalReader(world.journal.directory).read_batches())
    (block,) = cut(batch)
    message = block.pack()
    assert parse_block(message) == block
    assert block.machine == MACHINE
    for at in (0, HEADER.size, len(message) - 1):
        bent = bytearray(message)
        bent[at] ^= 1
        with pytest.raises(ShippingError):
            parse_block(bytes(bent))
    with pytest.raises(ShippingError):
        parse_block(message[: HEADER.size - 1])
    for span in ((1, 1 << 63), (1, 2 + len(block.data) // 24), (1, 3, 0, 2), (2, 2), (3, 2)):
        with pytest.raises(ShippingError):
            parse_block(Block(MACHINE, 1, Span(0, *span), block.data).pack())


def test_the_bound_of_what_is_on_its_way_is_below_64_mib() -> None:
    """N-4."""
    assert AT_ONCE * PART_BYTES < 64 << 20
