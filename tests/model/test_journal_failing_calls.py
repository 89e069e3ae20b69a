"""Fails the first, second, third ... system call of a whole history until none is left to fail.

The history appends, rotates, seals, ends, recovers and closes. Whatever call fails, with whatever error: nothing
acknowledged is lost, nothing is there twice, and the journal goes on by itself once the disk does.
"""

from __future__ import annotations

import contextlib
import errno
import logging

import pytest

from fanion.journal.session import adopt
from tests.model.journal_world import JOURNAL, SETTINGS, World, check_recovered, new_disk, read_all
from tests.model.simulated_disk import SimulatedStorage
from tests.rounds import rounds

STRIDE = rounds(3, 1)
"""Each so many-th of the calls fails, with all rounds every one."""


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of failures, each with its line in the log, are the point here."""
    caplog.set_level(logging.CRITICAL, "fanion.journal")


@pytest.mark.parametrize("always", [False, True], ids=["once", "for-ever"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EFBIG, errno.EMFILE, errno.EROFS])
def test_any_call_may_fail(error: int, always: bool) -> None:
    number = 0
    while True:
        # every one of the first, then every third: rounds repeat from there
        number += STRIDE if number < 40 else 3 * STRIDE
        storage = SimulatedStorage(new_disk(), number)
        storage.fail_errno = error
        storage.fail_always = always
        storage.fail_at = number
        world = World(storage)
        world.open()
        history(world)
        hit = bool(storage.failed_call)
        storage.fail_at = -1
        storage.clock += 2_000_000_000
        assert world.drain(), (number, storage.failed_call, world.steward.health)
        assert world.acknowledged == len(world.sent)
        after = storage.power_off(number)
        check_recovered(after, world.sent, world.acknowledged)
        after.disk.close()
        storage = storage.kill()
        assert len(read_all(storage)[0]) == len(world.sent)
        check_recovered(storage, world.sent, world.acknowledged)
        storage.disk.close()
        if not hit:
            break
    assert number > 40


def history(world: World) -> None:
    """Enough for three segments and the pool."""
    for n in range(60):
        if world.steward.session is None:
            world.storage.clock += 2_000_000_000
            world.tick()
            continue
        world.append(bytes([n]) * 3000)
        if n % 3 == 2:
            world.drain(8)
            world.tick()


@pytest.mark.parametrize("size", [1, 100, 500, 1200, 3900, 4100, 9000])
def test_a_failed_sync_that_takes_durable_neighbours_along_loses_none(size: int) -> None:
    """The last page of a group is written again by the next one: if that fails, the page may be lost as it was."""
    for before in range(1, 12):
        storage = SimulatedStorage(new_disk(), before)
        storage.fail_garbles = True
        world = World(storage).open()
        for n in range(before):
            world.append(bytes([n]) * size)
            assert world.drain()
        world.append(b"last" * 10)
        storage.on_call = lambda name, at=storage: setattr(
            at, "fail_at", at.calls if name == "fdatasync" and at.fail_at < 0 else at.fail_at
        )
        assert world.drain()
        assert storage.failed_call == "fdatasync"
        storage.on_call = None
        after = storage.power_off(0)
        assert world.acknowledged == before + 1
        check_recovered(after, world.sent, world.acknowledged)
        after.disk.close()
        storage.disk.close()


def test_recovery_may_fail_at_any_call_and_be_tried_again() -> None:
    number = 0
    while True:
        number += 1
        storage = SimulatedStorage(new_disk(), number)
        world = World(storage).open()
        for n in range(12):
            world.append(bytes([n]) * 3000)
            if n == 5:
                world.drain()
        storage = storage.kill()
        storage.fail_at = number
        with contextlib.suppress(OSError):
            adopt(storage, JOURNAL, 0, SETTINGS)
        hit = bool(storage.failed_call)
        storage.fail_at = -1
        after = storage.power_off(number)
        check_recovered(after, world.sent, world.acknowledged)
        after.disk.close()
        adopt(storage.kill(), JOURNAL, 0, SETTINGS)
        records, reader = read_all(storage)
        assert [record.body for record in records] == list(world.sent.values())
        assert reader.defects == []
        storage.disk.close()
        if not hit:
            break
    assert number > 10
