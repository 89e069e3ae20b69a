"""A short locust run against a demo server of its own; exits 1 when any request failed.

`python -m loadtest.smoke [--seconds 15] [--users 30]`
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(url: str, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--users", type=int, default=30)
    arguments = parser.parse_args()
    port, operations_port = free_port(), free_port()
    base = f"http://127.0.0.1:{port}"
    serve = [sys.executable, "-m", "fanion", "serve", "--demo", "--port", str(port)]
    settings = {"FANION_LOG_LEVEL": "warning", "FANION_SERVER_OPERATIONS_PORT": str(operations_port)}
    server = subprocess.Popen(serve, stdout=subprocess.DEVNULL, env=os.environ | settings)
    try:
        wait_until_ready(f"http://127.0.0.1:{operations_port}/readyz", server)
        locust = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py"))]
        users = ["-u", str(arguments.users), "-r", str(arguments.users), "-t", f"{arguments.seconds}s"]
        command = [*locust, "--headless", *users, "-H", base, "--json", "--loglevel", "WARNING"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=arguments.seconds + 60)
    finally:
        server.send_signal(signal.SIGTERM)
        stopped = server.wait(timeout=20)
    rows = json.loads(done.stdout[done.stdout.index("[") :])
    requests = sum(row["num_requests"] for row in rows)
    failures = sum(row["num_failures"] for row in rows)
    print(f"{requests} requests, {failures} failed, server exit {stopped}")
    if failures or not requests or stopped:
        sys.stderr.write(done.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
