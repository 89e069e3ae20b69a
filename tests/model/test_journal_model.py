"""Random histories of one data directory against plain lists: appends, kills, power cuts, failures, restarts."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import random

import msgspec
import pytest

from fanion.journal.retention import run_pass
from fanion.journal.session import adopt
from tests.model.journal_world import JOURNAL, SETTINGS, World, new_disk, read_all
from tests.model.simulated_disk import Disk, SimulatedStorage
from tests.rounds import rounds

COMPRESSING = msgspec.structs.replace(SETTINGS, compress=True)
HISTORIES = rounds(15, 60, "JOURNAL_HISTORIES")


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of failures, each with its line in the log, are the point here."""
    caplog.set_level(logging.CRITICAL, "fanion.journal")


class Model:
    """What each writer was sent; how many of them are durable (`certain`), and how many a recovery must bring
    back while the machine runs (`in_rings`: what was appended before a kill)."""

    def __init__(self) -> None:
        self.sent: dict[int, list[bytes]] = {}
        self.certain: dict[int, int] = {}
        self.in_rings: dict[int, int] = {}

    def check(self, disk: Disk) -> None:
        storage = SimulatedStorage(disk)
        records, reader = read_all(storage)
        assert reader.defects == []
        found: dict[int, list[bytes]] = {}
        for record in records:
            bodies = found.setdefault(record.writer, [])
            assert record.sequence == len(bodies) + 1
            bodies.append(record.body)
        for writer, bodies in found.items():
            assert bodies == self.sent[writer][: len(bodies)], writer
        for writer, count in self.certain.items():
            assert len(found.get(writer, [])) >= count, writer


class Worker:
    """A world and its place in the model."""

    def __init__(self, model: Model, storage: SimulatedStorage) -> None:
        self.model = model
        self.storage = storage
        self.world = World(storage)

    def start(self) -> bool:
        self.world.open()
        if self.world.steward.session is None:
            return False
        session = self.world.session
        writer = session.slot.writer
        bodies = self.model.sent.setdefault(writer, [])
        kept = session.recovered.next_sequence - 1
        least = max(self.model.certain.get(writer, 0), self.model.in_rings.get(writer, 0))
        assert least <= kept <= len(bodies), (writer, least, kept, len(bodies))
        del bodies[kept:]
        self.model.certain[writer] = kept
        return True

    def append(self, body: bytes) -> None:
        if self.world.append(body) > 0:
            self.model.sent[self.world.session.slot.writer].append(body)

    def step(self, count: int) -> None:
        for _ in range(count):
            self.world.step()
            self.world.tick()
        self.acknowledge()

    def kill(self) -> None:
        """The process ends: what is in the ring will be found."""
        self.acknowledge()
        writer = self.world.session.slot.writer
        self.model.in_rings[writer] = len(self.model.sent[writer])
        self.storage.kill()

    def acknowledge(self) -> None:
        writer = self.world.session.slot.writer
        self.model.certain[writer] = max(self.model.certain[writer], self.world.session.ring.durable)


def run_history(seed: int) -> None:
    rng = random.Random(seed)
    model = Model()
    disk = new_disk()
    workers: list[Worker] = []
    clock = 0

    def spawn() -> None:
        storage = SimulatedStorage(disk, rng.randrange(1 << 30))
        storage.short_writes = rng.random() < 0.2
        storage.clock += clock
        worker = Worker(model, storage)
        assert worker.start()
        workers.append(worker)

    spawn()
    for _ in range(rng.randrange(30, 120)):
        action = rng.choices(
            ("append", "step", "kill", "power", "close", "spawn", "fail", "full", "check", "pass"),
            (30, 25, 4, 2, 3, 5, 4, 2, 6, 5),
        )[0]
        if not workers:
            spawn()
        worker = rng.choice(workers)
        clock = max(w.storage.clock for w in workers)
        if action == "append":
            for _ in range(rng.randrange(1, 8)):
                worker.append(rng.randbytes(rng.choice((0, 1, 33, 500, 4096, 12000))))
        elif action == "step":
            worker.step(rng.randrange(1, 6))
        elif action == "kill":
            worker.kill()
            workers.remove(worker)
        elif action == "power":
            for each in workers:
                each.acknowledge()
                each.storage.kill()
            workers.clear()
            model.in_rings.clear()
            after = disk.crash(rng)
            disk.close()
            disk = after
        elif action == "close":
            if worker.world.drain():
                worker.acknowledge()
                worker.world.close()
                worker.storage.kill()
                workers.remove(worker)
        elif action == "spawn" and len(workers) < 3:
            spawn()
        elif action in ("fail", "full"):
            worker.storage.fail_at = worker.storage.calls + rng.randrange(1, 12)
            worker.storage.fail_errno = errno.EIO if action == "fail" else errno.ENOSPC
        elif action == "check":
            model.check(disk)
        elif action == "pass":
            keeper = SimulatedStorage(disk, rng.randrange(1 << 30))
            keeper.fail_at = keeper.calls + rng.randrange(1, 60) if rng.random() < 0.3 else -1
            with contextlib.suppress(OSError):
                run_pass(keeper, JOURNAL, COMPRESSING)
            keeper.kill()
    storage = SimulatedStorage(disk, seed)
    for each in workers:
        each.kill()
    for writer in model.sent:
        adopt(storage, JOURNAL, writer, SETTINGS)
        model.certain[writer] = max(model.certain[writer], model.in_rings.get(writer, 0))
    model.check(disk)
    disk.close()


@pytest.mark.timeout(1_200)
def test_random_histories_agree_with_a_plain_list() -> None:
    first = int(os.environ.get("JOURNAL_HISTORY_SEED", str(random.randrange(1 << 30))))
    for seed in range(first, first + HISTORIES):
        try:
            run_history(seed)
        except BaseException:
            print(f"history seed {seed}")
            raise
