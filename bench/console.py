"""What a console that people look at costs those who ask for flags: `python -m bench.console`.

One server of one worker answers bulk requests of two flags as fast as `wrk` asks, in turn with nobody at the
console and with its page of the present, which asks anew every two seconds, open in ten browsers. Printed are, of
each kind, the worker's CPU µs a request, the median, least and most of the rounds, and what of a core the process
of operations took. Needs `wrk`, node with playwright-core and a browser, the latter two as `.ci/run` names them.

What it can't show: more cores than the browsers take; they run on the same machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from bench.figures import say
from bench.http_ratio import bulk, drive, free_port, post_script, publish_world
from bench.ofrep_ratio import cpu_s

BROWSERS: Final = 10
OPERATIONS: Final = "fanion-operatio"
"""What the system keeps of the process's name."""
TARGET_SHARE: Final = 0.10


@contextmanager
def serving(data: Path, port: int, operations: int) -> Iterator[tuple[int, int]]:
    """The process ids of the worker and of the operations process."""
    place = ["--data", str(data), "--port", str(port), "--workers", "1"]
    settings = {"FANION_LOG_LEVEL": "warning", "FANION_SERVER_OPERATIONS_PORT": str(operations)}
    command = [sys.executable, "-m", "fanion", "serve", *place]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | settings)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{operations}/readyz", timeout=1) as answer:
                    (worker,) = [one["pid"] for one in msgspec.json.decode(answer.read())["workers"]]
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("the server doesn't get ready") from None
                time.sleep(0.1)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        names = {Path(f"/proc/{child}/comm").read_text().strip(): int(child) for child in children}
        yield int(worker), names[OPERATIONS]
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def looking(url: str) -> Iterator[None]:
    """Ten browsers that have the page open."""
    program = str(Path(__file__).with_name("console_open.mjs"))
    given = [os.environ["CONSOLE_NODE_MODULES"], os.environ["OPENFEATURE_BROWSER"], url, str(BROWSERS)]
    with subprocess.Popen(
        ["node", program, *given], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"open\n":
            raise SystemExit("the browsers can't open the console")
        yield


def measure(work: Path, rounds: int, seconds: int) -> None:
    port, operations = free_port(), free_port()
    script = work / "request.lua"
    data, headers = publish_world(work, 1_000)
    script.write_text(post_script(bulk(2), headers))
    url = f"http://127.0.0.1:{port}/v1/evaluate/bulk"
    took: dict[str, list[float]] = {"closed": [], "open": []}
    shares: dict[str, list[float]] = {"closed": [], "open": []}

    with serving(data, port, operations) as (worker, beside):

        def round_of(kind: str) -> None:
            before, aside, began = cpu_s(worker), cpu_s(beside), time.monotonic()
            driven = drive(kind, url, script, seconds)
            took[kind].append((cpu_s(worker) - before) / (driven.rate * seconds) * 1e6)
            shares[kind].append((cpu_s(beside) - aside) / (time.monotonic() - began))

        drive("warm", url, script, 1)
        for _ in range(rounds):
            round_of("closed")
            with looking(f"http://127.0.0.1:{operations}/console/now"):
                round_of("open")
        round_of("closed")

    for kind, found in took.items():
        middle, share = statistics.median(found), statistics.median(shares[kind])
        print(
            f"{kind:7} worker {middle:6.1f} µs a request ({min(found):.1f} to {max(found):.1f}),"
            f" operations {share:.1%} of a core (at most {max(shares[kind]):.1%})"
        )
        say(f"console/{kind}/worker", middle, "µs")
        say(f"console/{kind}/operations", share, "of a core")
    print(f"targets: open within closed's least and most; operations at most {TARGET_SHARE:.0%} of a core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    arguments = parser.parse_args()
    for tool in ("wrk", "node"):
        if shutil.which(tool) is None:
            raise SystemExit(f"this needs {tool} on the PATH")
    for name in ("CONSOLE_NODE_MODULES", "OPENFEATURE_BROWSER"):
        if not os.environ.get(name):
            raise SystemExit(f"this needs {name} in the environment, as .ci/run sets it")
    with tempfile.TemporaryDirectory() as directory:
        measure(Path(directory), arguments.rounds, arguments.seconds)


if __name__ == "__main__":
    main()
