"""`python -m bench.rows`: events of all APIs out of a journal: read, as columns, as Parquet; rates and memory.

Each stage does all before it once more, in a process of its own, so that memory is its own too. Rates are events
per second of CPU, the best of the rounds, out of the page cache. A regression of the first is paid by every reader,
one of the others by the pipeline. What it can't show: how a disk or a server beside it slows a pipeline down.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.figures import say
from fanion.dialects import canonical_forms
from fanion.journal import JournalSettings, JournalWriter
from fanion.journal.columns import Expander
from fanion.journal.reader import JournalReader
from fanion.journal.rows import expand_rows

BATCH = 100
VARIANTS = 200
"""Batches of each API, so that a step holds few texts twice."""
STEP_ROWS = 200_000
PLAIN_SHARE = 20
"""The plain expansion takes one of so many records: it is that much slower."""
NOW = "2026-11-28T10:30:00.123Z"


def samples(first: int) -> dict[str, list[dict[str, object]]]:
    """A batch of each API, as its clients send them; users and ids are numbered from `first`."""
    numbers = range(first, first + BATCH)
    feather = [
        {"flagKey": f"flag-{n % 7}", "flagId": "flag_1", "environmentId": "env_01hx", "orgId": "org_01hx"}
        | {"value": n % 2 == 0, "reason": "ROLLOUT", "ruleId": "rule-1", "userIdHash": f"{n:064x}"}
        | {"sdkType": "server", "sdkVersion": "1.0.0", "evaluatedAt": NOW}
        for n in numbers
    ]
    redpennon = [
        {"event": "purchase", "variable": "checkout-flow", "variation": "control", "value": n + 0.5}
        | {"user": {"id": f"user_{n}", "email": f"user_{n}@example.com"}, "occurred_at": NOW}
        | {"event_id": f"0197c0de-0000-7000-8000-{n:012}"}
        for n in numbers
    ]
    layer = {"layerId": "layer_1", "bucket": 4711, "policyId": "pol_1", "policyKey": "price"}
    layer |= {"allocationId": "all_1", "allocationName": "high"}
    traffical = [
        {"type": "exposure", "id": f"ev_{n}", "orgId": "org", "projectId": "proj", "env": "production"}
        | {"unitKey": f"user_{n}", "timestamp": NOW, "layers": [layer], "assignments": {"price": 9.5}}
        if n % 2
        else {"type": "track", "id": f"ev_{n}", "unitKey": f"user_{n}", "timestamp": NOW, "event": "buy"}
        | {"value": n, "properties": {"sku": f"s{n}", "total": 12.5}}
        for n in numbers
    ]
    stitchd = [
        {"metric_key": "page_view", "context_type": "user", "context_key": f"user_{n}", "value": n}
        | {"timestamp_ms": 1_795_861_800_123}
        for n in numbers
    ]
    units = [
        {"kind": "userId"} | ({"id": f"user_{n}"} if n % 4 else {"sha256": f"{n:064x}"}) for n in numbers
    ]
    neutral = [
        {"type": "exposure", "id": f"ev_{n}", "time": NOW, "unit": unit, "flag": "checkout", "variant": "on"}
        if n % 2
        else {"type": "metric", "id": f"ev_{n}", "time": NOW, "unit": unit, "metric": "buy", "value": n + 0.5}
        for n, unit in zip(numbers, units, strict=True)
    ]
    return {
        "feather": feather,
        "redpennon": redpennon,
        "traffical": traffical,
        "stitchd": stitchd,
        "neutral": neutral,
    }


def fill(directory: Path, events: int) -> None:
    async def write() -> None:
        settings = JournalSettings(compress=False, raise_priority=False, reserve_bytes=0)
        journal = JournalWriter.open(directory, settings, asyncio.get_running_loop())
        bodies = [
            (dialect, json.dumps({"events": sent}, separators=(",", ":")).encode())
            for variant in range(VARIANTS)
            for dialect, sent in samples(variant * BATCH).items()
        ]
        for n in range(events // BATCH):
            dialect, body = bodies[n % len(bodies)]
            given = {
                "dialect": dialect,
                "environment": "env_01hx",
                "received_ns": time.time_ns(),
                "whole": True,
            }
            sequence = journal.append(**given, body=body)
            if n % 100 == 99:
                await journal.durable(sequence)
        await journal.durable(sequence)
        journal.close()

    asyncio.run(write())


def read(directory: Path) -> int:
    return sum(len(batch.table) for batch in JournalReader(directory).read_batches()) * BATCH


def plain(directory: Path) -> int:
    forms, count, apis = canonical_forms(), 0, len(samples(0))
    for number, record in enumerate(JournalReader(directory).read()):
        if number // apis % PLAIN_SHARE == 0:  # of all APIs in turn
            count += sum(1 for _ in expand_rows(record, "", forms))
    return count


def columns(directory: Path, take: Callable[[Expander], None] | None = None) -> int:
    expander, count = Expander(canonical_forms(), own="metric"), 0
    for batch in JournalReader(directory).read_batches():
        expander.add(batch)
        if expander.rows >= STEP_ROWS:
            count += expander.rows
            if take is None:
                expander.take_parts()
            else:
                take(expander)
    if expander.rows:
        count += expander.rows
        if take is not None:
            take(expander)
    return count


def parquet(directory: Path) -> int:
    from fanion.journal.storage import Storage
    from fanion.pipeline.parquet import Writer

    with tempfile.TemporaryDirectory() as target:
        writer, step = Writer(Storage(), Path(target)), iter(range(1 << 30))
        return columns(directory, lambda expander: _write(writer, expander, next(step)))


def _write(writer: object, expander: Expander, step: int) -> None:
    writer.write(expander.take_parts(), str(step))  # type: ignore[attr-defined]


STAGES: dict[str, Callable[[Path], int]] = {
    "reader": read,
    "plain rows": plain,
    "columns": columns,
    "zstd Parquet": parquet,
}


def measure(stage: str, directory: Path, rounds: int) -> None:
    best, count = float("inf"), 0
    for _ in range(rounds):
        before = time.process_time()
        count = STAGES[stage](directory)
        best = min(best, time.process_time() - before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{stage:14}{count / best / 1e6:8.2f} M events/s of CPU {count:12,} events {peak:7.0f} MB")
    say(f"rows/{stage}/rate", count / best / 1e6, "M events/s")
    say(f"rows/{stage}/memory", peak, "MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage:
        measure(given.stage, given.directory, given.rounds)
        return
    with tempfile.TemporaryDirectory() as name:
        fill(Path(name), given.events)
        for stage in STAGES:
            arguments = ["--stage", stage, "--directory", name, "--rounds", str(given.rounds)]
            subprocess.run([sys.executable, "-m", "bench.rows", *arguments], check=True)


if __name__ == "__main__":
    main()
