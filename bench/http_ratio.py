"""Requests a second of Fanion beside the do-nothing app, interleaved on one machine; prints the ratios.

`python -m bench.http_ratio [--rounds 7] [--seconds 3]` needs `wrk`. Each case starts Fanion and the do-nothing
app with one worker each, drives them in turn, A B A B, and prints medians and the median of the pairwise ratios
beside the target. The do-nothing app sends the bytes that Fanion answered. BENCH_PIN=1 keeps the server on
one core and wrk on another.

What it can't show: latency under an open load, more than one worker, clients that keep no connection.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.data import ENVIRONMENT, flag_key, world

KEY = "sk_bench_server_key"
CONNECTIONS = 32
PINNED = os.environ.get("BENCH_PIN") == "1"
"""Server on core 0, wrk on core 1. Then all that a server does besides its event loop counts against it too."""


class Case(NamedTuple):
    """One row of the target table."""

    name: str
    target: float
    path: str
    body: bytes
    ack: str = "durable"


def bulk(count: int) -> bytes:
    context = {"userId": "user_123", "attributes": {"country": "DE", "plan": "pro"}}
    flags = [flag_key(n * 7) for n in range(count)]
    return json.dumps({"flags": flags, "context": context}, separators=(",", ":")).encode()


def batch(count: int) -> bytes:
    event = {
        "flagKey": flag_key(1),
        "flagId": "flag_000001",
        "environmentId": ENVIRONMENT,
        "orgId": "org_bench",
        "value": True,
        "reason": "ROLLOUT",
        "ruleId": "rule-half",
        "userIdHash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "sdkType": "server",
        "sdkVersion": "1.0.0",
        "evaluatedAt": "2026-11-21T10:00:00.000Z",
    }
    return json.dumps({"events": [event] * count}, separators=(",", ":")).encode()


CASES = [
    Case("bulk, 2 flags", 0.95, "/v1/evaluate/bulk", bulk(2)),
    Case("bulk, 100 flags", 0.85, "/v1/evaluate/bulk", bulk(100)),
    Case("ingest of 100, durable", 0.50, "/v1/telemetry/events", batch(100)),
    Case("ingest of 100, buffered", 0.50, "/v1/telemetry/events", batch(100), ack="buffered"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(arguments: list[str], url: str) -> Iterator[None]:
    """A server process, up before and gone after."""
    pin = ["taskset", "-c", "0"] if PINNED else []
    log = {"FANION_LOG_LEVEL": "warning"}
    process = subprocess.Popen(
        [*pin, sys.executable, *arguments], stdout=subprocess.DEVNULL, env=os.environ | log
    )
    try:
        for _ in range(200):
            time.sleep(0.05)
            try:
                urllib.request.urlopen(url, timeout=1).close()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit(f"{arguments} ended with {process.returncode}") from None
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def ask(port: int, case: Case) -> tuple[int, bytes]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{case.path}",
        case.body,
        {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as response:
        return response.status, response.read()


def drive(port: int, case: Case, script: Path, seconds: int) -> float:
    """Requests a second by wrk. Any answer that is no success ends the run."""
    pin = ["taskset", "-c", "1"] if PINNED else []
    command = [*pin, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script)]
    done = subprocess.run([*command, f"http://127.0.0.1:{port}{case.path}"], capture_output=True, text=True)
    if done.returncode or "Non-2xx" in done.stdout:
        raise SystemExit(f"{case.name}: {done.stdout}{done.stderr}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def measure(case: Case, data: Path, work: Path, rounds: int, seconds: int) -> dict[str, Any]:
    ports = free_port(), free_port()
    script = work / "request.lua"
    quoted = case.body.decode().replace("]]", "] ]")
    script.write_text(
        f'wrk.method = "POST"\nwrk.body = [[{quoted}]]\n'
        f'wrk.headers["Authorization"] = "Bearer {KEY}"\nwrk.headers["Content-Type"] = "application/json"\n'
    )
    serve = ["-m", "fanion", "serve", "--data", str(data), "--port", str(ports[0]), "--workers", "1"]
    with running([*serve, "--ack", case.ack], f"http://127.0.0.1:{ports[0]}/healthz"):
        status, answer = ask(ports[0], case)
        (work / "answer").write_bytes(answer)
        nothing = ["-m", "bench.nothing", "--port", str(ports[1]), "--answer", str(work / "answer")]
        with running([*nothing, "--status", str(status)], f"http://127.0.0.1:{ports[1]}/"):
            for port in ports:
                drive(port, case, script, 1)
            pairs = [
                (drive(ports[0], case, script, seconds), drive(ports[1], case, script, seconds))
                for _ in range(rounds)
            ]
    return {
        "case": case.name,
        "fanion": statistics.median(p[0] for p in pairs),
        "nothing": statistics.median(p[1] for p in pairs),
        "ratio": statistics.median(p[0] / p[1] for p in pairs),
        "target": case.target,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--flags", type=int, default=1_000)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("this needs wrk, the HTTP load generator, on the PATH")
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        definitions = world(arguments.flags)
        environments = definitions["organisations"]["org_bench"]["projects"]["bench"]["environments"]
        environments["production"]["keys"] = [{"key": KEY, "kind": "server", "name": "bench"}]
        (work / "world.json").write_text(json.dumps(definitions))
        data = work / "data"
        publish = [sys.executable, "-m", "fanion", "publish", str(work / "world.json"), "--data", str(data)]
        subprocess.run(publish, check=True, stdout=subprocess.DEVNULL)
        print(f"{'case':28}{'fanion/s':>12}{'nothing/s':>12}{'ratio':>8}{'target':>8}")
        for case in CASES:
            row = measure(case, data, work, arguments.rounds, arguments.seconds)
            figures = f"{row['fanion']:12,.0f}{row['nothing']:12,.0f}{row['ratio']:8.2f}{row['target']:8.2f}"
            print(f"{row['case']:28}{figures}", flush=True)


if __name__ == "__main__":
    main()
