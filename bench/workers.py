"""Requests a second and CPU a request against the number of workers: `python -m bench.workers [--workers 1 2 4]`.

Fanion and the do-nothing app, once for each number, are asked in turn for Feather's bulk of 2 by one `wrk` (32
connections), which shares the cores with them. Needs `wrk`.
What it can't show: more workers than the machine has cores for, beside the generator.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.figures import say
from bench.http_ratio import (
    CASES,
    drive,
    fanion,
    free_port,
    nothing,
    post,
    post_script,
    publish_world,
    running,
)
from bench.ofrep_ratio import Side, cpu_s

CASE = CASES[0]


def measure(work: Path, workers: int, rounds: int, seconds: int) -> dict[str, list[Side]]:
    """Of Fanion and the do-nothing app, by name."""
    data, headers = publish_world(work, 1_000)
    ports = {"fanion": free_port(), "nothing": free_port()}
    urls = {name: f"http://127.0.0.1:{port}{CASE.path}" for name, port in ports.items()}
    script, many = work / "request.lua", ["--workers", str(workers)]
    script.write_text(post_script(CASE.body, headers))
    with ExitStack() as up:
        healthy = f"http://127.0.0.1:{ports['fanion']}/healthz"
        pids = {
            "fanion": up.enter_context(running([*fanion(data, ports["fanion"], "durable"), *many], healthy))
        }
        status, answer = post(ports["fanion"], CASE, headers)
        (work / "answer").write_bytes(answer)
        other = [*nothing(ports["nothing"], work / "answer", status), *many]
        pids["nothing"] = up.enter_context(running(other, f"http://127.0.0.1:{ports['nothing']}/"))
        for name in ports:
            drive(name, urls[name], script, 1)
        sides: dict[str, list[Side]] = {name: [] for name in ports}
        for _ in range(rounds):
            for name in ports:
                before = cpu_s(pids[name])
                driven = drive(name, urls[name], script, seconds)
                took_us = (cpu_s(pids[name]) - before) / (driven.rate * seconds) * 1e6
                sides[name].append(Side(driven.rate, took_us))
        return sides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("this needs wrk, the HTTP load generator, on the PATH")
    print(f"{'workers':>8}{'':10}{'/s':>10}{'CPU us':>9}")
    for workers in options.workers:
        with tempfile.TemporaryDirectory() as name:
            sides = measure(Path(name), workers, options.rounds, options.seconds)
        for program, found in sides.items():
            rate, cpu = (statistics.median(values) for values in zip(*found, strict=True))
            print(f"{workers:8}  {program:8}{rate:10,.0f}{cpu:9.1f}", flush=True)
            say(f"workers/{workers}/{program}/rate", rate, "requests/s")
            say(f"workers/{workers}/{program}/cpu", cpu, "us")


if __name__ == "__main__":
    main()
