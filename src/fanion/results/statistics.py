"""Differences of means out of moments: fixed-horizon and always-valid intervals (docs/results.md: Formulas).

Everything here is arithmetic on a few numbers a variant and run; nothing looks at units. Runs are strata: a variant
is compared with the control within each run, and the differences are weighed by the runs' units.

`scipy.special` has the distributions' tails, and is imported when it is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Final

import msgspec

from fanion.errors import RowsError

ALPHA: Final = 0.05
POWER: Final = 0.8
TUNING_UNITS: Final = 5000.0
"""At about so many units of both variants an always-valid interval is narrowest beside a fixed one."""
SHARES_P_MIN: Final = 0.001
"""Below it a sample ratio isn't chance: it is looked at often, and is not to stop a sound experiment."""
UNITS_MIN: Final = 100
ACTIVE_MIN: Final = 10
"""Units of a variant, and those of them whose number isn't 0, below which nothing is found: the intervals are
asymptotic."""


class Moments(msgspec.Struct, frozen=True):
    """Of the units of a variant in a run: means, variances (of samples) and covariances with the value.

    `base`: what a ratio is to, 1 of everyone for other metrics. `before`: the same metric before the exposure.
    """

    units: int
    mean: float = 0.0
    variance: float = 0.0
    active: int = 0
    base_mean: float = 1.0
    base_variance: float = 0.0
    base_covariance: float = 0.0
    before_mean: float = 0.0
    before_variance: float = 0.0
    before_covariance: float = 0.0


class Arm(msgspec.Struct, frozen=True):
    """A variant in a run, as it is compared: the mean, and the variance of one unit's part in it."""

    units: int
    mean: float
    variance: float


class Difference(msgspec.Struct, frozen=True):
    """Treatment less control, over all runs. `variance`: of `effect`; `units`: of both; `degrees`: of freedom,
    Welch and Satterthwaite's. `mean_variance`: of each variant's own mean, control first."""

    effect: float
    variance: float
    units: int
    degrees: float
    means: tuple[float, float]
    mean_variances: tuple[float, float]


class Interval(msgspec.Struct, frozen=True):
    lower: float
    upper: float
    p: float


@cache
def special() -> ModuleType:
    """RowsError where the extra isn't installed."""
    try:
        return import_module("scipy.special")
    except ImportError as error:
        raise RowsError(f"results need scipy ({error}); install fanion[results]") from None


def paired_arms(control: Moments, treatment: Moments) -> tuple[Arm, Arm] | None:
    """A run's two variants as they are compared; None where either can't be: fewer than two units, or nothing that
    a ratio is to. The means are made more precise by what was before, by one coefficient for both."""
    if min(control.units, treatment.units) < 2 or control.base_mean == 0 or treatment.base_mean == 0:
        return None
    total = control.units + treatment.units
    means = [
        (one.before_mean, one.mean, one.before_variance, one.before_covariance, one.units)
        for one in (control, treatment)
    ]
    before = sum(mean * units for mean, _, _, _, units in means) / total
    value = sum(mean * units for _, mean, _, _, units in means) / total
    spread = sum(var * (n - 1) + n * (mean - before) ** 2 for mean, _, var, _, n in means)
    shared = sum(cov * (n - 1) + n * (mean - before) * (y - value) for mean, y, _, cov, n in means)
    theta = shared / spread if spread > 0 else 0.0
    return _arm(control, theta, before), _arm(treatment, theta, before)


def _arm(one: Moments, theta: float, before: float) -> Arm:
    ratio = one.mean / one.base_mean
    variance = (
        one.variance - 2 * ratio * one.base_covariance + ratio * ratio * one.base_variance
    ) / one.base_mean**2
    mean = ratio - theta * (one.before_mean - before)
    variance += theta * theta * one.before_variance - 2 * theta * one.before_covariance
    return Arm(one.units, mean, max(variance, 0.0))


def difference(runs: Iterable[tuple[Arm, Arm]]) -> Difference | None:
    """(control, treatment) of each run, together; None where there is no run."""
    pairs = list(runs)
    total = sum(control.units + treatment.units for control, treatment in pairs)
    if not total:
        return None
    variances, means, squares = [0.0, 0.0], [0.0, 0.0], 0.0
    for pair in pairs:
        weight = (pair[0].units + pair[1].units) / total
        for side, arm in enumerate(pair):
            part = weight * weight * arm.variance / arm.units
            means[side] += weight * arm.mean
            variances[side] += part
            squares += part * part / (arm.units - 1)
    variance = variances[0] + variances[1]
    degrees = variance * variance / squares if squares > 0 else math.inf
    return Difference(
        means[1] - means[0], variance, total, degrees, (means[0], means[1]), (variances[0], variances[1])
    )


def fixed(estimate: float, variance: float, degrees: float, alpha: float = ALPHA) -> Interval:
    """Welch's: right at one look that was settled beforehand."""
    if variance <= 0:
        return Interval(estimate, estimate, 1.0 if estimate == 0 else 0.0)
    if degrees == math.inf:
        degrees = 1e9
    error = math.sqrt(variance)
    width = float(special().stdtrit(degrees, 1 - alpha / 2)) * error
    p = 2 * float(special().stdtr(degrees, -abs(estimate) / error))
    return Interval(estimate - width, estimate + width, p)


def always_valid(estimate: float, variance: float, units: int, alpha: float = ALPHA) -> Interval:
    """An asymptotic confidence sequence: right at all looks together, whenever one stops."""
    if variance <= 0:
        return Interval(estimate, estimate, 1.0)
    width = math.sqrt(variance) * boundary(units, alpha)
    grown = units * _rho_squared(alpha) + 1
    exponent = (estimate * estimate / variance) * (grown - 1) / (2 * grown)
    p = math.exp(min(0.5 * math.log(grown) - exponent, 0.0))
    return Interval(estimate - width, estimate + width, p)


def boundary(units: int, alpha: float = ALPHA) -> float:
    """How many standard errors an always-valid interval reaches."""
    grown = units * _rho_squared(alpha) + 1
    return math.sqrt(2 * grown / (grown - 1) * math.log(math.sqrt(grown) / alpha))


def _rho_squared(alpha: float) -> float:
    start = -2 * math.log(alpha)
    return (start + math.log(start + 1)) / TUNING_UNITS


def relative(found: Difference) -> tuple[float, float] | None:
    """The lift and its variance, by the delta method; None where the control's mean is no more than three of its
    standard errors from 0."""
    control, treatment = found.means
    if abs(control) <= 3 * math.sqrt(found.mean_variances[0]) or control == 0:
        return None
    variance = found.mean_variances[1] / control**2 + found.mean_variances[0] * treatment**2 / control**4
    return found.effect / control, variance


def detectable(variance: float, units: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """The difference that the always-valid test finds by this many units in `power` of all cases."""
    return (boundary(units, alpha) + float(special().ndtri(power))) * math.sqrt(variance)


def units_to_detect(found: Difference, effect: float, alpha: float = ALPHA) -> int | None:
    """Of both variants, until a difference of `effect` would be found in `POWER` of all cases; None for no
    difference, or where it takes more than a thousand times as many as there are."""
    per_unit = found.variance * found.units
    low, high = found.units, found.units * 1000
    if effect == 0 or detectable(per_unit / high, high, alpha) > abs(effect):
        return None
    while high - low > max(1, low // 1000):
        middle = (low + high) // 2
        if detectable(per_unit / middle, middle, alpha) > abs(effect):
            low = middle
        else:
            high = middle
    return high


def holm(ps: Sequence[float]) -> list[float]:
    """Each p as it is among all of them, so that the chance of any false finding keeps below alpha."""
    order = sorted(range(len(ps)), key=ps.__getitem__)
    adjusted = [1.0] * len(ps)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = highest
    return adjusted


def sample_ratio(units: Mapping[str, int], shares: Mapping[str, float]) -> float | None:
    """How likely counts that are this far from the planned shares are by chance: chi-square. None without any
    units, or shares of fewer than two variants."""
    total, whole = sum(units.get(variant, 0) for variant in shares), sum(shares.values())
    if not total or len(shares) < 2:
        return None
    statistic = 0.0
    for variant, share in shares.items():
        expected = total * share / whole
        statistic += (units.get(variant, 0) - expected) ** 2 / expected
    return float(special().chdtrc(len(shares) - 1, statistic))
