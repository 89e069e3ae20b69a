"""Receipt -> durable with sinks beside and without, in turn: `python -m bench.sinks_latency`.

Rounds at `--rate` batches of 100 events a second without and with four sinks on the same data directory, in turn
(A B A B), each on a fresh journal and measured by the writer's own histogram (`bench.journal_latency`): a file and
a command that take all, and two that are refused for ever, so that they read again and again (Kafka and an object
store at a port where nobody listens; without fanion[sinks] they are left out). What it can't show: another disk;
receivers on this machine; several workers.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import uvloop

from bench.journal_latency import paced
from fanion.journal.storage import Storage
from fanion.sinks import KINDS, missing_libraries
from fanion.sinks.state import load_state

NOWHERE = "127.0.0.1:1"
STARTED_S = 0.1


def settings(directory: Path) -> dict[str, str]:
    found = {
        "FILE_PATH": f"{directory}-taken",  # below the data directory it is refused
        "COMMAND": "sh -c 'cat >/dev/null'",
        "KAFKA_BROKERS": NOWHERE,
        "PARQUET_URL": "s3://bucket/prefix",
        "PARQUET_ENDPOINT": f"http://{NOWHERE}",
        "PARQUET_ACCESS_KEY": "none",
        "PARQUET_SECRET_KEY": "none",
        "PARQUET_INTERVAL_S": "1",
    }
    return {f"FANION_SINKS_{name}": value for name, value in found.items()}


@contextmanager
def sinks(directory: Path, names: list[str]) -> Iterator[None]:
    (directory / "journal").mkdir()  # so that they begin before there is one
    environment = {**os.environ, **settings(directory)}
    running = []
    for name in names:
        command = [sys.executable, "-m", "fanion", "sinks", "run", name, "--data", str(directory)]
        running.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL))
        while not (directory / "sinks" / f"{name}.lock").exists():
            if (status := running[-1].poll()) is not None:
                raise SystemExit(f"the sink {name} ended with {status} before it began")
            time.sleep(STARTED_S)
    try:
        yield
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait()


async def measure(work: Path, options: argparse.Namespace, names: list[str]) -> list[float]:
    """p50, p99, p99.9, p99.99 and the most, in ms."""
    work.mkdir()
    with sinks(work, names):
        quantiles, most, refused = await paced(work, options.rate, options.seconds)
        taken = {name: load_state(Storage(), work, name).rows for name in names}
    columns = "".join(f"{value:8.2f}" for value in (*quantiles, most))
    told = f"  rows taken {msgspec.json.encode(taken).decode()}" if names else ""
    print(f"  {'with' if names else 'without':8}{columns}  {refused:6d}{told}", flush=True)
    shutil.rmtree(work)
    return [*quantiles, most]


async def run(directory: Path, options: argparse.Namespace) -> None:
    names = [name for name in KINDS if not missing_libraries(name)]
    print(
        f"receipt -> durable, ms, at {options.rate:.0f} batches of 100 events a second; sinks: {', '.join(names)}"
    )
    print("               p50     p99   p99.9  p99.99     max  refused")
    taken: dict[bool, list[list[float]]] = {False: [], True: []}
    for number in range(options.rounds):
        for beside in (False, True):
            await asyncio.sleep(options.rest)
            work = directory / f"{number}-{beside}"
            taken[beside].append(await measure(work, options, names if beside else []))
    for at, name in enumerate(("p50", "p99", "p99.9")):
        without, beside_them = (statistics.median(row[at] for row in taken[each]) for each in (False, True))
        ratio = beside_them / without
        print(
            f"{name}, median of rounds: {without:.2f} without, {beside_them:.2f} with them: {ratio:.2f} times"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds per measurement")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--rate", type=float, default=100.0, help="batches a second")
    parser.add_argument("--rest", type=float, default=2.0, help="seconds of rest before each measurement")
    parser.add_argument(
        "--directory", type=Path, help="on the disk to measure; default: the current directory"
    )
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="sinks-latency-", dir=options.directory or Path.cwd()))
    try:
        uvloop.run(run(directory, options))
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
