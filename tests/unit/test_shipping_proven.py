"""What killed workers left is shipped once it is known to stay: drained by others, or by who ships alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanion.journal.proven import ProvenReader
from fanion.journal.session import adopt_all
from fanion.journal.settings import JournalSettings
from fanion.journal.storage import Storage
from tests.crash.receivers import NatsServers
from tests.unit.killed_writers import killed
from tests.unit.shipping_world import MACHINE, Journal, World


@pytest.fixture
def world(nats: NatsServers, tmp_path: Path) -> World:
    pytest.importorskip("nats")
    return World(tmp_path / "data", nats)


def test_what_a_killed_worker_had_not_synced_waits_and_its_sequences_may_be_others(world: World) -> None:
    """Records 5 and 6 stand in the log; the power is cut before anybody has synced them, and the slot's next owner
    gives other records their sequences. Shipped before, they would hide those downstream."""
    world.journal.append(0, 4)
    whole = world.journal.path(0, 1).read_bytes()
    world.journal.append(0, 2)
    killed(world.journal.directory, MACHINE, durable_below=5)
    with world.shipper() as shipper:
        assert shipper.run_once() == 4
        assert shipper.run_once() == 0
        assert shipper.stands().lag_records == 0
        world.journal.path(0, 1).write_bytes(whole)
        world.journal.rewind(0, 5)
        world.journal.append(0, 3)
        killed(world.journal.directory, MACHINE, durable_below=8, epoch=2)
        assert shipper.run_once() == 3
    assert len(world.downstream()) == 7
    assert world.downstream() == world.journal.records()


def test_who_ships_alone_has_drained_what_killed_workers_left(world: World) -> None:
    """`fanion cluster ship`; what can't be drained is told, and holds up nothing else."""
    drains: list[OSError] = []

    def drain() -> None:
        if drains:
            raise drains[0]
        adopt_all(Storage(), world.journal.directory / "journal", JournalSettings())

    world.journal.append(0, 6)
    world.journal.append(1, 3)
    killed(world.journal.directory, MACHINE, durable_below=5)
    drains.append(OSError("no space"))
    with world.shipper(drain=drain) as shipper:
        assert shipper.run_once() == 4 + 3
        assert shipper.problems() == ["what killed workers left can't be drained: no space"]
        drains.clear()
        assert shipper.run_once() == 2
        assert shipper.problems() == []
    assert world.downstream() == world.journal.records()


def test_of_a_dead_worker_nothing_is_shipped_that_is_not_known_to_be_durable(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(0, 6)
    killed(tmp_path, MACHINE, durable_below=5)
    reader = ProvenReader(tmp_path)
    assert [record.sequence for record in reader.read()] == [1, 2, 3, 4]
    assert reader.ends() == {}
    (tmp_path / "journal" / "000.slot").unlink()
    assert list(reader.ends()) == [0]
