"""What a shipper may take of a worker that is killed at any moment: nothing that a power cut still takes from the
journal, and so nothing whose sequence is given to another record."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fanion.journal.proven import ProvenReader
from fanion.journal.reader import JournalReader
from fanion.journal.session import adopt_all
from tests.model.journal_world import DATA, JOURNAL, SETTINGS, World, new_disk
from tests.model.simulated_disk import Disk, File, SimulatedStorage

Records = dict[tuple[int, int], bytes]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "fanion.journal")


def records(reader: JournalReader) -> Records:
    return {(each.writer, each.sequence): each.body for each in reader.read()}


@contextmanager
def unowned(disk: Disk) -> Iterator[None]:
    """As once its processes were killed: locks are gone, the page cache is there."""
    locked: list[tuple[File, object]] = [
        (file, file.locked_by) for file in disk.names.values() if file.locked_by is not None
    ]
    try:
        for file, _ in locked:
            file.locked_by = None
        yield
    finally:
        for file, by in locked:
            file.locked_by = by


def kills(seed: int) -> tuple[int, int]:
    """One random history, with a kill and then a power cut at random calls of it. How often records were at hand
    that the cut took; how many kills there were."""
    draw = random.Random(seed)
    storage = SimulatedStorage(new_disk(), seed)
    world = World(storage)
    taken_back = checked = 0
    failures: list[BaseException] = []

    def check() -> None:
        nonlocal taken_back
        with unowned(storage.disk):
            at_hand = records(JournalReader(DATA, storage=SimulatedStorage(storage.disk)))
            shipped = records(ProvenReader(DATA, storage=SimulatedStorage(storage.disk)))
        assert shipped.items() <= at_hand.items()
        assert set(range(1, world.acknowledged + 1)) <= {sequence for _, sequence in shipped}
        after = storage.power_off(draw.randrange(1 << 40))
        try:
            adopt_all(after, JOURNAL, SETTINGS)
            left = records(JournalReader(DATA, storage=SimulatedStorage(after.disk)))
            assert records(ProvenReader(DATA, storage=SimulatedStorage(after.disk))) == left
            assert shipped.items() <= left.items()
            taken_back += not at_hand.items() <= left.items()
        finally:
            after.disk.close()

    def called(_: str) -> None:
        nonlocal checked
        if draw.random() < 0.2 and checked < 25 and not failures:
            checked += 1
            try:
                check()
            except BaseException as error:  # the writer would take it for a failed write
                failures.append(error)

    world.open()
    storage.on_call = called
    while checked < 25 and len(world.sent) < 80 and not failures:
        for _ in range(draw.randrange(1, 6)):
            world.append(draw.randbytes(draw.choice((1, 40, 700, 3000, 9000))))
        if draw.random() < 0.8:
            world.drain(draw.randrange(1, 6))
        world.tick()
    storage.on_call = None
    world.session.abandon()
    storage.disk.close()
    if failures:
        raise failures[0]
    return taken_back, checked


def test_nothing_is_shipped_that_a_power_cut_takes_back() -> None:
    """Seeds are fixed, and known to reach what it is about: records that stood in the log and were gone."""
    found = [kills(seed) for seed in range(12)]
    assert sum(checked for _, checked in found) > 100
    assert sum(taken_back for taken_back, _ in found) > 0
