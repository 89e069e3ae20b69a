"""`python -m bench.footprint`: what a worker keeps for itself, and how soon a new server answers.

Memory: `--flags` flags (50,000), the private memory of one more worker after it has answered, less that of one
more worker of the do-nothing app. Start: `fanion serve --demo` in an empty folder until its flags are answered.
What it can't show: memory under a load, or after hours of it (`loadtest.soak`).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from bench.figures import say
from bench.http_ratio import CASES, Case, fanion, free_port, nothing, post, publish_world, running

ASKED = 200
"""Requests, each on a connection of its own, so that each of a few workers has answered some."""


def below(pid: int) -> list[int]:
    """All processes below one: of a server workers, and those that accept no connections."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [one for child in children for one in below(child)]


def private_kb(pid: int) -> int:
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith(("Private_Dirty:", "Private_Clean:")))


def all_private_mb(command: list[str], url: str, port: int, case: Case, headers: dict[str, str]) -> float:
    """Of a server and all below it, after it has answered."""
    with running(command, url) as pid:
        for _ in range(ASKED):
            post(port, case, headers)
        return sum(private_kb(one) for one in [pid, *below(pid)]) / 1024


def extra_worker_mb(work: Path, flags: int) -> tuple[float, float]:
    """What the third and fourth worker add, halved: Fanion's, the do-nothing app's."""
    data, headers = publish_world(work, flags)
    case = CASES[0]
    found = []
    for kind in ("fanion", "nothing"):
        taken = []
        for workers in (2, 4):
            port = free_port()
            if kind == "fanion":
                command = [*fanion(data, port, "durable"), "--workers", str(workers)]
                url = f"http://127.0.0.1:{port}/healthz"
            else:
                (work / "answer").write_bytes(b"{}")
                command = [*nothing(port, work / "answer", 200), "--workers", str(workers)]
                url = f"http://127.0.0.1:{port}/"
            taken.append(all_private_mb(command, url, port, case, headers))
        found.append((taken[1] - taken[0]) / 2)
    return found[0], found[1]


def first_answer_s(folder: Path) -> float:
    """From the command's begin until a flag of the demo world is answered."""
    port = free_port()
    serve = [sys.executable, "-m", "fanion", "serve", "--demo", "--port", str(port)]
    settings = {"FANION_LOG_LEVEL": "warning", "FANION_SERVER_OPERATIONS_PORT": "0", "TMPDIR": str(folder)}
    body = json.dumps({"context": {"targetingKey": "user_123"}}).encode()
    began = time.monotonic()
    server = subprocess.Popen(serve, stdout=subprocess.DEVNULL, env=os.environ | settings)
    try:
        while time.monotonic() - began < 30:
            try:
                asked = urllib.request.Request(f"http://127.0.0.1:{port}/ofrep/v1/evaluate/flags", body)
                asked.add_header("authorization", "Bearer ofrep_demo_server")
                urllib.request.urlopen(asked, timeout=1).close()
                return time.monotonic() - began
            except urllib.error.HTTPError as refusal:
                raise SystemExit(f"the demo answers {refusal.code}") from None
            except OSError:
                time.sleep(0.005)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=20)
    raise SystemExit("the demo didn't answer within 30 s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flags", type=int, default=50_000)
    parser.add_argument("--starts", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ours, theirs = extra_worker_mb(Path(name), options.flags)
    print(
        f"one more worker, {options.flags:,} flags: {ours:.1f} MB private, the do-nothing app's {theirs:.1f}"
    )
    say("footprint/extra worker above nothing", ours - theirs, "MB")
    starts = []
    for _ in range(options.starts):
        with tempfile.TemporaryDirectory() as name:
            starts.append(first_answer_s(Path(name)))
    print("first answer of the demo after", ", ".join(f"{one:.2f}" for one in starts), "s")
    say("footprint/first answer", statistics.median(starts), "s")


if __name__ == "__main__":
    main()
