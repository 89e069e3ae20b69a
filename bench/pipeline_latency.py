"""Receipt -> durable with the pipeline beside and without, in turn: `python -m bench.pipeline_latency`.

First the highest rate of one worker over HTTP (as `bench.http_ratio`, needs `wrk`; else of the journal alone).
Then rounds at `--share` of it without and with `fanion pipeline` on the same data directory, alternating, each
on a fresh journal and measured by the writer's own histogram (`bench.journal_latency`), with how far the rows
were behind at most, sampled ten times a second. Last, at `--above` batches a second, more than the pipeline
keeps up with, how many requests have no rows, second by second, until it caught up. Goals: the p99 with it at
most 1.5 times the one without, or 5 ms; rows at most 5 s behind at half of the highest rate. What it can't
show: another disk; queries beside; several workers.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from bench.figures import say
from bench.journal_latency import highest_rate, measure_over_http, paced
from fanion.errors import JournalError
from fanion.journal.lag import lag_of
from fanion.journal.reader import JournalReader
from fanion.journal.storage import Storage
from fanion.pipeline.manifest import load_manifest

SAMPLE_S = 0.1
CAUGHT_UP_S = 600.0
"""How long at most it is waited for the rows of all requests."""
WARM_S = 3.0
"""Until the pipeline has read for the first time; not counted as being behind."""


class Freshness(threading.Thread):
    """Samples how old the newest rows are, and how many requests have none."""

    def __init__(self, directory: Path) -> None:
        super().__init__(daemon=True)
        self._directory = directory
        self._ending = threading.Event()
        self.oldest_s = 0.0
        self.behind: list[int] = []
        """Requests, once a second."""
        self.caught_up = threading.Event()
        """None was without rows when it was last looked."""

    def run(self) -> None:
        began, looked = time.time(), 0
        while not self._ending.wait(SAMPLE_S):
            manifest = load_manifest(Storage(), self._directory / "rows")
            if time.time() - began > WARM_S:
                fresh_s = manifest.fresh_us / 1e6 or began
                self.oldest_s = max(self.oldest_s, time.time() - fresh_s)
            if time.time() - began > looked + 1:
                looked += 1
                try:
                    reader = JournalReader(self._directory, checkpoint=manifest.place)
                    self.behind.append(lag_of(reader, Storage()).records)
                    (self.caught_up.clear if self.behind[-1] else self.caught_up.set)()
                except (JournalError, OSError):
                    continue

    def stop(self) -> None:
        self._ending.set()
        self.join()


@contextmanager
def pipeline(directory: Path, wanted: bool) -> Iterator[Freshness | None]:
    if not wanted:
        yield None
        return
    (directory / "journal").mkdir()  # so that it begins before there is one
    command = [sys.executable, "-m", "fanion", "pipeline", "--data", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not (directory / "rows" / "lock").exists():
        time.sleep(SAMPLE_S)
    fresh = Freshness(directory)
    fresh.start()
    try:
        yield fresh
    finally:
        fresh.stop()
        process.send_signal(signal.SIGTERM)
        process.wait()


async def measure(
    work: Path, rate: float, seconds: float, wanted: bool, *, to_the_end: bool = False
) -> tuple[float, float, Freshness | None]:
    """p99 and the most in ms. `to_the_end`: the pipeline goes on until it caught up."""
    work.mkdir()
    with pipeline(work, wanted) as fresh:
        quantiles, most, refused = await paced(work, rate, seconds)
        if fresh and to_the_end:
            await asyncio.sleep(2.0)  # a look at what came last
            if not await asyncio.to_thread(fresh.caught_up.wait, CAUGHT_UP_S):
                print(f"  it did not catch up in {CAUGHT_UP_S:.0f} s", flush=True)
    columns = "".join(f"{value:8.2f}" for value in (*quantiles, most))
    behind = f"  rows at most {fresh.oldest_s:.1f} s behind" if fresh else ""
    print(f"  {'with' if wanted else 'without':8}{columns}  {refused:6d}{behind}", flush=True)
    shutil.rmtree(work)
    return quantiles[1], most, fresh


async def run(directory: Path, options: argparse.Namespace) -> None:
    highest = options.highest
    if not highest and shutil.which("wrk"):
        highest = measure_over_http(directory, round(options.seconds))
    elif not highest:
        (directory / "highest").mkdir()
        highest = await highest_rate(directory / "highest", "durable", options.seconds)
        shutil.rmtree(directory / "highest")
    rate = highest * options.share
    print(f"receipt -> durable, ms, at {options.share:.0%} of {highest:.0f} batches of 100 events a second")
    print("               p50     p99   p99.9  p99.99     max  refused")
    taken: dict[bool, list[float]] = {False: [], True: []}
    oldest_s = 0.0
    for number in range(options.rounds):
        for wanted in (False, True):
            await asyncio.sleep(options.rest)
            p99, _, fresh = await measure(directory / f"{number}-{wanted}", rate, options.seconds, wanted)
            taken[wanted].append(p99)
            oldest_s = max(oldest_s, fresh.oldest_s if fresh else 0.0)
    without, beside = statistics.median(taken[False]), statistics.median(taken[True])
    print(f"p99, median of rounds: {without:.2f} without, {beside:.2f} with it: {beside / without:.2f} times")
    print(f"rows at most {oldest_s:.1f} s behind")
    say("pipeline/p99 without", without, "ms")
    say("pipeline/p99 with", beside, "ms")
    say("pipeline/rows behind", oldest_s, "s")
    if options.above:
        _, _, fresh = await measure(
            directory / "above", options.above, options.seconds, True, to_the_end=True
        )
        assert fresh is not None
        print(f"at {options.above:.0f} batches a second, requests without rows, each second: {fresh.behind}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=12.0, help="seconds per measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.5, help="of the highest rate")
    parser.add_argument(
        "--highest", type=float, default=0.0, help="batches/s that are 100 %%; default: as measured"
    )
    parser.add_argument(
        "--above", type=float, default=0.0, help="batches/s beyond what it keeps up with; 0: leave out"
    )
    parser.add_argument("--rest", type=float, default=5.0, help="seconds of rest before each measurement")
    parser.add_argument(
        "--directory", type=Path, help="on the disk to measure; default: the current directory"
    )
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="pipeline-latency-", dir=options.directory or Path.cwd()))
    try:
        uvloop.run(run(directory, options))
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
