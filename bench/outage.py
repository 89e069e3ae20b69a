"""`python -m bench.outage`: what a server's clients see of NATS being away: evaluation and ingest, p50 and p99.

One server follows a place in NATS and ships its records to a stream there. Requests come at moments that don't wait
for answers (`bench.steady`), `--evaluations` bulks of 2 a second and `--mb-s` of events in batches of 100, in
stretches in turn: NATS up and all shipped; away; back, with all to be shipped that the journal has meanwhile; up
again. It goes away in two ways in turn: halted (SIGSTOP: connections stay and nobody answers) and killed. A stretch
begins at that moment, so what notices it is within. The ratios are those of each stretch to the one with NATS up
before it, the median of the rounds. Goal: p99 within + 10 % while it is away.

What it can't show: a network, more than one worker. On two cores NATS itself, and shipping, take what evaluation
would have: so away may be quicker than up, and back is slower.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import uvloop

from bench.data import world
from bench.figures import say
from bench.http_ratio import INGEST_DURABLE, KEY, bulk
from bench.steady import Client, Kind, quantiles
from fanion.journal.storage import Storage
from fanion.shipping.state import State, load_state
from loadtest.crash import Server
from tests.crash.receivers import NatsServers, nats_servers

PLACES_KEY: Final = "bench-" + 40 * "k"
FLAGS: Final = 1_000
BODIES: Final = 256
SHIPPED_S: Final = 600.0
"""Until the stream has all that was acknowledged, at most."""
GOAL: Final = 1.1
WAYS: Final = ("halted", "killed")
HEADERS: Final = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}


def varied(count: int, seed: int = 1) -> list[bytes]:
    """Bodies of ingest, each of whose events is another unit's: as compressible as real ones."""
    draw, made = random.Random(seed), []
    for _ in range(count):
        document = json.loads(INGEST_DURABLE.body)
        document["events"] = [one | {"userIdHash": draw.randbytes(32).hex()} for one in document["events"]]
        made.append(json.dumps(document, separators=(",", ":")).encode())
    return made


class Sender(Client):
    """That sends one body after another of the same length."""

    bodies = itertools.cycle(varied(BODIES))

    def _send(self) -> None:
        head = self.request[: self.request.index(b"\r\n\r\n") + 4]
        self.request = head + next(self.bodies)
        super()._send()


class Ingest(Kind):
    client = Sender


class Shipping(Server):
    """A server that follows a place and ships."""

    start_timeout_s = 60.0

    def __init__(self, data: Path, nats: NatsServers) -> None:
        variables = {"FANION_PLACES_KEY": PLACES_KEY, "FANION_SHIPPING_URL": nats.url("events")}
        super().__init__(data, 1, "durable", variables)
        self._command += ["--follow", nats.url("place")]


def publish(root: Path, nats: NatsServers) -> None:
    """The world that is asked, to the place; a cluster takes a while until it takes something."""
    definitions = world(FLAGS)
    environments = definitions["organisations"]["org_bench"]["projects"]["bench"]["environments"]
    environments["production"]["keys"] = [{"key": KEY, "kind": "server", "name": "bench"}]
    (root / "world.json").write_text(json.dumps(definitions))
    told = ["publish", str(root / "world.json"), "--to", nats.url("place"), "--data", str(root / "admin")]
    for _ in range(20):
        done = subprocess.run(
            [sys.executable, "-m", "fanion", *told],
            env=os.environ | {"FANION_PLACES_KEY": PLACES_KEY},
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            return
    raise SystemExit(f"nothing could be published: {done.stderr}")


class Stage:
    """The server, and who asks it. Event loop only, but for its making."""

    def __init__(self, root: Path, nats: NatsServers, *, evaluations: float, mb_s: float) -> None:
        self.data = root / "machine" / "data"
        self.data.parent.mkdir()
        self.nats = nats
        publish(root, nats)
        self.server = Shipping(self.data, nats)
        self.ingest = Ingest("ingest", INGEST_DURABLE.path, INGEST_DURABLE.body, HEADERS)
        self.evaluation = Kind("evaluation", "/v1/evaluate/bulk", bulk(2), HEADERS)
        self.rates = {self.evaluation: evaluations, self.ingest: mb_s * 1e6 / len(INGEST_DURABLE.body)}
        self.acknowledged = 0
        """Requests, each a record."""

    async def connect(self) -> None:
        for kind in self.rates:
            await kind.connect(self.server.port)

    async def ask(self, seconds: float) -> dict[str, dict[str, float]]:
        """Quantiles of each kind, in ms."""
        asked = [kind for kind, rate in self.rates.items() if rate]
        await asyncio.gather(*(kind.steady(self.rates[kind], seconds) for kind in asked))
        for kind in asked:
            if kind.failures:
                raise SystemExit(f"{kind.name}: {len(kind.failures)} failed, the first {kind.failures[0]!r}")
        self.acknowledged += len(self.ingest.latencies) if self.ingest in asked else 0
        return {kind.name: quantiles(kind.latencies) for kind in asked}

    def shipped(self) -> State:
        return load_state(Storage(), self.data)

    async def until_shipped(self) -> float:
        """When the stream was seen to have all that was acknowledged, by `time.monotonic`."""
        ends = time.monotonic() + SHIPPED_S
        while (now := self.shipped()).records < self.acknowledged:
            if time.monotonic() > ends:
                raise SystemExit(f"{now.records} of {self.acknowledged} were shipped after {SHIPPED_S:.0f} s")
            await asyncio.sleep(0.05)
        return time.monotonic()

    def leave(self, way: str) -> None:
        for number in range(len(self.nats.ports)):
            if way == "halted":
                self.nats.pause(number)
            else:
                self.nats.kill(number)

    def come_back(self, way: str) -> None:
        for number in range(len(self.nats.ports)):
            if way == "halted":
                self.nats.go_on(number)
            else:
                self.nats.start(number)
        for number in range(len(self.nats.ports)):
            self.nats.ready(number)


@contextlib.contextmanager
def staged(
    servers: int, directory: Path | None, *, evaluations: float, mb_s: float
) -> Iterator[tuple[Stage, Path]]:
    """A running one, and where files may be put."""
    with tempfile.TemporaryDirectory(prefix="fanion-outage-", dir=directory) as name:
        root = Path(name)
        with nats_servers(root / "nats", servers) as nats:
            stage = Stage(root, nats, evaluations=evaluations, mb_s=mb_s)
            try:
                stage.server.start()
                yield stage, root
            finally:
                if stage.server.process is not None:
                    stage.server.kill_all()


class Stretch(NamedTuple):
    """`found`: of a kind, its quantiles in ms; `before`: those of the stretch with NATS up before it."""

    found: dict[str, dict[str, float]]
    before: dict[str, dict[str, float]]


async def run(stage: Stage, rounds: int, seconds: float) -> bool:
    """Whether the goal is met."""
    await stage.connect()
    await stage.ask(min(seconds, 3.0))
    stretches: dict[str, list[Stretch]] = defaultdict(list)
    for _ in range(rounds):
        for way in WAYS:
            await stage.until_shipped()
            up = await stage.ask(seconds)
            stretches["up"].append(Stretch(up, up))
            await stage.until_shipped()
            stage.leave(way)
            stretches[way].append(Stretch(await stage.ask(seconds), up))
            stage.come_back(way)
            stretches[f"back after {way}"].append(Stretch(await stage.ask(seconds), up))
    await stage.until_shipped()
    rates = ", ".join(f"{kind.name} {rate:,.0f}/s" for kind, rate in stage.rates.items())
    print(
        f"{rates}; {rounds} rounds of {seconds:g} s each, {len(stage.nats.ports)} NATS servers, load "
        f"{os.getloadavg()[0]:.1f}"
    )
    print(f"{'median of the rounds':32}{'p50 ms':>9}{'p99 ms':>9}{'p50 / up':>10}{'p99 / up':>10}")
    worst = 0.0
    for name, found in stretches.items():
        for kind in found[0].found:
            p50, p99 = (statistics.median(one.found[kind][q] for one in found) for q in ("p50", "p99"))
            ratios = [
                statistics.median(one.found[kind][q] / one.before[kind][q] for one in found)
                for q in ("p50", "p99")
            ]
            print(f"{f'{kind}, {name}':32}{p50:9.2f}{p99:9.2f}{ratios[0]:10.2f}{ratios[1]:10.2f}")
            say(f"outage/{kind}/{name}/p99", p99, "ms")
            if name in WAYS:
                worst = max(worst, ratios[1])
    print(f"p99 while NATS was away: {worst:.2f} times that with it at most; goal {GOAL}")
    return worst <= GOAL


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each stretch")
    parser.add_argument("--servers", type=int, default=1, help="of NATS")
    parser.add_argument("--evaluations", type=float, default=300.0, help="a second")
    parser.add_argument("--mb-s", type=float, default=5.0, help="of events")
    parser.add_argument("--directory", type=Path, help="parent of the temporary directory")
    told = parser.parse_args()
    with staged(told.servers, told.directory, evaluations=told.evaluations, mb_s=told.mb_s) as (stage, _):
        uvloop.run(run(stage, told.rounds, told.seconds))


if __name__ == "__main__":
    main()
