"""When the steward calls the writer stalled, on the simulated disk and clock."""

from __future__ import annotations

import pytest

from fanion.journal import files
from fanion.journal.settings import KIB
from tests.model.journal_world import World

SECOND_NS = 1_000_000_000


def world_with_a_record_that_waits() -> World:
    world = World().open()
    world.append(b"[1]")
    assert world.drain()
    world.append(b"[2]")
    return world


def test_a_writer_that_stands_still_is_stalled_within_a_second() -> None:
    world = world_with_a_record_that_waits()
    for _ in range(9):
        world.storage.clock += SECOND_NS // 10
        world.tick()
    assert "has not moved" in world.steward.health.reason
    world.step()
    world.tick()
    assert "has not moved" not in world.steward.health.reason


def test_a_steward_that_was_away_does_not_take_the_writer_for_stalled() -> None:
    world = world_with_a_record_that_waits()
    world.storage.clock += 60 * SECOND_NS
    world.tick()
    assert world.steward.health.ok


def test_the_writer_is_watched_while_a_segment_is_zeroed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeroing takes longer than a stall may go unseen."""
    monkeypatch.setattr(files, "ZERO_STEP_BYTES", 4 * KIB)
    monkeypatch.setattr(files, "ZERO_BYTES_PER_S", 40 * KIB)
    world = world_with_a_record_that_waits()
    stalled: list[str] = []
    world.fail_waiting = stalled.append  # type: ignore[method-assign]
    while not world.session.native.offers:
        assert world.append(b" " * 3000) > 0
        world.step()
        world.append(b"[3]")
        world.tick()
    assert "has not moved" in stalled[0]
