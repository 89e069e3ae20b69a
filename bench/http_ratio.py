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
import math
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.data import ENVIRONMENT, flag_key, world
from bench.figures import say

KEY = "sk_bench_server_key"
CONNECTIONS = 32
REFUSED_SHARE = 0.05
"""Of the answers, at most. With `ack = "buffered"` it may be any: events come faster than the disk takes them, the
ring sheds what it can't hold, and what it took is what counts."""
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


INGEST_DURABLE = Case("ingest of 100, durable", 0.50, "/v1/telemetry/events", batch(100))
INGEST_BUFFERED = Case("ingest of 100, buffered", 0.50, "/v1/telemetry/events", batch(100), ack="buffered")
CASES = [
    Case("bulk, 2 flags", 0.95, "/v1/evaluate/bulk", bulk(2)),
    Case("bulk, 100 flags", 0.85, "/v1/evaluate/bulk", bulk(100)),
    INGEST_DURABLE,
    INGEST_BUFFERED,
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], url: str, *, pinned: bool = PINNED) -> Iterator[int]:
    """A server's process id; up before and gone after."""
    pin = ["taskset", "-c", "0"] if pinned else []
    settings = {"FANION_LOG_LEVEL": "warning", "FANION_SERVER_OPERATIONS_PORT": "0"}
    process = subprocess.Popen([*pin, *command], stdout=subprocess.DEVNULL, env=os.environ | settings)
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
                    raise SystemExit(f"{command} ended with {process.returncode}") from None
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def fanion(data: Path, port: int, ack: str) -> list[str]:
    """The command of a server with one worker."""
    place = ["--data", str(data), "--port", str(port), "--workers", "1", "--ack", ack]
    return [sys.executable, "-m", "fanion", "serve", *place]


def nothing(port: int, answer: Path, status: int) -> list[str]:
    """The command of the do-nothing app. `answer`: a file with its bytes."""
    told = ["--port", str(port), "--answer", str(answer), "--status", str(status)]
    return [sys.executable, "-m", "bench.nothing", *told]


class Driven(NamedTuple):
    """What wrk saw: requests a second, and the 99.9th percentile in ms (NaN unless its script prints `p99.9 N`)."""

    rate: float
    tail_ms: float


class Row(NamedTuple):
    """Medians over the rounds; `ratio` is that of the pairs, `tail_ms` Fanion's."""

    fanion: float
    nothing: float
    ratio: float
    tail_ms: float


def drive(
    name: str,
    url: str,
    script: Path,
    seconds: int,
    *,
    pinned: bool = PINNED,
    refused_max: float = REFUSED_SHARE,
) -> Driven:
    """One run of wrk. Refused requests don't count; more than `refused_max` of them end the whole bench."""
    pin = ["taskset", "-c", "1"] if pinned else []
    command = [*pin, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    total = re.search(r"(\d+) requests in", done.stdout)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    share = int(refused[1]) / int(total[1]) if refused and total else 0.0
    if done.returncode or rate is None or share > refused_max:
        raise SystemExit(f"{done.stdout}{done.stderr}{name}: {share:.1%} refused")
    tail = re.search(r"p99\.9 ([\d.]+)", done.stdout)
    return Driven(float(rate[1]) * (1 - share), float(tail[1]) if tail else math.nan)


def compare(
    name: str,
    path: str,
    ask: Callable[[int], tuple[int, bytes]],
    request: str,
    data: Path,
    work: Path,
    *,
    rounds: int,
    seconds: int,
    ack: str = "durable",
) -> Row:
    """Fanion on `data` and the do-nothing app in turn. `ask(port)` gives status and body of one answer, which the
    do-nothing app repeats; `request` is the wrk script that sends the same."""
    ports = free_port(), free_port()
    urls = [f"http://127.0.0.1:{port}{path}" for port in ports]
    script = work / "request.lua"
    script.write_text(request)
    with running(fanion(data, ports[0], ack), f"http://127.0.0.1:{ports[0]}/healthz"):
        status, answer = ask(ports[0])
        (work / "answer").write_bytes(answer)
        with running(nothing(ports[1], work / "answer", status), f"http://127.0.0.1:{ports[1]}/"):
            most = 1.0 if ack == "buffered" else REFUSED_SHARE
            for url in urls:
                drive(name, url, script, 1, refused_max=most)
            pairs = [
                [drive(name, url, script, seconds, refused_max=most) for url in urls] for _ in range(rounds)
            ]
    return Row(
        statistics.median(ours.rate for ours, _ in pairs),
        statistics.median(theirs.rate for _, theirs in pairs),
        statistics.median(ours.rate / theirs.rate for ours, theirs in pairs),
        statistics.median(ours.tail_ms for ours, _ in pairs),
    )


def post_script(body: bytes, headers: dict[str, str]) -> str:
    """A wrk script that posts this body with these headers."""
    lines = [f'wrk.headers["{name}"] = [[{value}]]' for name, value in headers.items()]
    return "\n".join(['wrk.method = "POST"', f"wrk.body = [[{body.decode()}]]", *lines]) + "\n"


def post(port: int, case: Case, headers: dict[str, str]) -> tuple[int, bytes]:
    """Status and body of one answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{case.path}", case.body, headers)
    with urllib.request.urlopen(request, timeout=5) as response:
        return response.status, response.read()


def measure(case: Case, headers: dict[str, str], data: Path, work: Path, *, rounds: int, seconds: int) -> Row:
    """A case that posts a body."""
    return compare(
        case.name,
        case.path,
        lambda port: post(port, case, headers),
        post_script(case.body, headers),
        data,
        work,
        rounds=rounds,
        seconds=seconds,
        ack=case.ack,
    )


def print_rows(
    cases: list[Case],
    headers: dict[str, str],
    data: Path,
    work: Path,
    *,
    rounds: int,
    seconds: int,
    said: bool = True,
) -> dict[str, Row]:
    """The table of cases that post a body; its rows by name. `said`: they are what is measured."""
    print(f"{'case':28}{'fanion/s':>12}{'nothing/s':>12}{'ratio':>8}{'target':>8}")
    rows = {}
    for case in cases:
        row = rows[case.name] = measure(case, headers, data, work, rounds=rounds, seconds=seconds)
        figures = f"{row.fanion:12,.0f}{row.nothing:12,.0f}{row.ratio:8.2f}{case.target:8.2f}"
        print(f"{case.name:28}{figures}", flush=True)
        if said:
            report(case.name, row)
    return rows


def report(case: str, row: Row, *, pinned: bool = PINNED) -> None:
    name = f"http/{'pinned' if pinned else 'shared'}/{case}"
    say(f"{name}/rate", row.fanion, "requests/s")
    say(f"{name}/of nothing", row.ratio, "times")
    if not math.isnan(row.tail_ms):
        say(f"{name}/p99.9", row.tail_ms, "ms")


def publish_world(work: Path, flags: int) -> tuple[Path, dict[str, str]]:
    """A data directory in `work` with one environment, and the headers of a request to it."""
    definitions = world(flags)
    environments = definitions["organisations"]["org_bench"]["projects"]["bench"]["environments"]
    environments["production"]["keys"] = [{"key": KEY, "kind": "server", "name": "bench"}]
    (work / "world.json").write_text(json.dumps(definitions))
    data = work / "data"
    publish = [sys.executable, "-m", "fanion", "publish", str(work / "world.json"), "--data", str(data)]
    subprocess.run(publish, check=True, stdout=subprocess.DEVNULL)
    return data, {"authorization": f"Bearer {KEY}", "content-type": "application/json"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--flags", type=int, default=1_000)
    parser.add_argument("--ingest", action="store_true", help="its two cases alone")
    arguments = parser.parse_args()
    cases = [INGEST_DURABLE, INGEST_BUFFERED] if arguments.ingest else CASES
    if shutil.which("wrk") is None:
        raise SystemExit("this needs wrk, the HTTP load generator, on the PATH")
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        data, headers = publish_world(work, arguments.flags)
        print_rows(cases, headers, data, work, rounds=arguments.rounds, seconds=arguments.seconds)


if __name__ == "__main__":
    main()
