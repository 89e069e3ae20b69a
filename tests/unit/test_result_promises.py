"""What results promise, held through the SQL: experiments without an effect, looked at a hundred times each.

`RESULTS_RUNS` is how many experiments are drawn. Those of a batch are segments of one experiment and are asked as
`--by` and `--daily` ask, so that a look at all of them is one statement; each is judged by itself.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from typing import Any

import pytest

numpy = pytest.importorskip("numpy")
pyarrow = pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")
pytest.importorskip("scipy")

from fanion.journal.columns import Expander  # noqa: E402
from fanion.model.experiment import MetricPlan, Plan, RunPlan  # noqa: E402
from fanion.results.comparing import by_variant, metric_results  # noqa: E402
from fanion.results.queries import Rows  # noqa: E402
from fanion.results.statistics import ALPHA  # noqa: E402

RUNS = int(os.environ.get("RESULTS_RUNS", "10"))
SEED = int(os.environ.get("RESULTS_SEED", "1"))
BATCH = 400
UNITS = 1_200
LOOKS = 100
START, HOUR = 1_772_323_200_000_000, 3_600_000_000
RATE = 0.3
METRICS = (
    MetricPlan("converted", "purchase"),
    MetricPlan("orders", "purchase", type="count", window_us=48 * HOUR),
)
PLAN = Plan("aa", "aa", "served", ("control", "treatment"), METRICS, (RunPlan(START),))


def drawn(draw: Any, experiments: int) -> Any:
    """Rows: units that come evenly over the looks, an hour each; conversions some hours after, several of some
    units, and a fifth of them sent again hours later with the same id."""
    count = experiments * UNITS
    at = START + draw.integers(0, LOOKS * HOUR, count)
    who = numpy.repeat(numpy.arange(count), draw.poisson(RATE, count))
    happened = at[who] + (draw.geometric(0.2, len(who)) - 1) * HOUR + draw.integers(0, HOUR, len(who))
    id = numpy.arange(len(who))
    again = draw.random(len(who)) < 0.2
    late = happened[again] + draw.integers(1, 10 * HOUR, again.sum())
    units = numpy.concatenate([numpy.arange(count), who, who[again]])
    times = numpy.concatenate([at, happened, late])
    first, events = len(at), len(units) - len(at)
    ids = pyarrow.array(numpy.concatenate([id, id[again]])).cast(pyarrow.string())

    def both(told: Any, done: Any, kind: Any) -> Any:
        return pyarrow.chunked_array([told.cast(kind), done.cast(kind)])

    def alike(value: Any, length: int, kind: Any) -> Any:
        return pyarrow.repeat(pyarrow.scalar(value, kind), length)

    text, one = pyarrow.string(), numpy.array(["control", "treatment"])
    columns = {
        "environment": alike("e", len(units), text),
        "counts": alike(True, len(units), pyarrow.bool_()),
        "unit_hashed": alike(True, len(units), pyarrow.bool_()),
        "time_from": alike("sent", len(units), text),
        "kind": both(alike("served", first, text), alike("metric", events, text), text),
        "flag": both(alike("aa", first, text), alike(None, events, text), text),
        "variant": both(pyarrow.array(one[draw.integers(0, 2, first)]), alike(None, events, text), text),
        "metric": both(alike(None, first, text), alike("purchase", events, text), text),
        "event_id": both(alike(None, first, text), ids, text),
        "unit": pyarrow.array(units).cast(text),
        "unit_key": pyarrow.array(units).cast(pyarrow.uint64()),
        "event_key": both(
            alike(None, first, pyarrow.uint64()),
            pyarrow.array(numpy.concatenate([id, id[again]])),
            pyarrow.uint64(),
        ),
        "attributes": pyarrow.array([f'{{"e":"{number // UNITS}"}}' for number in units], text),
        "event_at": pyarrow.array(times).cast(pyarrow.timestamp("us", "UTC")),
        "received_at": pyarrow.array(times).cast(pyarrow.timestamp("us", "UTC")),
    }
    schema = pyarrow.record_batch(Expander({}).take()).schema
    for field in schema:
        if field.name not in columns:
            columns[field.name] = pyarrow.nulls(len(units), field.type)
    return pyarrow.table({name: columns[name] for name in schema.names})


def crossed(draw: Any, experiments: int, said: Counter[str]) -> None:
    """Looks a hundred times at each of them and counts what was ever found, and what covers at the end."""
    with duckdb.connect() as connection:
        connection.register("rows", drawn(draw, experiments))
        rows = Rows(connection, [PLAN], 5_000_000, "e")
        ever: set[tuple[str, str]] = set()
        for look in range(1, LOOKS + 1):
            found = rows.moments(PLAN, until_us=START + look * HOUR - 1)
            for segment in map(str, range(experiments)):
                sides = [by_variant(one, segment) for one in found]
                for metric in metric_results(PLAN, sides, [{}, {}]):
                    for one in metric.comparisons:
                        if one.finding == "not enough yet":
                            continue
                        if one.finding != "none":
                            ever.add((segment, "found"))
                        if one.p < ALPHA:
                            ever.add((segment, f"always {metric.metric}"))
                        if one.fixed_p < ALPHA:
                            ever.add((segment, f"fixed {metric.metric}"))
                        if look == LOOKS:
                            said[f"always covers {metric.metric}"] += (
                                one.always_valid.lower <= 0 <= one.always_valid.upper
                            )
                            said[f"fixed covers {metric.metric}"] += one.fixed.lower <= 0 <= one.fixed.upper
        said.update(name for _, name in ever)


@pytest.mark.slow
@pytest.mark.timeout(300 + RUNS)
def test_nothing_is_found_through_the_sql_where_there_is_nothing() -> None:
    draw = numpy.random.default_rng(SEED)
    said: Counter[str] = Counter()
    for first in range(0, RUNS, BATCH):
        crossed(draw, min(BATCH, RUNS - first), said)
    print(f"seed {SEED}, {RUNS} runs: { {name: f'{said[name] / RUNS:.2%}' for name in sorted(said)} }")
    slack = 0 if RUNS >= 4_000 else 3 * math.sqrt(0.95 * 0.05 / RUNS)
    assert said["found"] <= (0.05 + slack) * RUNS
    for metric in ("converted", "orders"):
        assert said[f"always {metric}"] <= (0.05 + slack) * RUNS
        assert said[f"fixed {metric}"] > (0.2 - slack) * RUNS
        assert 0.94 - slack <= said[f"fixed covers {metric}"] / RUNS <= 0.96 + slack
        assert said[f"always covers {metric}"] >= (0.95 - slack) * RUNS
