"""A server of the project's own, started and ended by whoever loads it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens, none of those that the kernel gives to connections: whoever connects to
    anything meanwhile would take such a one, or be connected to itself while its server is away."""
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    outside = [*range(10_240, low), *range(high + 1, 1 << 16)] or [*range(low, high + 1)]
    found: list[int] = []
    for port in random.SystemRandom().sample(outside, len(outside)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise SystemExit(f"there are no {count} free ports outside of {low} to {high}")


def wait_until_ready(url: str, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"the server was not ready within {seconds} s")


class Server:
    """`fanion serve` on a data directory and on ports that stay the same when it is started again."""

    def __init__(self, data: Path, workers: int) -> None:
        self.port, self.operations_port = free_port(), free_port()
        place = ["--data", str(data), "--port", str(self.port), "--workers", str(workers)]
        self._command = [sys.executable, "-m", "fanion", "serve", *place]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        settings = {
            "FANION_LOG_LEVEL": "warning",
            "FANION_SERVER_OPERATIONS_PORT": str(self.operations_port),
        }
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, env=os.environ | settings)
        wait_until_ready(f"http://127.0.0.1:{self.operations_port}/readyz", self._process)

    def stop(self) -> int:
        """Its exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        status, self._process = self._process.wait(timeout=60), None
        return status
