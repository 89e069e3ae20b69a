"""`python -m bench.shipping`: a journal's records to a stream of NATS, beside a bare publisher, in turn.

Each round ships a journal of `--megabytes` into a stream of its own, as catching up after an outage does, and then
publishes as many messages of 256 KB of nothing into another, as many at once (`shipping.flight.AT_ONCE`): each
as soon as another was acknowledged, and, as a second bare publisher, a lot of them once the last lot was. The
ratio is the median of the rounds, to the first. Beside it: what shipping takes of a CPU, and reading all of it back
(`shipping.reconciler`). NATS: `--servers` of `NATS_SERVER` on this machine, which sync each write. What it
can't show: a network, other disks.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench.figures import say
from fanion.config.shipping import Shipping
from fanion.nats.address import parse_address
from fanion.nats.connection import Access, Connection
from fanion.shipping.block import BLOCK_BYTES
from fanion.shipping.flight import AT_ONCE
from fanion.shipping.shipper import Shipper
from tests.crash.receivers import NatsServers, nats_servers
from tests.unit.shipping_world import Journal

RECORD_BYTES = 23_000
"""A batch of 100 events."""
SEGMENT_BYTES = 64 << 20
TIMEOUT_S = 60.0


class Taken(NamedTuple):
    """Seconds."""

    shipped: float
    shipped_cpu: float
    read_back: float
    bare: float
    lots: float


def fill(directory: Path, size: int) -> None:
    journal = Journal(directory)
    left = size // RECORD_BYTES
    while left:
        some = min(left, SEGMENT_BYTES // RECORD_BYTES)
        journal.append(0, some, size=RECORD_BYTES)
        journal.begin(0)
        left -= some
    journal.append(0, 1)


def measure(servers: NatsServers, directory: Path, number: int, size: int) -> Taken:
    settings = Shipping(url=servers.url(f"shipped-{number}"), timeout_s=TIMEOUT_S, keep_hours=1)
    for state in (directory / "shipping", directory / "journal" / "readers"):
        for path in state.glob("*") if state.is_dir() else ():
            path.unlink()
    began_reading = [0.0]
    with Shipper(directory, settings, Access()) as shipper:
        reconcile = shipper.reconcile

        def noted(*given: Any) -> int:
            began_reading[0] = time.perf_counter()
            return reconcile(*given)

        shipper.reconcile = noted  # type: ignore[method-assign]
        began, cpu = time.perf_counter(), time.process_time()
        shipper.run_once()
        ended = time.perf_counter()
        cpu = time.process_time() - cpu
        assert shipper.stands().lag_records == 0
        assert shipper.stands().unverified_segments == 0
    bares = [
        bare(servers.url(f"{name}-{number}"), len(servers.ports), size, slides=slides)
        for name, slides in (("bare", True), ("lots", False))
    ]
    return Taken(began_reading[0] - began, cpu, ended - began_reading[0], *bares)


def bare(url: str, replicas: int, size: int, *, slides: bool = True) -> float:
    """The seconds that as many messages of nothing take, into a stream that is removed afterwards. `slides`: each
    leaves as soon as another was acknowledged, else a lot once the last was."""
    address = parse_address(url)
    assert address is not None
    connection = Connection(address, Access(), TIMEOUT_S)
    try:
        connection.run(
            connection.streams.add_stream(
                name=address.name,
                subjects=[f"{address.name}.>"],
                num_replicas=replicas,
                max_age=3_600,
            )
        )
        content, left = os.urandom(BLOCK_BYTES), size // BLOCK_BYTES

        async def publish(count: int) -> None:
            for _ in range(count):
                await connection.streams.publish(f"{address.name}.x", content)

        began = time.perf_counter()
        while left:
            some = min(left, AT_ONCE)
            each = left // some if slides else 1
            connection.together(publish(each) for _ in range(some))
            left -= some * each
        took_s = time.perf_counter() - began
        connection.run(connection.streams.delete_stream(address.name))
        return took_s
    finally:
        connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", type=int, default=1, help="of NATS")
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    size = options.megabytes << 20
    with tempfile.TemporaryDirectory(prefix="bench-shipping-", dir=Path.cwd()) as name:
        directory = Path(name)
        fill(directory / "data", size)
        with nats_servers(directory / "nats", options.servers) as servers:
            taken = [measure(servers, directory / "data", number, size) for number in range(options.rounds)]
    for each in taken:
        shipped, slid, lots = (options.megabytes / took for took in (each.shipped, each.bare, each.lots))
        print(
            f"shipped {shipped:6.1f} MB/s, bare {slid:6.1f} MB/s, ratio {each.bare / each.shipped:.2f}, "
            f"in lots {lots:6.1f} MB/s, ratio {each.lots / each.shipped:.2f}; "
            f"{each.shipped_cpu:.2f} CPU s with reading back, which took {each.read_back:.1f} s"
        )
    ratio = statistics.median(each.bare / each.shipped for each in taken)
    say("shipping/of a bare publisher", ratio, "times")
    say("shipping/rate", statistics.median(options.megabytes / each.shipped for each in taken), "MB/s")
    lots = statistics.median(each.lots / each.shipped for each in taken)
    print(
        f"median ratio {ratio:.2f}, to lots {lots:.2f}, {options.servers} NATS servers, "
        f"load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
