"""Thousands of idle event streams on one worker: what they cost, and how soon a publish reaches all of them.

    python -m loadtest.streams [--streams 5000] [--seconds 30]

Opens the streams that an answer of all flags names, from one process, and prints what the worker's memory grew by
for each, what the worker takes of a core while they are idle (heartbeats come at their usual interval), when the
first, the median and the last of them heard of a publish, counted from before it was begun, and how long a SIGTERM
took until the last had ended. Before it, the same of as many streams of a do-nothing app on the same server, which
are opened and never told anything (`python -m bench.nothing --stream`).

What it can't show: slow networks, proxies, clients on other machines; the client's own work, which the last figure
of a publish contains, shares the cores. Needs as many file descriptors on both sides.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.data import world
from bench.http_ratio import KEY
from fanion import app
from fanion.config import Config
from fanion.definitions import load
from fanion.dialects import vocabulary
from loadtest.serving import free_port, wait_until_ready

OPENED_AT_ONCE = 100
SETTLE_S = 2.0
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") / 1024


class Worker:
    """A process, looked at from outside."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def kilobytes(self) -> float:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_KB

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def share(self, seconds: float) -> float:
        """Of a core, over some seconds."""
        before, begun = self.cpu_s(), time.monotonic()
        time.sleep(seconds)
        return (self.cpu_s() - before) / (time.monotonic() - begun)


def worker_of(server: int) -> Worker:
    """The first child that serves: the supervisor forks its workers before the operations process."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return Worker(int(children[0]))


class Streams:
    """Open streams of one address."""

    def __init__(self, port: int, path: str) -> None:
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        self._port = port
        self._selector = selectors.DefaultSelector()
        self.open: set[socket.socket] = set()

    def add(self, count: int) -> None:
        """Opens so many, and reads the beginning of each."""
        while count > 0:
            made = []
            for _ in range(min(count, OPENED_AT_ONCE)):
                connection = socket.create_connection(("127.0.0.1", self._port), timeout=30)
                connection.sendall(self._request)
                made.append(connection)
            for connection in made:
                head = connection.recv(65_536)
                assert head.startswith(b"HTTP/1.1 200 "), head
                connection.setblocking(False)
                self._selector.register(connection, selectors.EVENT_READ)
                self.open.add(connection)
            count -= len(made)

    def drain(self) -> None:
        """Reads what lies there."""
        while self._read(0):
            pass

    def wait_for(self, word: bytes, timeout_s: float = 120) -> list[float]:
        """When each stream had the word, or its end where the word is empty: monotonic seconds."""
        waiting, heard = set(self.open), []
        ends = time.monotonic() + timeout_s
        while waiting and time.monotonic() < ends:
            for connection, received in self._read(0.05):
                if connection in waiting and (word in received if word else not received):
                    waiting.discard(connection)
                    heard.append(time.monotonic())
        assert not waiting, f"{len(waiting)} streams heard nothing within {timeout_s} s"
        return heard

    def _read(self, timeout_s: float) -> list[tuple[socket.socket, bytes]]:
        found = []
        for key, _ in self._selector.select(timeout_s):
            connection: Any = key.fileobj
            try:
                received = connection.recv(65_536)
            except OSError:
                received = b""
            if not received:
                self._selector.unregister(connection)
            found.append((connection, received))
        return found

    def close(self) -> None:
        for connection in self.open:
            connection.close()
        self._selector.close()


def cost(worker: Worker, port: int, path: str, count: int, seconds: float) -> tuple[Streams, str]:
    """The open streams, and what they cost."""
    warm = Streams(port, path)
    warm.add(OPENED_AT_ONCE)
    warm.close()
    time.sleep(SETTLE_S)
    before = worker.kilobytes()
    streams = Streams(port, path)
    begun = time.monotonic()
    streams.add(count)
    opened_s = time.monotonic() - begun
    time.sleep(SETTLE_S)
    each = (worker.kilobytes() - before) / count
    share = worker.share(seconds)
    return streams, f"{each:.1f} KB each, {share:.2%} of a core idle, opened in {opened_s:.1f} s"


def definitions(changed: bool) -> str:
    document = world(10)
    environments = document["organisations"]["org_bench"]["projects"]["bench"]["environments"]
    environments["production"] = {"id": "env_streams", "keys": [{"key": KEY, "name": "streams"}]}
    flags = document["organisations"]["org_bench"]["projects"]["bench"]["flags"]
    if changed:
        flags["another"] = {"type": "boolean", "default_value": True}
    return json.dumps(document)


def address(port: int) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/ofrep/v1/evaluate/flags", b"{}", {"Authorization": f"Bearer {KEY}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        path: str = json.load(answer)["eventStreams"][0]["endpoint"]["requestUri"]
    return path


@contextlib.contextmanager
def fanion(work: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port, operations_port = free_port(), free_port()
    settings = {"FANION_LOG_LEVEL": "warning", "FANION_SERVER_OPERATIONS_PORT": str(operations_port)}
    serve = [sys.executable, "-m", "fanion", "serve", "--data", str(work / "data"), "--port", str(port)]
    server = subprocess.Popen(
        [*serve, "--workers", "1"], stdout=subprocess.DEVNULL, env=os.environ | settings
    )
    try:
        wait_until_ready(f"http://127.0.0.1:{operations_port}/readyz", server)
        yield server, port
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def publish(work: Path, changed: bool) -> None:
    path = work / "world.json"
    path.write_text(definitions(changed))
    app.publish(work / "data", load([path], vocabulary()), Config())


def run_fanion(count: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        publish(work, changed=False)
        with fanion(work) as (server, port):
            worker = worker_of(server.pid)
            streams, told = cost(worker, port, address(port), count, seconds)
            print(f"fanion, {count} streams: {told}")
            streams.drain()
            cpu_s, begun = worker.cpu_s(), time.monotonic()
            publishing = threading.Thread(target=publish, args=(work, True))
            publishing.start()
            heard = sorted(when - begun for when in streams.wait_for(b"refetchEvaluation"))
            publishing.join()
            print(
                f"a publish was heard after {heard[0]:.2f} s by the first, {statistics.median(heard):.2f} by the "
                f"median, {heard[-1]:.2f} by the last; the worker took {worker.cpu_s() - cpu_s:.2f} s of a core"
            )
            begun = time.monotonic()
            server.send_signal(signal.SIGTERM)
            ended = max(streams.wait_for(b"")) - begun
            status = server.wait(timeout=120)
            print(
                f"SIGTERM: the last stream ended after {ended:.2f} s, the server after "
                f"{time.monotonic() - begun:.2f} s with status {status}"
            )
            streams.close()


def run_nothing(count: int, seconds: float) -> None:
    port = free_port()
    with tempfile.NamedTemporaryFile() as answer:
        answer.write(b"retry: 1000\nid: 00112233445566778899aabbccddeeff\n\n")
        answer.flush()
        command = [
            sys.executable,
            "-m",
            "bench.nothing",
            "--port",
            str(port),
            "--answer",
            answer.name,
            "--stream",
        ]
        server = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == b"ready\n"
            streams, told = cost(worker_of(server.pid), port, "/", count, seconds)
            print(f"a do-nothing app, {count} streams: {told}")
            streams.close()
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=30)
            server.stdout.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    run_nothing(arguments.streams, arguments.seconds)
    run_fanion(arguments.streams, arguments.seconds)


if __name__ == "__main__":
    main()
