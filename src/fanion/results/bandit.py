"""Weights out of moments: Thompson sampling on what each allocation has brought so far (docs/optimise.md).

Pure: the same moments and seed give the same weights. An allocation's chance is the posterior probability that it
is the best, counted over draws. The floor is of the weights that are served; the holdout is a share of all units
that goes evenly to every allocation whatever was learnt. Both hold after rounding, but for the last digit.

`numpy` draws, and is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, Final

import msgspec

from fanion.errors import RowsError

DRAWS: Final = 10_000
"""Of each posterior: a chance is right to half a percent."""
CELLS_MAX: Final = 2_000_000
"""Draws times allocations, which bounds the memory: with many allocations each has fewer draws."""
DIGITS: Final = 6
"""Of a weight."""
PRIOR_UNITS: Final = 100.0
"""How many units of its own outweigh what all entities together say of an entity's allocation."""


class Reward(msgspec.Struct, frozen=True):
    """What the units of an allocation brought: their number, the mean of their rewards and its variance (of
    samples). `binary`: a reward is 0 or 1."""

    units: int
    mean: float = 0.0
    variance: float = 0.0
    binary: bool = True


@cache
def numpy() -> ModuleType:
    """RowsError where the extra isn't installed."""
    try:
        return import_module("numpy")
    except ImportError as error:
        raise RowsError(f"optimising needs numpy ({error}); install fanion[results]") from None


def chances(
    rewards: Sequence[Reward],
    seed: int,
    *,
    prior: Sequence[Reward] | None = None,
    smallest: bool = False,
    draws: int = DRAWS,
) -> list[float]:
    """Of each allocation, how probable it is that it is the best. Without units all are as probable. `prior`:
    what is known of each from elsewhere, worth `PRIOR_UNITS`. `smallest`: the least reward is the best."""
    if not any(one.units for one in rewards) and not any(one.units for one in prior or ()):
        return [1 / len(rewards)] * len(rewards)
    known = [None] * len(rewards) if prior is None else prior
    generator = numpy().random.default_rng(seed)
    count = max(1, min(draws, CELLS_MAX // len(rewards)))
    whole = together(rewards if prior is None else [*rewards, *prior])
    drawn = numpy().stack(
        [_draw(generator, one, before, whole, count) for one, before in zip(rewards, known, strict=True)]
    )
    best = (drawn.argmin if smallest else drawn.argmax)(axis=0)
    return [float(n) / count for n in numpy().bincount(best, minlength=len(rewards))]


def _draw(generator: Any, one: Reward, before: Reward | None, whole: Reward, count: int) -> Any:
    """From the posterior of an allocation's mean: Beta of rewards that are 0 or 1, else normal, with one
    unit's worth of what all allocations together have."""
    held = 0.0 if before is None else min(float(before.units), PRIOR_UNITS)
    held_mean = 0.0 if before is None else before.mean
    units = one.units + held
    total = one.units * one.mean + held * held_mean
    if one.binary:
        return generator.beta(1 + total, 1 + max(units - total, 0.0), count)
    mean = (total + whole.mean) / (units + 1)
    variance = (max(one.units - 1, 0) * one.variance + (held + 1) * whole.variance) / (
        max(one.units - 1, 0) + held + 1
    )
    return generator.normal(mean, (variance / (units + 1)) ** 0.5, count)


def together(rewards: Sequence[Reward]) -> Reward:
    """All of them as one."""
    units = sum(one.units for one in rewards)
    if not units:
        return Reward(0)
    mean = sum(one.units * one.mean for one in rewards) / units
    spread = sum(one.variance * max(one.units - 1, 0) + one.units * (one.mean - mean) ** 2 for one in rewards)
    return Reward(units, mean, spread / max(units - 1, 1))


def weights(chance: Sequence[float], floor: float, holdout: float) -> tuple[float, ...]:
    """By how probable each is to be the best: no weight is below `floor` (below an even one, where that is less),
    and `holdout` of all units is spread evenly."""
    count = len(chance)
    even = holdout / count
    rest = 1 - holdout
    least = 0.0 if rest <= 0 else max(0.0, (min(floor, 1 / count) - even) / rest)
    shares = [even + rest * (least + (1 - count * least) * one) for one in chance]
    rounded = [round(share, DIGITS) for share in shares]
    largest = max(range(count), key=rounded.__getitem__)
    rounded[largest] = round(rounded[largest] + 1 - sum(rounded), DIGITS)
    return tuple(rounded)
