"""NATS that is slow, cut off, half open, without its leader; and a shipper that is killed: nothing is lost in
the end, each record is there once by its identity, and each test prints its figure."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fanion.app.following import Taking
from fanion.config.shipping import Shipping
from fanion.errors import FanionError, ShippingError
from fanion.journal.storage import Storage
from fanion.nats.connection import Access
from fanion.pipeline.manifest import Manifest
from fanion.places.follower import Follower
from fanion.shipping.downstream import Downstream
from fanion.shipping.flight import AT_ONCE
from fanion.shipping.state import load_state
from tests.crash.proxy import proxy
from tests.crash.receivers import ANSWER_TIMEOUT_S, NatsServers, nats_servers
from tests.unit.places_world import KEY, need_libraries
from tests.unit.places_world import World as Places
from tests.unit.shipping_world import Journal, World
from tests.unit.test_shipping import administer
from tests.unit.test_shipping_reconciler import fill, flip, patiently

ROWS_KILLS = int(os.environ.get("ROWS_KILLS", "6"))
KILLS = int(os.environ.get("SHIPPING_KILLS", "6"))
LEADER_KILLS = int(os.environ.get("LEADER_KILLS", "2"))
CUT_S = float(os.environ.get("CUT_S", "0"))


@pytest.fixture(autouse=True)
def libraries() -> None:
    pytest.importorskip("nats")


def by_way_of(world: World, port: int) -> World:
    """The same stream through a proxy."""
    name = world.settings.url.rpartition("/")[2]
    made = World.__new__(World)
    made.journal, made.nats = world.journal, world.nats
    made.settings = type(world.settings)(
        url=f"nats://127.0.0.1:{port}/{name}", timeout_s=world.settings.timeout_s
    )
    return made


@pytest.mark.heavy
def test_a_shipper_that_is_killed_at_any_moment_loses_and_doubles_nothing(
    nats: NatsServers, tmp_path: Path
) -> None:
    """Full rounds: SHIPPING_KILLS=200."""
    seed = int(os.environ.get("SHIPPING_SEED") or random.randrange(1 << 30))
    print("SHIPPING_SEED", seed)
    world = World(tmp_path / "unused", nats)
    data = tmp_path / "data"
    given = [str(data), world.settings.url, str(KILLS), str(seed)]
    command = [sys.executable, "-m", "tests.crash.ship_worker", *given]
    told = subprocess.run(command, capture_output=True, text=True, timeout=100 + 25 * KILLS, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    world.journal.directory = data
    assert world.downstream() == world.journal.records()
    assert len(world.journal.records()) == 25 * (KILLS + 1)
    print(f"{KILLS} kills, {told.stdout.strip()} blocks, lost 0, twice 0 by identity")


def test_rows_of_a_stream_are_there_once_whenever_who_makes_them_is_killed(
    nats: NatsServers, tmp_path: Path
) -> None:
    """The rows of all machines, and no other. Full rounds: ROWS_KILLS=200."""
    pytest.importorskip("pyarrow")
    from tests.unit.downstream_world import Machine, Machines
    from tests.unit.pipeline_world import kept

    seed = int(os.environ.get("ROWS_SEED") or random.randrange(1 << 30))
    print("ROWS_SEED", seed)
    settings = Shipping(url=nats.url(f"d-{os.urandom(6).hex()}"), timeout_s=ANSWER_TIMEOUT_S)
    given = [str(tmp_path / "data"), settings.url, str(ROWS_KILLS), str(seed)]
    command = [sys.executable, "-m", "tests.crash.rows_worker", *given]
    told = subprocess.run(command, capture_output=True, text=True, timeout=100 + 25 * ROWS_KILLS, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    machines = Machines.__new__(Machines)
    machines.settings, machines.directory = settings, tmp_path / "data" / "rows-of-all"
    machines.all = [Machine.__new__(Machine) for _ in range(3)]
    for number, machine in enumerate(machines.all, 1):
        machine.journal = Journal.__new__(Journal)
        machine.journal.directory = tmp_path / "data" / f"machine-{number}"
    with machines.downstream() as made:
        rows = kept(made, machines.directory)
    assert rows == machines.beside()
    assert len(rows) == 2 * 3 * 12 * (ROWS_KILLS + 1)
    print(f"{ROWS_KILLS} kills, {told.stdout.strip()} steps, {len(rows):,} rows: lost 0, twice 0")


@pytest.mark.heavy
def test_a_slow_stream_takes_all_and_holds_up_nothing_else(nats: NatsServers, tmp_path: Path) -> None:
    """N-4: 100 ms each way and 1 MB/s. What is on its way is bounded, by number and so by bytes."""
    world = World(tmp_path / "data", nats, timeout_s=30)
    world.journal.append(0, 30, size=100_000)
    with proxy(nats.ports[0]) as between:
        between.delay_s, between.bytes_per_s = 0.1, 1e6
        began = time.monotonic()
        slow = by_way_of(world, between.port)
        with slow.shipper() as shipper:
            most, way = 0, set[Any]()
            begin = shipper.stream.begin

            def noted(block: Any, again: bool) -> Any:
                nonlocal most
                sent = begin(block, again)
                way.add(sent)
                sent.add_done_callback(way.discard)
                most = max(most, len(way))
                return sent

            shipper.stream.begin = noted  # type: ignore[method-assign]
            shipper.run_once()
        print(f"3 MB in {time.monotonic() - began:.1f} s, {most} blocks at once at most")
        assert most < AT_ONCE  # as the way bears, or pings would wait behind them
    assert world.downstream() == world.journal.records()


@pytest.mark.heavy
def test_a_half_open_connection_is_left_within_its_time(nats: NatsServers, tmp_path: Path) -> None:
    """N-5, while something is sent: whichever comes first, the bound of an answer or the third ping."""
    world = World(tmp_path / "data", nats, timeout_s=60)
    world.journal.append(0, 5)
    with proxy(nats.ports[0]) as between:
        with by_way_of(world, between.port).shipper() as shipper:
            shipper.run_once()
            world.journal.append(0, 5)
            between.swallows = True
            began = time.monotonic()
            with pytest.raises(ShippingError):
                shipper.run_once()
            print(f"half open for {time.monotonic() - began:.1f} s")
            assert time.monotonic() - began < 50  # not the 60 s of an answer: pings found it
        between.heal()
        by_way_of(world, between.port).ship()
    assert world.downstream() == world.journal.records()


def test_the_stream_is_cut_off_and_comes_back_while_records_are_made(
    nats: NatsServers, tmp_path: Path
) -> None:
    draw = random.Random(3)
    world = World(tmp_path / "data", nats)
    with proxy(nats.ports[0]) as between:
        through = by_way_of(world, between.port)
        for _ in range(8):
            world.journal.append(draw.randrange(2), 20, size=20_000)
            cutting = threading.Timer(draw.uniform(0, 0.2), between.cut)
            cutting.start()
            with_errors(through.ship)
            cutting.join()
            between.heal()
        through.ship()
    assert world.downstream() == world.journal.records()


def with_errors(do: Callable[[], object]) -> bool:
    """Whether it worked."""
    try:
        do()
    except FanionError:
        return False
    return True


@pytest.mark.heavy
def test_a_cluster_whose_leaders_are_killed_has_every_record(tmp_path: Path) -> None:
    """N-3. Full rounds: LEADER_KILLS=20."""
    with nats_servers(tmp_path / "nats", 3) as servers:
        world = World(tmp_path / "data", servers, timeout_s=10)
        world.journal.append(0, 5)
        until(lambda: with_errors(world.ship), 90)
        gaps = []
        for _ in range(LEADER_KILLS):
            leader = until(lambda: leader_of(world), 90)
            world.journal.append(0, 40, size=20_000)
            number = int(leader.removeprefix("server-"))
            servers.kill(number)
            began = time.monotonic()
            until(lambda: with_errors(world.ship), 90)
            gaps.append(time.monotonic() - began)
            servers.start(number)
            servers.ready(number)
        until(lambda: with_errors(world.ship), 90)
        assert until(lambda: downstream_of(world), 90) == world.journal.records()
        print(f"{LEADER_KILLS} leaders killed: nothing was taken for {max(gaps):.1f} s at most; lost 0")


@pytest.mark.heavy
@pytest.mark.timeout(1_200)
def test_one_flipped_bit_on_one_of_three_servers_is_found_and_sent_again(tmp_path: Path) -> None:
    """N-6. The others have what it lost, but it is believed once it leads: what it can't read counts as deleted.
    Its log of the cluster has to be short, or it would be played again over the damage: it was ended well once."""
    with nats_servers(tmp_path / "nats", 3) as servers:
        world = World(tmp_path / "data", servers, timeout_s=20)
        fill(world)
        patiently(world)
        number = int(until(lambda: leader_of(world), 90).removeprefix("server-"))
        servers.stop(number)
        servers.start(number)
        servers.ready(number)
        messages = servers.store(number) / "jetstream" / "$G" / "streams"
        (block,) = messages.rglob("*.blk")
        size = block.stat().st_size
        world.journal.append(0, 3)  # so that its index is out of date, and the file read over when it starts
        patiently(world)
        until(lambda: block.stat().st_size > size, 90)
        servers.kill(number)
        flip(messages)
        servers.start(number)
        servers.ready(number)
        until(lambda: leads(world, f"server-{number}"), 90)

        records, before = world.journal.records(), load_state(Storage(), world.journal.directory)
        left = until(lambda: downstream_of(world), 90)
        first, place = identities(world, Manifest())
        assert first == set(left)
        assert 0 < len(left) < len(records)
        assert before.resent_blocks == 0
        patiently(world)  # a look begins with what the stream has no more
        after = load_state(Storage(), world.journal.directory)
        assert after.resent_blocks > 0
        assert after.unrecovered_records == 0
        assert until(lambda: downstream_of(world), 90) == records
        later, place = identities(world, place)
        assert later == records.keys() - first
        assert identities(world, place)[0] == set()
        lost = len(records) - len(left)
        print(
            f"one bit of one of three servers: {lost} of {len(records)} records lost; one look found "
            f"{after.resent_blocks} blocks and sent them again: lost 0, and downstream each once"
        )


def leads(world: World, server: str) -> bool:
    """Whether it leads the stream; if not it is asked to."""

    async def ask(streams: Any, name: str) -> None:
        wanted = json.dumps({"placement": {"preferred": server}}).encode()
        await streams._nc.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{name}", wanted, timeout=5)

    leader = leader_of(world)
    if leader and leader != server:
        with contextlib.suppress(Exception):  # not yet
            administer(world, ask)
    return leader == server


def identities(world: World, place: Manifest) -> tuple[set[tuple[int, int]], Manifest]:
    """Of records that are new downstream, each once; and where that goes on."""
    source = Downstream(world.settings, Access(), place)
    with closing(source):
        found = [
            (batch.writer, sequence)
            for batch in source.read_batches()
            for sequence in batch.table.sequence[: len(batch.table)]
        ]
        assert len(found) == len(set(found))
        return set(found), source.placed(place)


def until(do: Callable[[], Any], seconds: float) -> Any:
    """What it gives, once that is something."""
    ends = time.monotonic() + seconds
    while not (found := do()):
        assert time.monotonic() < ends
        time.sleep(0.1)
    return found


def downstream_of(world: World) -> Any:
    try:
        return world.downstream()
    except FanionError:
        return None


def leader_of(world: World) -> str:
    """The server that leads the stream; "": none now."""
    try:
        info = administer(world, lambda streams, name: streams.stream_info(name))
    except Exception:
        return ""
    return str(info.cluster.leader or "")


class Switch:
    """An `Ending` that is switched."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.set = self._event.set

    def __call__(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout_s: float) -> bool:
        return self._event.wait(timeout_s)


@pytest.mark.timeout(1_200 + CUT_S)
@pytest.mark.heavy
def test_a_machine_that_was_cut_off_converges_and_never_goes_back(nats: NatsServers, tmp_path: Path) -> None:
    """N-8, with a cut of a moment: what counts begins when it heals. As long as the row has it: CUT_S=600."""
    need_libraries()
    url = nats.url(f"n8-{os.urandom(4).hex()}")
    admin = Places(tmp_path, url)
    admin.publish("admin", "one")
    with proxy(nats.ports[0]) as between:
        through = f"nats://127.0.0.1:{between.port}/{url.rpartition('/')[2]}"
        far = Places(tmp_path, through, poll_s=60.0, timeout_s=5)
        numbers: list[int] = []
        ending = Switch()
        (tmp_path / "follower").mkdir()
        with closing(Taking(tmp_path / "follower", far.following)) as parts:
            contact = parts.contact

            def noted(at: float, number: int) -> None:
                numbers.append(number)
                contact(at, number)

            parts.contact = noted  # type: ignore[method-assign]
            follower = Follower(far.url, far.following.places, parts)
            thread = threading.Thread(target=follower.run, args=(ending,))
            thread.start()
            try:
                until(lambda: 1 in numbers, 60)
                between.cut()
                cut_at = time.monotonic()
                admin.publish("admin", "two")
                admin.publish("admin", "three")
                until(lambda: time.monotonic() - cut_at >= CUT_S, CUT_S + 60)
                assert 3 not in numbers
                between.heal()
                began = time.monotonic()
                until(lambda: 3 in numbers, 60)
                print(
                    f"converged {time.monotonic() - began:.1f} s after a cut of {began - cut_at:.0f} s was healed"
                )
                began = time.monotonic()
                admin.publish("admin", "four")
                until(lambda: 4 in numbers, 50)  # the poll is a minute away: it was woken again
            finally:
                ending.set()
                thread.join()
        assert numbers == sorted(numbers)
        assert far.answer("follower") == "four"
    assert KEY not in str(numbers)
