"""How far back the event-id window reaches, as its metric says: a flood makes it less, for who sends it."""

from __future__ import annotations

from fanion.telemetry.windows import SAMPLES_PER_CAPACITY, LeastReach, Reach

CAPACITY = 6_400


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_the_reach_grows_while_the_window_holds_all_that_came() -> None:
    clock = Clock()
    reach = Reach(clock)
    assert reach.seconds(0, CAPACITY) == 0
    for claims in range(100, CAPACITY + 1, 100):
        clock.now += 60
        assert reach.seconds(claims, CAPACITY) == clock.now - 1_000


def test_a_flood_makes_the_reach_less_and_its_end_lets_it_grow() -> None:
    clock = Clock()
    reach = Reach(clock)
    for claims in range(0, CAPACITY + 1, 100):  # a day of usual events
        clock.now += 60
        reach.seconds(claims, CAPACITY)
    flooded = 0.0
    for claims in range(CAPACITY + 100, 4 * CAPACITY, 100):  # another tenant's, a thousand times as many
        clock.now += 0.06
        flooded = reach.seconds(claims, CAPACITY)
    assert flooded <= SAMPLES_PER_CAPACITY * 0.06 + 0.1
    clock.now += 600
    assert reach.seconds(4 * CAPACITY, CAPACITY) >= 600


def test_a_step_larger_than_the_window_reaches_back_to_itself() -> None:
    clock = Clock()
    reach = Reach(clock)
    reach.seconds(0, CAPACITY)
    clock.now += 50
    assert reach.seconds(10 * CAPACITY, CAPACITY) == 0


def test_a_window_that_was_made_anew_begins_anew() -> None:
    clock = Clock()
    reach = Reach(clock)
    reach.seconds(5_000, CAPACITY)
    clock.now += 50
    assert reach.seconds(10, CAPACITY) == 0


def test_the_window_reaches_as_far_as_for_the_tenant_that_floods_it() -> None:
    clock = Clock()
    least = LeastReach(clock)
    assert least.seconds([], CAPACITY) == 0
    clock.now += 100
    assert least.seconds([], CAPACITY) == 100
    clock.now += 100
    assert least.seconds([10, 5], CAPACITY) == 100  # none of them was there at the last look
    claims = 5
    for _ in range(200):
        clock.now += 1
        claims += 100
        flooded = least.seconds([10, claims], CAPACITY)
    assert 60 <= flooded <= 70
    clock.now += 10
    assert least.seconds([1], CAPACITY) == 0  # made anew
