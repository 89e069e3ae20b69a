"""`python -m bench.steady`: latency at rates that don't wait for answers, evaluation and ingest at once.

A closed load (`wrk`) asks again when it was answered, so a server that stands still is hardly asked meanwhile. Here
each request has a moment at which it is due, whatever became of those before it, and its latency counts from that
moment, which corrects for coordinated omission. The highest rate of each kind is found by a closed load of the
same connections; then both kinds are sent at once, each at half of a share of its highest: 50 %, 80 %.

`--interfaces asgi rsgi` or `--threads 1 2` compares servers of `--workers` workers each by their interface or by
the threads of their HTTP server, in turn, `--rounds` times at each share of the first's highest rate, and prints
the medians.

The generator is one process on the same machine; what it takes of a core is printed beside.
What it can't show: many clients, networks.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, cast

import uvloop

from bench.figures import say
from bench.http_ratio import INGEST_DURABLE, bulk, fanion, free_port, publish_world, running

CONNECTIONS: Final = 32
"""Of each kind."""
SHARES: Final = (0.5, 0.8)
TICK_S: Final = 0.001
QUANTILES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


class Client(asyncio.Protocol):
    """One connection, one request on the way; those that are due wait in `waiting`."""

    def __init__(self, request: bytes, latencies: list[float], failures: list[bytes]) -> None:
        self.request, self.latencies, self.failures = request, latencies, failures
        self.waiting: deque[float] = deque()
        self.begun = 0.0
        self.received = b""
        self.idle = asyncio.Event()
        self.idle.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def due(self, moment: float) -> None:
        self.waiting.append(moment)
        if not self.begun:
            self._send()

    def _send(self) -> None:
        self.begun = self.waiting.popleft()
        self.idle.clear()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, mark, body = self.received.partition(b"\r\n\r\n")
        if not mark or len(body) < length_of(head):
            return
        self.received = b""
        self.latencies.append(time.perf_counter() - self.begun)
        if head[9:10] != b"2":
            self.failures.append(head[:15])
        self.begun = 0.0
        if self.waiting:
            self._send()
        else:
            self.idle.set()

    def connection_lost(self, failure: Exception | None) -> None:
        if self.begun:
            self.failures.append(b"connection lost")
        self.idle.set()


def length_of(head: bytes) -> int:
    found = head.lower().partition(b"content-length:")[2]
    return int(found.partition(b"\r\n")[0] or 0)


class Kind:
    """Requests of one sort: their bytes, connections, and what came of them."""

    client: type[Client] = Client

    def __init__(self, name: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        lines = [f"{key}: {value}" for key, value in {**headers, "content-length": str(len(body))}.items()]
        head = "\r\n".join([f"POST {path} HTTP/1.1", "host: localhost", *lines])
        self.name, self.request = name, f"{head}\r\n\r\n".encode() + body
        self.latencies: list[float] = []
        self.failures: list[bytes] = []
        self.clients: list[Client] = []

    async def connect(self, port: int) -> None:
        """Anew for each rate: a server closes what sends nothing for some seconds."""
        loop = asyncio.get_running_loop()
        for old in self.clients:
            old.transport.abort()

        def client() -> Client:
            return self.client(self.request, self.latencies, self.failures)

        made = [await loop.create_connection(client, "127.0.0.1", port) for _ in range(CONNECTIONS)]
        self.clients = [client for _, client in made]

    async def settle(self) -> None:
        async with asyncio.timeout(30):
            for client in self.clients:
                await client.idle.wait()

    async def highest(self, seconds: float) -> float:
        """Requests a second when each connection asks again as soon as it was answered."""
        self.latencies.clear()
        began = time.perf_counter()
        while (now := time.perf_counter()) - began < seconds:
            for client in self.clients:
                while len(client.waiting) < 64:
                    client.due(now)
            await asyncio.sleep(TICK_S)
        rate = len(self.latencies) / (time.perf_counter() - began)
        for client in self.clients:
            client.waiting.clear()
        await self.settle()
        return rate

    async def steady(self, rate: float, seconds: float) -> None:
        """Requests at their moments, to the connections in turn."""
        self.latencies.clear()
        began, sent = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - began) < seconds:
            while sent <= rate * elapsed:
                self.clients[sent % CONNECTIONS].due(began + sent / rate)
                sent += 1
            await asyncio.sleep(TICK_S)
        await self.settle()


def quantiles(latencies: Iterable[float]) -> dict[str, float]:
    """In ms, and the most."""
    ordered = sorted(latencies)
    found = {
        name: ordered[min(len(ordered) - 1, int(len(ordered) * q))] * 1e3 for name, q in QUANTILES.items()
    }
    return found | {"most": ordered[-1] * 1e3}


def generator_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def kinds_of(headers: dict[str, str]) -> tuple[Kind, Kind]:
    return (
        Kind("evaluation", "/v1/evaluate/bulk", bulk(2), headers),
        Kind("ingest of 100", INGEST_DURABLE.path, INGEST_DURABLE.body, headers),
    )


async def highest_of(kinds: Iterable[Kind], port: int, seconds: float) -> dict[str, float]:
    """Of each kind by itself."""
    found = {}
    for kind in kinds:
        await kind.connect(port)
        found[kind.name] = await kind.highest(seconds)
    print("closed: " + ", ".join(f"{name} {rate:,.0f}/s" for name, rate in found.items()), flush=True)
    return found


async def both(kinds: tuple[Kind, Kind], port: int, rates: dict[str, float], seconds: float) -> None:
    """Sends both at once. Ends the bench where one failed."""
    for kind in kinds:
        await kind.connect(port)
    await asyncio.gather(*(kind.steady(rates[kind.name], seconds) for kind in kinds))
    for kind in kinds:
        if kind.failures:
            raise SystemExit(f"{kind.name}: {len(kind.failures)} failed, the first: {kind.failures[0]!r}")


async def run(port: int, headers: dict[str, str], seconds: float) -> None:
    kinds = kinds_of(headers)
    highest = await highest_of(kinds, port, seconds / 2)
    print(f"{'both at once':32}" + "".join(f"{name:>9}" for name in [*QUANTILES, "most"]) + "  ms")
    for share in SHARES:
        before, began = generator_s(), time.perf_counter()
        rates = {name: rate * share / len(kinds) for name, rate in highest.items()}
        await both(kinds, port, rates, seconds)
        busy = (generator_s() - before) / (time.perf_counter() - began)
        for kind in kinds:
            found = quantiles(kind.latencies)
            line = f"{kind.name} at {share:.0%}, {rates[kind.name]:,.0f}/s"
            print(f"{line:32}" + "".join(f"{one:9.2f}" for one in found.values()), flush=True)
            for name, one in found.items():
                say(f"steady/{kind.name}/{share:.0%}/{name}", one, "ms")
            say(f"steady/{kind.name}/{share:.0%}/rate", rates[kind.name], "requests/s")
        print(f"  the generator took {busy:.0%} of a core", flush=True)
        say(f"steady/the generator/{share:.0%}/of a core", busy, "times")


async def compare(ports: dict[str, int], headers: dict[str, str], seconds: float, rounds: int) -> None:
    """`ports`: of servers, by what they are told apart by. Medians of the rounds."""
    kinds = kinds_of(headers)
    highest = await highest_of(kinds, next(iter(ports.values())), seconds)
    print(f"{'both at once':40}" + "".join(f"{name:>9}" for name in [*QUANTILES, "most"]) + "  ms")
    for share in SHARES:
        rates = {name: rate * share / len(kinds) for name, rate in highest.items()}
        seen: dict[tuple[str, str], list[dict[str, float]]] = {}
        for _ in range(rounds):
            for label, port in ports.items():
                await both(kinds, port, rates, seconds)
                for kind in kinds:
                    seen.setdefault((label, kind.name), []).append(quantiles(kind.latencies))
        for (label, name), found in sorted(seen.items(), key=lambda item: item[0][1]):
            line = f"{label}: {name} at {share:.0%}, {rates[name]:,.0f}/s"
            medians = (statistics.median(one[quantile] for one in found) for quantile in found[0])
            print(f"{line:40}" + "".join(f"{one:9.2f}" for one in medians), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of each rate")
    compared = parser.add_mutually_exclusive_group()
    compared.add_argument("--interfaces", choices=["asgi", "rsgi"], nargs="+", help="compare these, in turn")
    compared.add_argument("--threads", type=int, nargs="+", help="compare these, in turn")
    parser.add_argument("--workers", type=int, default=1, help="of each server")
    parser.add_argument("--rounds", type=int, default=5, help="of a comparison")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as up:
        data, headers = publish_world(Path(name), 1_000)
        told = "INTERFACE" if options.interfaces else "RUNTIME_THREADS"
        ports: dict[str, int] = {}
        for one in options.interfaces or options.threads or [0]:
            port = ports[str(one)] = free_port()
            own = Path(name) / f"data-{port}"  # one server a directory
            subprocess.run(["cp", "-r", "--sparse=always", str(data), str(own)], check=True)
            command = [*fanion(own, port, "durable"), "--workers", str(options.workers)]
            set_ = ["env", f"FANION_SERVER_{told}={one}"] if one else []
            up.enter_context(running([*set_, *command], f"http://127.0.0.1:{port}/healthz"))
        if options.interfaces or options.threads:
            uvloop.run(compare(ports, headers, options.seconds, options.rounds))
        else:
            uvloop.run(run(ports["0"], headers, options.seconds))


if __name__ == "__main__":
    main()
