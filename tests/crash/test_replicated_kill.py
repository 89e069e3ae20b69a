"""Answers that wait for the stream while NATS, the shipper and workers are killed: all that was acknowledged is in
the stream when the machine's disk is gone."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from fanion.errors import FanionError, ShippingError
from fanion.journal.replicas import OPENING, Board
from tests.crash.receivers import NatsServers, nats_servers
from tests.e2e.replicated_world import Client, Content, remove, replicated
from tests.e2e.server import WORLD, Running, publish, start, wait_until
from tests.rounds import rounds
from tests.unit.shipping_world import World

KILLS = rounds(2, 6, "REPLICATED_KILLS")


@pytest.fixture(autouse=True)
def libraries() -> None:
    pytest.importorskip("nats")


@pytest.mark.heavy
@pytest.mark.timeout(1_200)
def test_a_stream_on_one_server_of_a_cluster_is_refused_where_answers_wait_for_it(tmp_path: Path) -> None:
    with nats_servers(tmp_path / "nats", 3) as servers, closing(Board(1)) as board:
        world = World(tmp_path / "data", servers, replicas=1, timeout_s=20)
        world.journal.append(0, 3)

        def refused() -> str:
            try:
                world.ship(board=board)
            except ShippingError as error:
                return str(error)
            raise AssertionError("it was taken")

        wait_until(lambda: "needs two or more: `nats stream edit" in refused(), 120)
        assert board.state == OPENING
        assert world.ship() == 3  # where no answer waits for it
        world.settings = type(world.settings)(url=servers.url("safe"), timeout_s=20)
        wait_until(lambda: shipped(world, board), 120)
        assert board.row(0).until == 4


def shipped(world: World, board: Board) -> bool:
    try:
        world.ship(board=board)
    except FanionError:
        return False
    return True


@pytest.mark.timeout(1_200)
def test_what_was_acknowledged_is_in_the_stream_whatever_was_killed(tmp_path: Path) -> None:
    """For long: REPLICATED_KILLS=200."""
    seed = int(os.environ.get("REPLICATED_SEED") or random.randrange(1 << 30))
    print("REPLICATED_SEED", seed)
    draw, data = random.Random(seed), tmp_path / "data"
    publish(data, WORLD)
    with nats_servers(tmp_path / "nats") as servers:
        running = start(
            tmp_path / "log", "--workers", "2", data=data, environment=replicated(servers.url("events"))
        )
        clients = [Client(running, ids=ids) for ids in (True, False, True)]
        try:
            for client in clients:
                client.start()
            for _ in range(KILLS):
                goes_on(clients, draw.randrange(5, 30))
                draw.choice((kill_nats, kill_shipper, kill_worker))(servers, running, draw)
            goes_on(clients, 30)
        finally:
            for client in clients:
                client.end()
            running.stop(signal.SIGKILL)
        remove(data)
        acknowledged = set[str]().union(*(client.acknowledged for client in clients))
        assert Content(servers, "events").lacks(acknowledged) == set()
    print(f"{KILLS} kills, {len(acknowledged)} acknowledged, lost 0, {[each.statuses for each in clients]}")


def goes_on(clients: list[Client], count: int) -> None:
    """Until as many more batches of each were acknowledged, of those with ids the same one where it has to be."""
    wanted = [client.taken + count for client in clients]
    wait_until(lambda: all(client.taken >= each for client, each in zip(clients, wanted, strict=True)), 120)


def kill_nats(servers: NatsServers, _running: Running, _draw: random.Random) -> None:
    servers.kill()
    servers.start()
    servers.ready()


def kill_shipper(_servers: NatsServers, running: Running, draw: random.Random) -> None:
    kill_one(lambda: [pid for pid in [running.shipper_pid()] if pid is not None], draw)


def kill_worker(_servers: NatsServers, running: Running, draw: random.Random) -> None:
    kill_one(running.workers, draw)


def kill_one(pids: Callable[[], list[int]], draw: random.Random) -> None:
    wait_until(pids)
    with contextlib.suppress(ProcessLookupError, IndexError):  # it ended by itself a moment before
        found = pids()
        os.kill(draw.choice(found), signal.SIGKILL)
