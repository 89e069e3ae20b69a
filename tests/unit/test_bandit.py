"""Thompson sampling on moments: what is learnt, what is kept, and what it costs (docs/optimise.md)."""

from __future__ import annotations

import os
from statistics import fmean

import pytest

pytest.importorskip("scipy")
numpy = pytest.importorskip("numpy")

from fanion.results.bandit import Reward, chances, weights  # noqa: E402

RATES = (0.02, 0.04, 0.06, 0.08, 0.12)
UNITS, BATCH = 50_000, 1_000
LATE = 1
"""Batches that come before the rewards of one are known."""
SEEDS = int(os.environ.get("BANDIT_SEEDS", "6"))
"""100 in the full round."""


def regret(seed: int, floor: float, holdout: float) -> float:
    """Of one run, as a share of what an even split would have cost."""
    draw = numpy.random.default_rng((7, seed))
    units, wins = [0] * len(RATES), [0] * len(RATES)
    pending: list[tuple[list[int], list[int]]] = []
    lost = even = 0.0
    for batch in range(UNITS // BATCH):
        rewards = [Reward(n, won / n if n else 0.0) for n, won in zip(units, wins, strict=True)]
        served = weights(chances(rewards, seed * 1_000 + batch), floor, holdout)
        assert sum(served) == pytest.approx(1)
        assert min(served) >= floor - 1e-5
        who = draw.multinomial(BATCH, [share / sum(served) for share in served])
        pending.append((list(who), [draw.binomial(n, rate) for n, rate in zip(who, RATES, strict=True)]))
        lost += sum(n * (max(RATES) - rate) for n, rate in zip(who, RATES, strict=True))
        even += BATCH * (max(RATES) - fmean(RATES))
        if len(pending) > LATE:
            seen, won = pending.pop(0)
            units = [a + int(b) for a, b in zip(units, seen, strict=True)]
            wins = [a + int(b) for a, b in zip(wins, won, strict=True)]
    return lost / even


@pytest.mark.parametrize(("floor", "holdout", "most"), [(0.01, 0.0, 0.15), (0.05, 0.1, 0.35)])
def test_regret_stays_far_below_that_of_an_even_split(floor: float, holdout: float, most: float) -> None:
    found = fmean(regret(seed, floor, holdout) for seed in range(SEEDS))
    print(f"floor {floor}, holdout {holdout}: {found:.3f} of an even split's regret, {SEEDS} seeds")
    assert found <= most


def test_the_same_moments_and_seed_give_the_same_weights() -> None:
    rewards = [Reward(500, 0.1), Reward(480, 0.12)]
    assert chances(rewards, 1) == chances(rewards, 1) != chances(rewards, 2)


def test_nothing_is_learnt_from_nobody() -> None:
    assert chances([Reward(0), Reward(0), Reward(0)], 1) == [1 / 3] * 3
    assert weights([1 / 3] * 3, 0.05, 0.2) == pytest.approx([1 / 3] * 3, abs=1e-5)


def test_the_least_reward_wins_where_less_is_better() -> None:
    rewards = [Reward(5_000, 0.3), Reward(5_000, 0.1)]
    assert chances(rewards, 1)[0] > 0.999
    assert chances(rewards, 1, smallest=True)[1] > 0.999


def test_numbers_that_are_no_rates_are_weighed_by_their_spread() -> None:
    near = [Reward(50, 10.0, 400.0, binary=False), Reward(50, 11.0, 400.0, binary=False)]
    far = [Reward(5_000, 10.0, 4.0, binary=False), Reward(5_000, 11.0, 4.0, binary=False)]
    assert 0.5 < chances(near, 1)[1] < 0.75
    assert chances(far, 1)[1] > 0.999
    assert 0.05 < chances([Reward(0, binary=False), *far], 1)[0] < 0.95  # nobody has tried it


def test_an_entity_with_few_units_follows_all_the_others() -> None:
    everyone = [Reward(10_000, 0.1), Reward(10_000, 0.2)]
    few, many = [Reward(10, 0.2), Reward(10, 0.1)], [Reward(4_000, 0.2), Reward(4_000, 0.1)]
    assert chances(few, 1, prior=everyone)[1] > 0.9
    assert chances(many, 1, prior=everyone)[0] > 0.9


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(("floor", "holdout"), [(0.0, 0.0), (0.01, 0.0), (0.05, 0.1), (0.0, 1.0), (0.5, 0.5)])
def test_floor_and_holdout_are_kept_and_the_weights_are_one(count: int, floor: float, holdout: float) -> None:
    chance = [1.0, *[0.0] * (count - 1)]
    made = weights(chance, floor, holdout)
    least = max(min(floor, 1 / count), holdout / count)
    assert min(made) >= least - count * 1e-6
    assert sum(made) == pytest.approx(1, abs=1e-9)
    assert made[0] == max(made)
    if holdout == 0:
        assert made[0] == pytest.approx(1 - (count - 1) * min(floor, 1 / count), abs=1e-4)
