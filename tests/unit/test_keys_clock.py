"""The clock of key expiry: small steps are followed, jumps are not until they last."""

from __future__ import annotations

import pytest

from fanion.auth.clock import BELIEVED_AFTER_S, ExpiryClock

YEAR_S = 365 * 86_400.0


class World:
    """A wall clock and an elapsed time that a test moves."""

    def __init__(self, wall: float = 1e9, floor: float = 0.0) -> None:
        self.wall = wall
        self.elapsed = 50.0
        self.clock = ExpiryClock(floor, wall=lambda: self.wall, elapsed=lambda: self.elapsed)

    def run(self, seconds: float, step: float = 1.0) -> None:
        for _ in range(int(seconds / step)):
            self.wall += step
            self.elapsed += step
            self.clock.tick()


def test_time_runs_with_the_wall_clock_and_follows_small_corrections() -> None:
    world = World()
    world.run(10)
    assert world.clock.now() == pytest.approx(1e9 + 10)
    world.wall += 3
    world.run(1)
    assert world.clock.now() == pytest.approx(world.wall)


@pytest.mark.parametrize("jump", [3_600.0, -3_600.0, YEAR_S, -YEAR_S, -1e9])
def test_jump_is_not_believed_until_it_has_lasted(jump: float) -> None:
    world = World()
    world.wall += jump
    world.run(BELIEVED_AFTER_S - 5)
    assert world.clock.now() == pytest.approx(1e9 + BELIEVED_AFTER_S - 5)
    assert world.clock.distrusts == pytest.approx(jump)
    world.run(10)
    assert world.clock.now() == pytest.approx(world.wall)
    assert world.clock.distrusts is None


def test_jump_that_is_taken_back_leaves_no_trace() -> None:
    world = World()
    world.wall += YEAR_S
    world.run(200)
    world.wall -= YEAR_S
    world.run(200)
    assert world.clock.now() == pytest.approx(1e9 + 400)
    world.wall += YEAR_S
    world.run(200)
    assert world.clock.now() == pytest.approx(1e9 + 600)


def test_clock_that_jumps_about_is_never_believed() -> None:
    world = World()
    for number in range(20):
        world.wall += YEAR_S if number % 2 else -2 * YEAR_S
        world.run(60)
    assert world.clock.now() == pytest.approx(1e9 + 1_200)


def test_time_never_starts_or_falls_before_the_last_publish() -> None:
    world = World(wall=0.0, floor=1e9)
    assert world.clock.now() == pytest.approx(1e9)
    world.run(1_000)
    assert world.clock.now() >= 1e9
