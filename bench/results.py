"""`python -m bench.results`: one experiment and twenty over rows of 10 million events; time and memory.

Rows are made by DuckDB and written as the pipeline writes them, a file a day: half of them of units by their
digest, half by their id, 20 events a unit, each with an id, in 28 days. Each question runs in a process of its own,
so that its memory is. A regression is paid by whoever looks at a result, and by who serves beside it. What it can't
show: rows of a disk that is cold.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench.figures import say
from fanion.journal.columns import Expander
from fanion.journal.storage import Storage
from fanion.model.experiment import MetricPlan, Plan, RunPlan
from fanion.pipeline.manifest import Manifest, commit_manifest
from fanion.pipeline.parquet import Writer, arrow
from fanion.pipeline.pipeline import DIRECTORY
from fanion.pipeline.query import duckdb
from fanion.results.compute import Asked, compute

START_US: Final = 1_772_323_200_000_000
DAY_US: Final = 86_400_000_000
DAYS: Final = 28
FLAGS: Final = 20
METRICS: Final = 10
ENVIRONMENT: Final = "env_bench"
EXPOSED: Final = 0.3
"""The share of rows that are exposures, to one of `FLAGS` each; the others are events of one of `METRICS`."""


def fill(directory: Path, events: int) -> None:
    folder = directory / DIRECTORY
    folder.mkdir()
    writer, files = Writer(Storage(), folder), []
    with duckdb().connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        for day in range(DAYS):
            first, last = events * day // DAYS, events * (day + 1) // DAYS
            rows = connection.sql(rows_of(day, first, last, max(events // 20, 1))).to_arrow_table()
            files += writer.write([_as_expanded(rows)], f"{day + 1:010}")
    commit_manifest(Storage(), folder, Manifest(step=DAYS, files=files))


def rows_of(day: int, first: int, last: int, units: int) -> str:
    digest, begin = "sha256('user-' || unit)", START_US + day * DAY_US
    return f"""
        WITH drawn AS (
            SELECT i, hash(i, 1) % 1000 < {EXPOSED * 1000} AS seen, (hash(i, 6) % {units})::INTEGER AS unit,
                hash(i, 2) % {FLAGS} AS flag, (hash(i, 3) % {DAY_US})::BIGINT AS after,
                (hash(i, 4) % 1000) / 10.0 AS price, hash(i, 5) % 2 = 0 AS hashed
            FROM range({first}, {last}) AS numbers(i)
        ),
        named AS (
            SELECT *, CASE WHEN NOT seen THEN uuid()::VARCHAR END AS event_id, {digest} AS digest FROM drawn
        )
        SELECT repeat('0', 32) AS machine, 1::UINTEGER AS writer, 1::UBIGINT AS epoch, i::UBIGINT AS sequence,
            0::UINTEGER AS "index", 0::UINTEGER AS part, make_timestamptz({begin} + after) AS received_at,
            make_timestamptz({begin} + after) AS event_at, 'sent' AS time_from,
            '{ENVIRONMENT}' AS environment, 'neutral' AS dialect,
            CASE WHEN seen THEN 'served' ELSE 'metric' END AS kind, 'kept' AS disposition, TRUE AS counts,
            event_id, 'userId' AS unit_kind, IF(seen OR hashed, digest, 'user-' || unit) AS unit,
            seen OR hashed AS unit_hashed, CASE WHEN seen THEN 'flag-' || flag END AS flag,
            CASE WHEN seen THEN IF(hash(unit, flag) % 2 = 0, 'control', 'treatment') END AS variant,
            CASE WHEN NOT seen THEN 'metric-' || flag % {METRICS} END AS metric,
            CASE WHEN NOT seen THEN price END AS value, CASE WHEN seen THEN 'run-' || flag END AS run,
            hash(digest) AS unit_key, CASE WHEN NOT seen THEN hash(event_id) END AS event_key
        FROM named ORDER BY after
        """


def _as_expanded(rows: Any) -> Any:
    """As a batch of the pipeline: its columns, and its dictionaries."""
    schema = arrow().record_batch(Expander({}).take()).schema
    columns = []
    for field in schema:
        if field.name not in rows.schema.names:
            column = arrow().nulls(rows.num_rows, field.type)
        else:
            column = rows.column(field.name).combine_chunks()
            if arrow().types.is_dictionary(field.type):
                column = column.dictionary_encode()
        columns.append(column.cast(field.type))
    return arrow().record_batch(columns, schema=schema)


def plan(number: int, *, before: bool) -> Plan:
    metrics = (
        MetricPlan("converted", f"metric-{number % METRICS}", window_us=7 * DAY_US),
        MetricPlan("spent", f"metric-{number % METRICS}", "sum", window_us=7 * DAY_US, cap=500.0),
    )
    return Plan(
        key=f"experiment-{number}",
        flag=f"flag-{number}",
        exposure="served",
        variants=("control", "treatment"),
        metrics=metrics,
        runs=(RunPlan(START_US, {"control": 1.0, "treatment": 1.0}),),
        end_us=START_US + DAYS * DAY_US,
        pre_period_us=7 * DAY_US if before else 0,
    )


def ask(directory: Path, experiments: int, *, before: bool = False) -> int:
    """How many units there were in all of them."""
    plans = [plan(number, before=before) for number in range(experiments)]
    return sum(sum(one.units.values()) for one in compute(directory, ENVIRONMENT, plans, Asked()))


QUESTIONS: Final = {
    "one experiment": (1, False),
    "with a pre-period": (1, True),
    "twenty experiments": (FLAGS, False),
}


def measure(directory: Path, name: str) -> None:
    experiments, before = QUESTIONS[name]
    wall, spent = time.perf_counter(), time.process_time()
    units = ask(directory, experiments, before=before)
    wall, spent = time.perf_counter() - wall, time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{name}: {wall:.2f} s, {spent:.2f} s of CPU, {peak} MB, {units:,} units", flush=True)
    say(f"results/{name}/time", wall, "s")
    say(f"results/{name}/memory", peak, "MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.directory, given.measure)
        return
    with tempfile.TemporaryDirectory() as name:
        fill(Path(name), given.events)
        for question in [*QUESTIONS] * given.rounds:
            subprocess.run(
                [sys.executable, "-m", "bench.results", "--directory", name, "--measure", question],
                check=True,
            )


if __name__ == "__main__":
    main()
