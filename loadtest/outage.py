"""NATS away for minutes while events come, and what it takes to catch up: `python -m loadtest.outage`.

One server follows a place in NATS and ships its records to a stream there (`bench.outage`). It is asked at rates
that don't wait for answers: `--mb-s` of events, and evaluations. For `--seconds` NATS is away, killed or halted
(`--way`); then it comes back, and events come no more, or `--then-mb-s` of them, until the stream has every one
that was acknowledged. A bare publisher, with the priority of a shipper, sends as many blocks at once as it
(`bench.shipping`) into another stream before and after.

Then the stream is read whole: each record that was acknowledged is there (else it is lost), and the blocks of a
writer are in order. A block may have come twice: its records are one by their identity. Prints latencies with NATS
and without, what the journal held, how long catching up took, its rate from the first block on and the ratio to the
bare publisher's.
Exits 1 where something is lost or out of order, or an answer wasn't 2xx. Of the disk it takes what comes twice over
with one NATS server, four times with three.
Needs `NATS_SERVER` and fanion[machines].
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NamedTuple

import uvloop

from bench.figures import say
from bench.outage import WAYS, Stage, staged
from bench.shipping import bare
from fanion._core.journal_format import list_records
from fanion.config.shipping import Shipping
from fanion.nats.connection import Access
from fanion.pipeline.pace import give_way
from fanion.shipping.stream import Stream

BARE_BYTES: Final = 256 << 20
WARM_S: Final = 20.0
SLICE_S: Final = 10.0
AT_ONCE: Final = 16
LOOK_S: Final = 0.05


class Read(NamedTuple):
    """Of a stream: records by identity; blocks that came again; that came before what is ahead of them."""

    records: int
    again: int
    out_of_order: int


def read(stage: Stage) -> Read:
    found, again, out_of_order, ends = 0, 0, 0, dict[tuple[bytes, int], int]()
    settings = Shipping(url=stage.nats.url("events"), timeout_s=60)
    with closing(Stream(settings, Access(), create=False)) as stream:
        extent = stream.extent()
        for start in range(extent.first, extent.last + 1, AT_ONCE):
            for block in stream.fetch(range(start, min(start + AT_ONCE, extent.last + 1))):
                if block is None:
                    continue
                key = block.machine, block.span.writer
                end = ends.get(key, block.span.first)
                again += block.span.first < end
                out_of_order += block.span.first > end
                new = block.span.next - max(end, block.span.first)
                if new > 0:
                    found += min(new, len(list_records(block.data, 0, len(block.data))))
                ends[key] = max(end, block.span.next)
    return Read(found, again, out_of_order)


def bare_mb_s(stage: Stage, name: str) -> float:
    """In a process that gives way as a shipper does."""
    with ProcessPoolExecutor(1, get_context("spawn"), give_way) as pool:
        given = stage.nats.url(name), len(stage.nats.ports), BARE_BYTES
        return BARE_BYTES / 1e6 / pool.submit(bare, *given).result()


def held_mb(stage: Stage) -> float:
    """Of log segments, plain and compressed."""
    files = (stage.data / "journal").iterdir()
    return sum(path.stat().st_size for path in files if path.suffix in (".log", ".zst")) / 1e6


def shown(found: dict[str, dict[str, float]]) -> str:
    return "; ".join(
        f"{kind} p50 {each['p50']:.2f}, p99 {each['p99']:.2f}, most {each['most']:.0f} ms"
        for kind, each in found.items()
    )


async def away(stage: Stage, seconds: float) -> list[dict[str, dict[str, float]]]:
    """Asks for so long, in slices."""
    ends, found = time.monotonic() + seconds, []
    while (left := ends - time.monotonic()) > 0.5:
        found.append(await stage.ask(min(left, SLICE_S)))
    return found


class CaughtUp(NamedTuple):
    """`first_s`: until the stream took something again. `all_s`: until it had all. `mb`: that it took meanwhile."""

    first_s: float
    all_s: float
    mb: float


async def catch_up(stage: Stage, mb_s: float) -> CaughtUp:
    stage.rates[stage.ingest] *= mb_s
    before, began = stage.shipped().bytes, time.monotonic()

    async def first() -> float:
        while stage.shipped().bytes == before:
            await asyncio.sleep(LOOK_S)
        return time.monotonic() - began

    begun, shipping = asyncio.ensure_future(first()), asyncio.ensure_future(stage.until_shipped())
    while not shipping.done():
        print(f"  while catching up: {shown(await stage.ask(5.0))}", flush=True)
    return CaughtUp(await begun, shipping.result() - began, (stage.shipped().bytes - before) / 1e6)


async def run(stage: Stage, told: argparse.Namespace) -> int:
    await stage.connect()
    print(f"with NATS: {shown(await stage.ask(min(WARM_S, told.seconds)))}", flush=True)
    await stage.until_shipped()
    bare_before = bare_mb_s(stage, "bare-before")
    held, records = held_mb(stage), stage.acknowledged
    stage.leave(told.way)
    slices = await away(stage, told.seconds)
    for kind in slices[0]:
        p99 = sorted(each[kind]["p99"] for each in slices)
        print(
            f"without, {kind}: p99 of each {SLICE_S:g} s {p99[len(p99) // 2]:.2f} ms in the middle, "
            f"{p99[-1]:.2f} at most"
        )
    held = held_mb(stage) - held
    load = os.getloadavg()[0]
    stage.come_back(told.way)
    caught = await catch_up(stage, told.then_mb_s / told.mb_s)
    bare_after = bare_mb_s(stage, "bare-after")
    mb_s = caught.mb / max(caught.all_s - caught.first_s, LOOK_S)
    ratio = mb_s / ((bare_before + bare_after) / 2)
    found = await asyncio.to_thread(read, stage)  # its connection has a loop of its own
    lost = max(0, stage.acknowledged - found.records)
    state, status = stage.shipped(), stage.server.stop()
    print(
        f"NATS {told.way} for {told.seconds:g} s at {told.mb_s:g} MB/s: the journal held {held:,.0f} MB more, full "
        f"segments compressed; load {load:.1f}, {len(stage.nats.ports)} NATS servers"
    )
    print(
        f"caught up after {caught.all_s:.1f} s, the first after {caught.first_s:.1f}: {caught.mb:,.0f} MB, "
        f"{mb_s:.1f} MB/s; a bare publisher {bare_before:.1f} before and {bare_after:.1f} after; ratio {ratio:.2f}"
    )
    print(
        f"acknowledged {stage.acknowledged} ({stage.acknowledged - records} since it went), in the stream "
        f"{found.records}, lost = {lost}, out of order = {found.out_of_order}; {found.again} blocks came again, "
        f"{state.resent_blocks} that the stream had lost"
    )
    say("outage/catching up/of bare", ratio, "times")
    say("outage/lost", lost, "records")
    wrong = lost + found.out_of_order + state.unrecovered_records + bool(status)
    return 1 if wrong or not stage.acknowledged else 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300.0, help="that NATS is away")
    parser.add_argument("--mb-s", type=float, default=10.0, help="of events")
    parser.add_argument("--then-mb-s", type=float, default=0.0, help="of events while it catches up")
    parser.add_argument("--evaluations", type=float, default=100.0, help="a second")
    parser.add_argument("--way", choices=WAYS, default="killed")
    parser.add_argument("--servers", type=int, default=1, help="of NATS")
    parser.add_argument("--directory", type=Path, help="parent of the temporary directory")
    told = parser.parse_args()
    with staged(told.servers, told.directory, evaluations=told.evaluations, mb_s=told.mb_s) as (stage, _):
        sys.exit(uvloop.run(run(stage, told)))


if __name__ == "__main__":
    main()
