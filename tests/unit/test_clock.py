"""How far the wall clock is believed: jumps either way, reboots, time off; and how processes keep to one file."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import pytest

from fanion.auth.active_users import ActiveUsers
from fanion.clock import keeper
from fanion.clock.belief import BEGAN_S, ERAS_MAX, Belief, Moment, begin, look, trust
from fanion.clock.keeper import GuardedClock, clock_path, decode, describe, encode, trust_wall

HOUR_S = 3_600.0
DAY_S = 24 * HOUR_S
YEAR_S = 365 * DAY_S
TRUST_S = DAY_S
START = BEGAN_S + 200 * DAY_S
KEEP_S = 7 * DAY_S


class World:
    """A machine's clocks, and what is believed on it; looks less often than a server does."""

    def __init__(self, wall: float = START) -> None:
        self.wall, self.boottime, self.boot = wall, 50.0, "first"
        self.belief = begin(self.now)

    @property
    def now(self) -> Moment:
        return Moment(self.wall, self.boottime, self.boot)

    def run(self, seconds: float, step: float = 600.0) -> World:
        while seconds > 0:
            passed = min(step, seconds)
            self.wall += passed
            self.boottime += passed
            seconds -= passed
            self.belief = look(self.belief, self.now, TRUST_S)
        return self

    def set_wall(self, wall: float) -> World:
        self.wall = wall
        return self

    def reboot(self, off_s: float = 30.0, wrong_by: float = 0.0) -> World:
        self.wall += off_s + wrong_by
        self.boottime, self.boot = 3.0, self.boot + "+"
        self.belief = look(self.belief, self.now, TRUST_S)
        return self


def known() -> World:
    """A machine whose time has been followed for long enough."""
    return World().run(2 * DAY_S)


@pytest.mark.parametrize(
    ("jump", "believed", "expiry", "cautious", "quiet"),
    [
        (3.0, 3.0, 3.0, 3.0, True),
        (-3.0, -3.0, -3.0, -3.0, True),
        (HOUR_S, 0.0, HOUR_S, 0.0, False),
        (-HOUR_S, 0.0, 0.0, -HOUR_S, False),
        (YEAR_S, 0.0, YEAR_S, 0.0, False),
        (-YEAR_S, 0.0, 0.0, -YEAR_S, False),
        (-START + 2 * YEAR_S, 0.0, 0.0, -START + 2 * YEAR_S, False),
    ],
)
def test_jump_is_not_believed_and_each_reading_is_on_its_safe_side(
    jump: float, believed: float, expiry: float, cautious: float, quiet: bool
) -> None:
    """Seconds beyond the right time, an hour after the jump."""
    world = known()
    right = world.wall + HOUR_S
    world.set_wall(world.wall + jump).run(HOUR_S)
    found = world.belief
    readings = (found.believed, found.expiry, found.cautious)
    assert readings == pytest.approx((right + believed, right + expiry, right + cautious))
    assert found.month == pytest.approx(right + max(believed, 0.0), abs=4)
    assert (describe(found) == "") == quiet


@pytest.mark.parametrize("jump", [HOUR_S, -HOUR_S, YEAR_S, -YEAR_S])
def test_jump_is_believed_once_it_has_lasted(jump: float) -> None:
    world = known()
    world.set_wall(world.wall + jump).run(TRUST_S - 1_200)
    assert world.belief.jump is not None
    world.run(2_400)
    assert world.belief.jump is None
    assert world.belief.believed == pytest.approx(world.wall)


def test_jump_that_is_taken_back_leaves_no_trace() -> None:
    world = known()
    right = world.wall + 20 * HOUR_S
    world.set_wall(world.wall + YEAR_S).run(20 * HOUR_S)
    world.set_wall(world.wall - YEAR_S)
    world.run(60)
    assert world.belief.jump is None
    assert world.belief.believed == world.belief.month == pytest.approx(right + 60)
    world.set_wall(world.wall + YEAR_S).run(20 * HOUR_S)
    assert world.belief.jump is not None


def test_clock_that_jumps_about_is_never_believed() -> None:
    world = known()
    right = world.wall
    for number in range(40):
        world.set_wall(world.wall + (YEAR_S if number % 2 else -2 * YEAR_S)).run(20 * HOUR_S)
    assert world.belief.believed == pytest.approx(right + 40 * 20 * HOUR_S)


def test_lasting_goes_on_over_reboots_but_a_new_jump_begins_anew() -> None:
    world = known()
    world.set_wall(world.wall + YEAR_S).run(20 * HOUR_S)
    world.reboot().run(5 * HOUR_S)
    assert world.belief.jump is None
    world = known().reboot().run(23 * HOUR_S)
    world.reboot(wrong_by=YEAR_S).run(20 * HOUR_S)
    assert world.belief.jump is not None
    assert world.belief.believed < START + 10 * DAY_S


def test_machine_that_was_off_for_a_weekend_needs_nobody_to_be_told_and_turns_its_month() -> None:
    world = known().reboot(off_s=3 * DAY_S).run(60)
    assert world.belief.jump is not None
    assert describe(world.belief) == ""
    assert world.belief.month == world.belief.expiry == world.belief.cautious == world.wall


def test_machine_that_is_off_every_night_keeps_its_time() -> None:
    world = known()
    for _ in range(60):
        world.reboot(off_s=16 * HOUR_S).run(8 * HOUR_S)
        assert world.belief.month == pytest.approx(world.wall)
        assert describe(world.belief) == ""


def test_years_over_a_reboot_may_be_time_off_so_they_count_once_believed() -> None:
    world = known()
    stamp = world.wall
    world.reboot(off_s=YEAR_S).run(HOUR_S)
    assert describe(world.belief)
    assert not deletes(world, stamp)
    world.run(TRUST_S)
    assert deletes(world, stamp)


def deletes(world: World, stamp: float) -> bool:
    return world.belief.made_at(stamp) < world.belief.deletable_before(KEEP_S, TRUST_S)


@pytest.mark.parametrize("jump", [HOUR_S, -HOUR_S, YEAR_S, -YEAR_S, -START + 2 * YEAR_S])
def test_no_setting_of_a_clock_makes_an_event_older_even_once_believed(jump: float) -> None:
    world = known()
    before = world.wall
    world.set_wall(world.wall + jump).run(HOUR_S)
    during = world.wall
    world.run(3 * DAY_S)
    assert world.belief.jump is None
    for stamp in (before, during):
        assert not deletes(world, stamp)
    world.set_wall(world.wall - jump).run(2 * DAY_S)
    after = world.wall
    for stamp in (before, during, after):
        assert not deletes(world, stamp)
    world.run(3 * DAY_S)
    assert deletes(world, before)
    assert deletes(world, during)
    assert not deletes(world, after)


def test_fresh_install_in_1972_keeps_its_events_when_the_clock_is_right_again() -> None:
    for rebooted in (False, True):
        world = World(wall=2 * YEAR_S)
        assert world.belief.believed == BEGAN_S
        assert describe(world.belief)
        stamp = world.run(HOUR_S).wall
        if rebooted:
            world.reboot()
        world.set_wall(START).run(3 * DAY_S)
        assert world.belief.jump is None
        assert world.belief.believed == pytest.approx(world.wall)
        assert not deletes(world, stamp)
        world.run(5 * DAY_S)
        assert deletes(world, stamp)


def test_nothing_is_deleted_before_the_time_was_followed_for_long_enough() -> None:
    world = World()
    old = START - YEAR_S
    assert not deletes(world.run(TRUST_S - 600), old)
    assert deletes(world.run(600), old)


def test_month_never_turns_back_until_an_operator_says_so() -> None:
    world = known()
    world.set_wall(world.wall + 90 * DAY_S).run(2 * DAY_S)
    far = world.belief.month
    assert far == pytest.approx(world.wall)
    world.set_wall(world.wall - 90 * DAY_S).run(2 * DAY_S)
    assert world.belief.believed == pytest.approx(world.wall)
    assert world.belief.month > far
    world.belief = trust(world.belief, world.now)
    assert world.run(60).belief.month == pytest.approx(world.wall)


def test_operator_is_believed_at_once() -> None:
    world = known().reboot(off_s=YEAR_S)
    stamp = START + DAY_S
    world.belief = trust(world.belief, world.now)
    assert world.belief.jump is None
    assert world.belief.believed == world.wall
    assert deletes(world, stamp)
    assert trust(None, world.now).deletable_before(KEEP_S, TRUST_S) == world.wall - KEEP_S


def test_another_machine_with_a_longer_uptime_is_no_leap() -> None:
    world = known()
    world.boottime, world.boot = 1e8, "other"
    world.run(60)
    assert world.belief.expiry == world.wall


@pytest.mark.parametrize("seed", range(10))
def test_events_are_never_taken_for_older_than_they_are(seed: int) -> None:
    """Random steps, reboots and waits of a clock; an event a day, and each one's true age."""
    rng, world, true = random.Random(seed), known(), 0.0
    events: list[tuple[float, float]] = []
    for _ in range(100):
        chance = rng.random()
        if chance < 0.1:
            world.set_wall(rng.choice((world.wall + rng.uniform(-YEAR_S, YEAR_S), 2 * YEAR_S, START + true)))
        elif chance < 0.15:
            off_s = rng.uniform(10, 2 * DAY_S)
            world.reboot(off_s=off_s)
            true += off_s
        passed = rng.uniform(60, 2 * DAY_S)
        world.run(passed)
        true += passed
        events.append((world.wall, true))
        for stamp, at in events:
            age = world.belief.age - world.belief.made_at(stamp)
            assert age <= true - at + 700, (stamp, at, true)
    assert len(world.belief.eras) <= ERAS_MAX


def test_belief_survives_its_file_and_nothing_else_is_taken_for_one() -> None:
    world = known().set_wall(START).run(60)
    data = encode(world.belief)
    assert decode(data) == world.belief
    for at in range(len(data)):
        assert decode(data[:at]) is None
        assert decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]) is None


class Machine:
    """Clocks that workers of one data directory share."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = Moment(START, 100.0, "boot")

    def pass_s(self, seconds: float, jump: float = 0.0) -> None:
        wall, boottime, boot = self.now
        self.now = Moment(wall + seconds + jump, boottime + seconds, boot)

    def open(self, floor: float = 0.0) -> GuardedClock:
        return GuardedClock.open(self.directory, TRUST_S, floor, lambda: self.now)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_restarted_server_judges_by_the_time_of_the_one_before(machine: Machine) -> None:
    machine.open().close()
    machine.pass_s(HOUR_S, jump=YEAR_S)
    clock = machine.open()
    assert clock.month() == START + HOUR_S
    assert clock.expiry() == START + HOUR_S + YEAR_S
    machine.pass_s(0, jump=-2 * YEAR_S)
    clock.tick()
    assert clock.expiry() == START + HOUR_S


def test_jump_is_logged_once_over_all_workers(machine: Machine, caplog: Any) -> None:
    workers = [machine.open() for _ in range(3)]
    machine.pass_s(10, jump=YEAR_S)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            for worker in workers:
                worker.tick()
                worker.save()
                assert "365 days ahead" in worker.note
            machine.pass_s(70)
        machine.pass_s(1, jump=-YEAR_S)
        for worker in workers:
            worker.tick()
            worker.save()
            assert worker.note == ""
        machine.pass_s(100)
        machine.open().close()
    assert [record.message for record in caplog.records] == [
        "the wall clock has jumped",
        "the wall clock is believed again",
    ]


def test_running_server_follows_an_operator_at_its_next_tick(machine: Machine) -> None:
    clock = machine.open()
    machine.pass_s(10, jump=YEAR_S)
    assert clock.tick()
    clock.save()
    trust_wall(machine.directory, lambda: machine.now)
    assert not clock.tick()
    assert clock.note == ""
    assert clock.month() == machine.now.wall


def test_time_goes_on_between_ticks(machine: Machine) -> None:
    clock = machine.open()
    machine.pass_s(30)
    assert clock.expiry() == clock.month() == START + 30


def test_first_look_starts_at_the_last_publish_when_the_clock_is_behind(machine: Machine) -> None:
    clock = machine.open(floor=START + HOUR_S)
    assert clock.expiry() == START + HOUR_S
    assert "60 minutes behind" in clock.note


def test_damaged_file_is_begun_anew_and_deletes_nothing(machine: Machine, caplog: Any) -> None:
    trust_wall(machine.directory, lambda: machine.now)
    clock_path(machine.directory).write_bytes(b"0" * 300)
    clock = machine.open()
    assert clock.belief.deletable_before(0.0, TRUST_S) == -float("inf")
    assert [record.message for record in caplog.records] == [
        "the last good time doesn't verify and is begun anew"
    ]
    assert decode(clock_path(machine.directory).read_bytes()) == clock.belief


def test_judgement_stands_where_it_cannot_be_written(
    machine: Machine, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = machine.open()

    def fail(directory: Path, belief: Belief) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keeper, "_write", fail)
    machine.pass_s(60, jump=YEAR_S)
    for _ in range(3):
        clock.tick()
        clock.save()
        machine.pass_s(60)
    assert clock.month() == START + 4 * 60
    assert [record.message for record in caplog.records] == ["the last good time can't be kept"]


def test_months_of_active_users_follow_no_jump(machine: Machine) -> None:
    clock = machine.open()
    users = ActiveUsers.open(machine.directory, now=clock.month)
    assert users.admit("acme", "a", 1)
    for jump in (YEAR_S, -2 * YEAR_S, YEAR_S):
        machine.pass_s(60, jump)
        clock.tick()
        clock.save()
        assert not users.admit("acme", "b", 1)
        again = ActiveUsers.open(machine.directory, now=machine.open().month)
        assert again.count("acme") == 1
        assert not again.admit("acme", "b", 1)
