"""When the steward calls the writer stalled, on the simulated disk and clock."""

from __future__ import annotations

import logging

import pytest

from fanion.journal import files
from fanion.journal.settings import KIB
from fanion.journal.steward import Health
from fanion.telemetry import logs
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


def test_a_journal_that_flaps_is_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk at its bound made a pair of lines at every turn; what lasts is told in the end."""
    now = 1_000.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now)
    caplog.set_level(logging.INFO)
    steward = World().open().steward
    steward._tell(Health(True, ""))
    caplog.clear()
    for _ in range(50):
        steward._tell(Health(False, "no room"))
        steward._tell(Health(True, ""))
    none, again = "the journal takes no events", "the journal takes events"
    assert caplog.messages == [none, again]
    for now in (1_030.0, 1_061.0, 1_062.0):  # noqa: B007  # what the clock says
        steward._tell(Health(False, "no room"))
    assert steward.health.reason == "no room"
    assert caplog.messages == [none, again, none]
    steward._tell(Health(True, ""))
    steward._tell(Health(False, "over", fatal=True))
    assert caplog.messages == [none, again, none, again, none]


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


def test_what_keeps_a_writer_from_turning_keeps_nothing_else_from_being_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World().open()
    while not world.steward.health.ok:
        world.tick()
    done: list[str] = []

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(world.steward._turning, "run", full)
    monkeypatch.setattr(world.steward._upkeep, "run", lambda: done.append("upkeep"))
    world.steward._retain_at = 0
    world.tick()
    assert done == ["upkeep"]
    assert world.steward.health.ok
