"""Power cuts and kills at any system call, with any subset of the unsynced sectors kept."""

from __future__ import annotations

import logging
import os
import random

import pytest

from tests.model.journal_world import World, check_recovered, new_disk
from tests.model.simulated_disk import SimulatedStorage
from tests.rounds import rounds

STATES = rounds(400, 10_000, "JOURNAL_CRASH_STATES")
"""A million were run: JOURNAL_CRASH_STATES=1000000."""


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of failures, each with its line in the log, are the point here."""
    caplog.set_level(logging.CRITICAL, "fanion.journal")


def crash_states(seed: int, states: int) -> int:
    """Runs one random history and checks `states` power cuts at random calls of it. Returns how many it checked."""
    rng = random.Random(seed)
    storage = SimulatedStorage(new_disk(), seed)
    world = World(storage)
    checked = 0
    wanted = 0.0
    failures: list[BaseException] = []

    def cut(_: str) -> None:
        nonlocal checked
        if rng.random() >= wanted or checked >= states:
            return
        checked += 1
        after = storage.power_off(rng.randrange(1 << 40))
        try:
            check_recovered(after, dict(world.sent), world.acknowledged)
        except BaseException as error:
            failures.append(
                error
            )  # the call may come from the writer, which would take it for a failed write
        finally:
            after.disk.close()

    storage.on_call = cut
    wanted = 0.05
    world.open()
    storage.short_writes = rng.random() < 0.3
    wanted = 0.3
    while checked < states and len(world.sent) < 120:
        for _ in range(rng.randrange(1, 6)):
            world.append(rng.randbytes(rng.choice((1, 40, 700, 3000, 9000))))
        if rng.random() < 0.15:
            storage.fail_at = storage.calls + rng.randrange(1, 4)
        if rng.random() < 0.8:
            world.drain(rng.randrange(1, 6))
        world.tick()
        if failures:
            raise failures[0]
    storage.on_call = None
    world.session.abandon()
    storage.disk.close()
    return checked


@pytest.mark.slow
@pytest.mark.timeout(1500 + STATES // 50)
def test_acknowledged_records_survive_any_power_cut() -> None:
    seed = int(os.environ.get("JOURNAL_CRASH_SEED", str(random.randrange(1 << 30))))
    print(f"seed {seed}, {STATES} states")
    checked = 0
    while checked < STATES:
        seed += 1
        try:
            checked += crash_states(seed, min(100, STATES - checked))
        except BaseException:
            print(f"history seed {seed}")
            raise
