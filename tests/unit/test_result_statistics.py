"""Statistics from moments, held to others' code and to what they promise over thousands of experiments.

`RESULTS_RUNS` is how many experiments are drawn. `GBSTATS_PYTHON` names a Python that has gbstats 0.8.0, whose
dependencies are older than ours.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from fanion.results import statistics
from fanion.results.statistics import Arm, Difference, Moments
from tests.rounds import rounds

numpy = pytest.importorskip("numpy")
pytest.importorskip("scipy")

RUNS = rounds(250, 1_000, "RESULTS_RUNS")
SEED = int(os.environ.get("RESULTS_SEED", "1"))
LOOKS = 100
GBSTATS = """
import json, sys
from gbstats.frequentist.tests import *
from gbstats.models.statistics import SampleMeanStatistic
made = []
for one in json.load(sys.stdin):
    arms = [SampleMeanStatistic(n=n, sum=n * m, sum_squares=v * (n - 1) + n * m * m) for n, m, v in one]
    for kind, config in ((TwoSidedTTest, FrequentistConfig), (SequentialTwoSidedTTest, SequentialConfig)):
        result = kind(*arms, config(difference_type="absolute")).compute_result()
        made.append([result.expected, *result.ci, result.p_value])
print(json.dumps(made))
"""


def moments(values: Any, base: Any = None, before: Any = None) -> Moments:
    """Of a sample, straight from the definitions."""

    def shared(other: Any) -> tuple[float, float, float]:
        return float(other.mean()), float(other.var(ddof=1)), float(numpy.cov(values, other)[0, 1])

    given: dict[str, float] = {}
    for name, other in (("base", base), ("before", before)):
        if other is not None:
            parts = zip(("mean", "variance", "covariance"), shared(other), strict=True)
            given |= {f"{name}_{part}": value for part, value in parts}
    return Moments(
        len(values), float(values.mean()), float(values.var(ddof=1)), int((values != 0).sum()), **given
    )


def compared(control: Moments, treatment: Moments) -> Difference:
    arms = statistics.paired_arms(control, treatment)
    assert arms is not None
    found = statistics.difference([arms])
    assert found is not None
    return found


def arm(units: int, total: float, squares: float) -> Arm:
    mean = total / units
    return Arm(units, mean, (squares - units * mean * mean) / (units - 1))


def test_the_published_sample_ratio_is_found_to_be_no_chance() -> None:
    p = statistics.sample_ratio({"a": 821_588, "b": 815_482}, {"a": 50, "b": 50})
    assert p == pytest.approx(1.8e-6, rel=0.02)


def test_a_sample_ratio_is_of_all_variants_and_of_their_shares_alone() -> None:
    shares = {"a": 1.0, "b": 1.0, "c": 2.0}
    assert statistics.sample_ratio({"a": 250, "b": 250, "c": 500, "x": 7}, shares) == 1.0
    assert statistics.sample_ratio({"a": 900}, shares) == pytest.approx(0, abs=1e-100)
    assert statistics.sample_ratio({}, shares) is None
    assert statistics.sample_ratio({"a": 1}, {"a": 1.0}) is None


@pytest.mark.parametrize(
    ("kind", "sequential", "fixed"),
    [
        (
            "absolute",
            (-0.089382395365734, 0.6694375239412903, 0.2906073522435437),
            (0.045405544472737286, 0.534649584102819, 0.020146513683833023),
        ),
        (
            "relative",
            (-0.4443807419822192, 1.859149348264064, 0.698507672754026),
            (-0.03520846365856778, 1.4499770699404126, 0.06189253166597597),
        ),
    ],
)
def test_what_gbstats_says_of_its_own_example_is_met(
    kind: str, sequential: tuple[float, ...], fixed: tuple[float, ...]
) -> None:
    """Its 0.8.0, of the sums in its own tests; without that package here."""
    found = statistics.difference([(arm(3407, 1396.87, 52377.9767), arm(3461, 2422.7954, 134698.29))])
    assert found is not None
    estimate = found.effect, found.variance
    if kind == "relative":
        lift = statistics.relative(found)
        assert lift is not None
        estimate = lift
    for interval, theirs in (
        (statistics.always_valid(*estimate, found.units), sequential),
        (statistics.fixed(*estimate, found.degrees), fixed),
    ):
        assert (interval.lower, interval.upper, interval.p) == pytest.approx(theirs, abs=1e-9)


def test_gbstats_absolute_intervals_are_met_to_the_ninth_digit() -> None:
    python = os.environ.get("GBSTATS_PYTHON")
    if not python:
        pytest.skip("GBSTATS_PYTHON names no Python with gbstats 0.8.0")
    draw = numpy.random.default_rng(SEED)
    pairs = []
    for _ in range(200):
        scale = 10 ** draw.uniform(-3, 4)
        pairs.append(
            [
                (int(draw.integers(2, 10**6)), scale * draw.uniform(0.5, 2), scale**2 * draw.uniform(0.01, 9))
                for _ in range(2)
            ]
        )
    made = subprocess.run(
        [python, "-c", GBSTATS], input=json.dumps(pairs), capture_output=True, text=True, check=True
    )
    theirs = iter(json.loads(made.stdout))
    for pair in pairs:
        found = statistics.difference([(Arm(*pair[0]), Arm(*pair[1]))])
        assert found is not None
        for interval in (
            statistics.fixed(found.effect, found.variance, found.degrees),
            statistics.always_valid(found.effect, found.variance, found.units),
        ):
            effect, lower, upper, p = next(theirs)
            scale = max(1.0, abs(lower), abs(upper))
            assert found.effect == pytest.approx(effect, abs=1e-9 * scale)
            assert interval.lower == pytest.approx(lower, abs=1e-9 * scale)
            assert interval.upper == pytest.approx(upper, abs=1e-9 * scale)
            assert interval.p == pytest.approx(p, abs=1e-9)


@pytest.fixture(scope="module")
def tea() -> Any:
    pytest.importorskip("tea_tasting")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tea_tasting
        import tea_tasting.aggr
    return tea_tasting


def samples() -> Iterator[tuple[Any, Any, Any]]:
    """(value, base, before) of a variant's units."""
    draw = numpy.random.default_rng(SEED)
    while True:
        size = int(draw.integers(3, 500))
        before = draw.gamma(2, 3, size)
        base = 1 + draw.poisson(3, size).astype(float)
        yield before * draw.uniform(0, 1) + draw.normal(5, 2, size) * base, base, before


@pytest.mark.parametrize("kind", ["plain", "cuped", "ratio"])
def test_welch_cuped_and_ratios_are_those_of_tea_tasting(tea: Any, kind: str) -> None:
    drawn = samples()
    for _ in range(50):
        pair = [next(drawn), next(drawn)]
        ours = [
            moments(y, base=d if kind == "ratio" else None, before=x if kind == "cuped" else None)
            for y, d, x in pair
        ]
        found = compared(*ours)
        interval = statistics.fixed(found.effect, found.variance, found.degrees)
        aggregates = [
            tea.aggr.Aggregates(
                count_=len(y),
                mean_={"y": y.mean(), "d": d.mean(), "x": x.mean()},
                var_={"y": y.var(ddof=1), "d": d.var(ddof=1), "x": x.var(ddof=1)},
                cov_={("d", "y"): numpy.cov(y, d)[0, 1], ("x", "y"): numpy.cov(y, x)[0, 1]},
            )
            for y, d, x in pair
        ]
        metric = {
            "plain": lambda: tea.Mean("y"),
            "cuped": lambda: tea.Mean("y", "x"),
            "ratio": lambda: tea.RatioOfMeans("y", "d"),
        }[kind]()
        theirs = metric.analyze_aggregates(*aggregates)
        assert found.means[0] == pytest.approx(theirs.control, rel=1e-9)
        assert found.effect == pytest.approx(theirs.effect_size, rel=1e-9)
        assert interval.lower == pytest.approx(theirs.effect_size_ci_lower, rel=1e-9)
        assert interval.upper == pytest.approx(theirs.effect_size_ci_upper, rel=1e-9)
        assert interval.p == pytest.approx(theirs.pvalue, rel=1e-8, abs=1e-300)


def test_a_change_of_shares_between_runs_makes_no_difference_where_there_is_none() -> None:
    """Both convert 10 % in the first run and 30 % in the second; thrown together, they would differ."""

    def run(units: int, rate: float) -> Arm:
        return Arm(units, rate, rate * (1 - rate))

    found = statistics.difference([(run(9000, 0.1), run(1000, 0.1)), (run(2000, 0.3), run(8000, 0.3))])
    assert found is not None
    assert found.effect == pytest.approx(0)
    assert found.means == (pytest.approx(0.2), pytest.approx(0.2))
    assert found.units == 20_000


def test_holm_is_the_step_down_of_bonferroni() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.9]) == [1.0, 1.0]
    assert statistics.holm([]) == []


def test_what_can_not_be_compared_is_nothing() -> None:
    one, two = Moments(1, 1.0, 0.0), Moments(2, 1.0, 0.5)
    assert statistics.paired_arms(one, two) is None
    assert statistics.paired_arms(two, Moments(2, 1.0, 0.5, base_mean=0.0)) is None
    assert statistics.difference([]) is None


def test_without_any_spread_nothing_is_found() -> None:
    found = statistics.difference([(Arm(200, 0.0, 0.0), Arm(200, 0.0, 0.0))])
    assert found is not None
    assert statistics.always_valid(found.effect, found.variance, found.units).p == 1
    assert statistics.fixed(found.effect, found.variance, found.degrees).p == 1
    assert statistics.relative(found) is None
    assert statistics.units_to_detect(found, 0.0) is None


def test_a_lift_over_a_control_near_zero_is_not_given() -> None:
    near = Difference(0.1, 0.0025, 1000, 998.0, (0.149, 0.25), (0.0025, 0.0))
    assert statistics.relative(near) is None
    beyond = Difference(0.1, 0.0025, 1000, 998.0, (0.151, 0.251), (0.0025, 0.0))
    assert statistics.relative(beyond) is not None


def test_units_to_detect_are_those_at_which_the_difference_is_detectable() -> None:
    found = Difference(0.01, 0.2 / 1000, 1000, 998.0, (0.2, 0.21), (0.1 / 1000, 0.1 / 1000))
    needed = statistics.units_to_detect(found, 0.01)
    assert needed is not None
    assert statistics.detectable(0.2 / needed, needed) == pytest.approx(0.01, rel=1e-3)
    assert statistics.units_to_detect(found, 1e-6) is None


# -- what the intervals promise


def conversions(draw: Any, units: int, rates: tuple[float, float], repeats: bool) -> Any:
    """An experiment's looks: [variant, look] of (units, sum, sum of squares) of each unit's number. Units come
    evenly and convert after a delay of some looks; with `repeats`, as often as they like, and each counts."""
    seen = []
    for rate in rates:
        came = numpy.sort(draw.integers(0, LOOKS, units))
        number = draw.poisson(rate, units) if repeats else (draw.random(units) < rate).astype(int)
        who = numpy.repeat(numpy.arange(units), number)
        when = came[who] + draw.geometric(0.2, len(who)) - 1
        kept = when < LOOKS
        who, when = who[kept], when[kept]
        order = numpy.lexsort((when, who))
        who, when = who[order], when[order]
        first = numpy.searchsorted(who, who)  # the number of this conversion among its unit's
        before = numpy.arange(len(who)) - first
        counts = numpy.bincount(came, minlength=LOOKS).cumsum()
        sums = numpy.bincount(when, minlength=LOOKS).cumsum()
        squares = numpy.bincount(when, weights=2 * before + 1, minlength=LOOKS).cumsum()
        seen.append(numpy.stack([counts, sums, squares], axis=1))
    return numpy.stack(seen)


def looks(seen: Any) -> Iterator[Difference]:
    for pair in zip(seen[0].tolist(), seen[1].tolist(), strict=True):
        if min(units for units, _, _ in pair) >= 2:
            found = statistics.difference([(arm(*pair[0]), arm(*pair[1]))])
            assert found is not None
            yield found


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("repeats", [False, True], ids=["conversions", "counts"])
def test_always_valid_intervals_find_nothing_in_experiments_without_an_effect(repeats: bool) -> None:
    """100 looks each at 5,000 units; the fixed test finds something in more than a quarter of them."""
    draw = numpy.random.default_rng(SEED)
    false = {"fixed": 0, "always": 0}
    last = {"fixed": 0, "always": 0}
    for _ in range(RUNS):
        crossed = dict.fromkeys(false, False)
        for found in looks(conversions(draw, 2500, (0.2, 0.2), repeats)):
            fixed = statistics.fixed(found.effect, found.variance, found.degrees)
            always = statistics.always_valid(found.effect, found.variance, found.units)
            crossed["fixed"] |= fixed.p < statistics.ALPHA
            crossed["always"] |= always.p < statistics.ALPHA
        for name, interval in (("fixed", fixed), ("always", always)):
            false[name] += crossed[name]
            last[name] += interval.lower <= 0 <= interval.upper
    said = {name: f"{count / RUNS:.2%}" for name, count in false.items()}
    print(f"seed {SEED}, {RUNS} runs: false findings {said}, cover {last}")
    assert false["always"] <= 0.05 * RUNS
    assert false["fixed"] > 0.25 * RUNS
    slack = 0 if RUNS >= 4000 else 3 * math.sqrt(0.95 * 0.05 / RUNS)
    assert 0.94 - slack <= last["fixed"] / RUNS <= 0.96 + slack
    assert last["always"] >= 0.95 * RUNS


@pytest.mark.slow
def test_an_effect_of_twice_what_is_detectable_is_found() -> None:
    rate = 0.2
    draw = numpy.random.default_rng(SEED)
    plain = Arm(2500, rate, rate * (1 - rate))
    flat = statistics.difference([(plain, plain)])
    assert flat is not None
    effect = 2 * statistics.detectable(flat.variance, flat.units)
    found = 0
    for _ in range(RUNS):
        *_, last = looks(conversions(draw, 2500, (rate, rate + effect), False))
        interval = statistics.always_valid(last.effect, last.variance, last.units)
        found += interval.p < statistics.ALPHA
    print(f"seed {SEED}: found {found} of {RUNS} effects of {effect:.4f}")
    assert found >= 0.8 * RUNS
