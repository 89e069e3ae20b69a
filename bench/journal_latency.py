"""Receipt -> durable under load, beside what the disk itself can do: `python -m bench.journal_latency`.

One run, in this order: the disk's own fdatasync (64 KiB overwrites of a pre-zeroed file); the highest rate of one
worker over HTTP in both ack modes, beside the do-nothing app (as `bench.http_ratio`, needs `wrk`); then 20, 50 and
80 % of the durable rate, and 100 MB/s, each paced by the wall and measured by the writer's own histogram (every
record, upper bounds of buckets 12.5 % wide). Without `wrk` the highest rates are those of the journal alone, in
process, and there is no ratio. The paced driver shares the machine with the journal, as a worker's event loop does.

The data of a measurement is removed before the next one begins, and the disk left alone for `--rest` seconds: it
goes on discarding what was deleted. Goal at 80 %: p50 <= 3, p99 <= 5, p99.9 <= 25 ms, never above 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench.figures import say
from bench.http_ratio import INGEST_BUFFERED, INGEST_DURABLE, print_rows, publish_world
from fanion.errors import JournalFullError
from fanion.journal import JournalSettings, JournalWriter

EVENT = (
    b'{"flagKey":"checkout-copy","flagId":"flag_01hx","environmentId":"env_01hx","orgId":"org_01hx",'
    b'"value":"variant-b","reason":"ROLLOUT","ruleId":"rule_1","sdkType":"server","sdkVersion":"1.0.0",'
    b'"evaluatedAt":"2026-01-01T00:00:00Z"}'
)
BODY = b'{"events":[' + b",".join([EVENT] * 100) + b"]}"
QUANTILES = (0.5, 0.99, 0.999, 0.9999)
SHARES = (0.2, 0.5, 0.8)
STEADY_MB_S = 100
PACE_S = 0.001
SETTLE_S = 0.5


def disk_latencies(directory: Path, samples: int) -> list[float]:
    """Milliseconds of fdatasync after overwriting 64 KiB of a pre-zeroed file, sorted."""
    path, block = directory / "probe", bytes(65536)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for n in range(256):
            os.pwrite(fd, block, n * len(block))
        os.fsync(fd)
        taken = []
        for n in range(samples):
            os.pwrite(fd, block, n % 256 * len(block))
            before = time.perf_counter()
            os.fdatasync(fd)
            taken.append((time.perf_counter() - before) * 1e3)
    finally:
        os.close(fd)
        path.unlink()
    return sorted(taken)


def quantile(ordered: Sequence[float], q: float) -> float:
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def histogram_quantiles(counts: Sequence[int], bounds_us: Sequence[int]) -> tuple[list[float], float]:
    """Milliseconds at QUANTILES, and the highest bucket's bound."""
    total, results = sum(counts), []
    for q in QUANTILES:
        rank, seen = q * total, 0
        for count, bound in zip(counts, bounds_us, strict=True):
            seen += count
            if seen >= rank:
                results.append(bound / 1e3)
                break
    most = max((bound for count, bound in zip(counts, bounds_us, strict=True) if count), default=0)
    return results, most / 1e3


def append(journal: JournalWriter) -> int:
    received_ns = time.time_ns()
    return journal.append(
        dialect="feather", environment="env_01hx", received_ns=received_ns, body=BODY, whole=True
    )


async def highest_rate(directory: Path, ack: str, seconds: float) -> float:
    """Batches a second with 64 requests in flight, as a closed loop."""
    settings = JournalSettings(ack="buffered" if ack == "buffered" else "durable")
    journal = JournalWriter.open(directory, settings, asyncio.get_running_loop())
    done, end = 0, time.perf_counter() + seconds

    async def client() -> None:
        nonlocal done
        while time.perf_counter() < end:
            try:
                await journal.durable(append(journal))
                done += 1
            except JournalFullError:
                await asyncio.sleep(0.001)
            if ack == "buffered" and done % 16 == 0:
                await asyncio.sleep(0)

    await asyncio.gather(*(client() for _ in range(64)))
    journal.close()
    return done / seconds


async def paced(directory: Path, rate: float, seconds: float) -> tuple[list[float], float, int]:
    """Appends at a steady rate; (quantiles, most, refused)."""
    journal = JournalWriter.open(directory, JournalSettings(), asyncio.get_running_loop())
    refused = sent = 0
    begin = time.perf_counter()
    before: list[int] = []
    while (elapsed := time.perf_counter() - begin) < seconds + SETTLE_S:
        if not before and elapsed >= SETTLE_S:
            before = journal.metrics()["receipt_to_durable"]
        while sent < rate * elapsed:
            sent += 1
            try:
                append(journal)
            except JournalFullError:
                refused += 1
        await asyncio.sleep(PACE_S)
    numbers = journal.metrics()
    journal.close()
    counts = [now - then for now, then in zip(numbers["receipt_to_durable"], before, strict=True)]
    quantiles, most = histogram_quantiles(counts, numbers["bounds_us"])
    return quantiles, most, refused


async def run(directory: Path, seconds: float, samples: int, highest: float, rest_s: float) -> None:
    disk = disk_latencies(directory, samples)
    print(
        f"disk: fdatasync of 64 KiB  p50 {quantile(disk, 0.5):.2f}  p99 {quantile(disk, 0.99):.2f} ms",
        flush=True,
    )
    if not highest and shutil.which("wrk"):
        highest = measure_over_http(directory, round(seconds))
    elif not highest:
        highest = (await measure_in_process(directory, seconds))["durable"]
    print("receipt -> durable, ms        p50     p99    p99.9  p99.99     max  refused")
    rates = {f"{share:.0%}": highest * share for share in SHARES}
    rates[f"{STEADY_MB_S} MB a s"] = STEADY_MB_S * 1e6 / len(BODY)
    for name, rate in rates.items():
        load = directory / f"paced-{name}"
        load.mkdir()
        await asyncio.sleep(rest_s)
        quantiles, most, refused = await paced(load, rate, seconds)
        columns = "".join(f"{value:8.2f}" for value in (*quantiles, most))
        print(f"  at {name:11} {rate:7.0f}/s    {columns}  {refused:7d}", flush=True)
        for label, value in zip(("p50", "p99", "p99.9", "p99.99", "most"), (*quantiles, most), strict=True):
            say(f"durable/{name}/{label}", value, "ms")
        shutil.rmtree(load)


def measure_over_http(directory: Path, seconds: int) -> float:
    """Batches a second of one worker that answers once they are durable; prints both ack modes."""
    work = directory / "http"
    work.mkdir()
    data, headers = publish_world(work, 10)
    cases, times = [INGEST_DURABLE, INGEST_BUFFERED], {"rounds": 3, "seconds": max(1, seconds // 4)}
    rows = print_rows(cases, headers, data, work, said=False, **times)
    shutil.rmtree(work)
    return rows[INGEST_DURABLE.name].fanion


async def measure_in_process(directory: Path, seconds: float) -> dict[str, float]:
    """Batches a second by ack mode, without HTTP."""
    rates = {}
    for ack in ("buffered", "durable"):
        with_ack = directory / ack
        with_ack.mkdir()
        rates[ack] = await highest_rate(with_ack, ack, seconds)
        megabytes = rates[ack] * len(BODY) / 1e6
        print(f"highest rate, {ack:<8}    {rates[ack]:8.0f} batches of 100/s  {megabytes:6.0f} MB/s")
        shutil.rmtree(with_ack)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds per measurement")
    parser.add_argument(
        "--directory", type=Path, help="on the disk to measure; default: the current directory"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="a fraction of a second each: does it run at all"
    )
    parser.add_argument(
        "--highest", type=float, default=0.0, help="batches/s that are 100 %%; default: as measured"
    )
    parser.add_argument(
        "--rest", type=float, default=20.0, help="seconds of rest before each paced measurement"
    )
    options = parser.parse_args()
    seconds, samples, rest_s = (0.3, 50, 0.0) if options.smoke else (options.seconds, 2_000, options.rest)
    base = options.directory or Path.cwd()
    directory = Path(tempfile.mkdtemp(prefix="journal-latency-", dir=base))
    try:
        uvloop.run(run(directory, seconds, samples, options.highest, rest_s))
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
