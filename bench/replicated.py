"""`python -m bench.replicated`: what `ack = "replicated"` costs in latency against `durable`, in turn.

Two servers of one worker that ship to streams of the same NATS, `--servers` of `NATS_SERVER` on this machine
which sync each write: one acknowledges events when its disk has them, the other when its stream has them, too.
Each round asks the one, then the other: `--connections` at once, each request after the answer to the one before,
batches of `--events`. Latencies are those of all answers of all rounds, seen by the client; an answer that isn't
202 ends the bench. Beside it: CPU a request of the shipping processes. What it can't show: a network, and other
disks than this machine's one, which all of them sync.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from bench.figures import say
from loadtest.cluster import WORLD, feather
from loadtest.crash import KEY, Server
from tests.crash.receivers import NatsServers, nats_servers

PATH = "/v1/telemetry/events"
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
READY_S = 90.0
QUANTILES = (0.5, 0.9, 0.99, 0.999)


class Side:
    """A server of one mode, and what it took. Ended by `close`."""

    def __init__(self, root: Path, nats: NatsServers, ack: str) -> None:
        self.ack = ack
        self.ms: list[float] = []
        data = root / ack / "data"
        data.parent.mkdir()
        (root / "world.yaml").write_text(WORLD.format(number=0))
        publish = [sys.executable, "-m", "fanion", "publish", str(root / "world.yaml"), "--data", str(data)]
        subprocess.run(publish, check=True, capture_output=True)
        self._server = Server(data, 1, ack, {"FANION_SHIPPING_URL": nats.url(ack)})
        self._server.start()

    def close(self) -> None:
        self._server.stop()

    def ready(self, body: bytes) -> None:
        """Once it acknowledges; a cluster needs seconds for its leaders."""
        ends = time.monotonic() + READY_S
        while not all(self._ask(body, 20)):
            if time.monotonic() > ends:
                raise SystemExit(f"{self.ack}: events are not taken")
            time.sleep(0.2)

    def run(self, connections: int, requests: int, body: bytes) -> None:
        took: list[list[float]] = [[] for _ in range(connections)]
        threads = [
            threading.Thread(target=lambda into=into: into.extend(self._ask(body, requests))) for into in took
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if not all(map(all, took)) or any(len(into) != requests for into in took):
            raise SystemExit(f"{self.ack}: an answer was not 202")
        self.ms += [ms for into in took for ms in into]

    def shipping_cpu_s(self) -> float:
        for pid in self._server.workers():
            found = Path(f"/proc/{pid}/stat").read_text()
            if "(fanion-shipping)" in found:
                fields = found.rpartition(")")[2].split()
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return 0.0

    def _ask(self, body: bytes, requests: int) -> list[float]:
        """Milliseconds of each; 0: another answer."""
        took: list[float] = []
        with closing(http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=30)) as connection:
            for _ in range(requests):
                began = time.perf_counter()
                connection.request("POST", PATH, body, HEADERS)
                response = connection.getresponse()
                response.read()
                took.append((time.perf_counter() - began) * 1e3 if response.status == 202 else 0.0)
        return took


def quantiles(found: Sequence[float]) -> list[float]:
    ordered = sorted(found)
    return [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in QUANTILES]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", type=int, default=1, help="of NATS")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--events", type=int, default=10, help="of a batch")
    parser.add_argument("--requests", type=int, default=250, help="of a connection in a round")
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    body = json.dumps({"events": [feather(f"u{n}") for n in range(options.events)]}).encode()
    with ExitStack() as ends:
        root = Path(
            ends.enter_context(tempfile.TemporaryDirectory(prefix="bench-replicated-", dir=Path.cwd()))
        )
        nats = ends.enter_context(nats_servers(root / "nats", options.servers))
        sides = [ends.enter_context(closing(Side(root, nats, ack))) for ack in ("durable", "replicated")]
        for side in sides:
            side.ready(body)
        before = [side.shipping_cpu_s() for side in sides]
        for _ in range(options.rounds):
            for side in sides:
                side.run(options.connections, options.requests, body)
        for side, cpu_s in zip(sides, before, strict=True):
            told = ", ".join(
                f"p{100 * share:g} {ms:.2f}" for share, ms in zip(QUANTILES, quantiles(side.ms), strict=True)
            )
            cpu_ms = (side.shipping_cpu_s() - cpu_s) / len(side.ms) * 1e3
            print(
                f"{side.ack:10} {told} ms, {len(side.ms)} answers; shipping's CPU {cpu_ms:.2f} ms a request"
            )
    durable, replicated = (quantiles(side.ms) for side in sides)
    say("replicated/p99 above durable", replicated[2] - durable[2], "ms")
    print(
        f"replicated costs p50 {replicated[0] - durable[0]:+.2f} ms, p99 {replicated[2] - durable[2]:+.2f} ms; "
        f"{options.servers} NATS servers, load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
