"""OFREP beside the do-nothing app and beside Node, interleaved on one machine: requests a second, CPU a request.

`python -m bench.ofrep_ratio [--rounds 5] [--seconds 3]` needs `wrk`, `node`, `npm` and FLAGD_NODE_MODULES, a folder
in which npm installed `@openfeature/flagd-core`. Fanion (one worker) and Node (`bench/ofrep_node.mjs`, once around
flagd's published evaluator, once around GrowthBook's SDK of `bench.engines`) read the same definitions and have to
give the same answers; the do-nothing app sends the bytes that Fanion sent. Each round drives all four in turn.
First server and wrk share the cores, then (`pinned`) the server has core 0 and wrk core 1. CPU is what all
processes and threads of a server took, in µs a request.

What it can't show: more than one worker, clients that keep no connection, rules that compute values.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from bench.engines.environments import ENGINES
from bench.http_ratio import Case, drive, fanion, free_port, nothing, post, post_script, running

KEY = "ofrep_bench_key"
FLAGS = "/ofrep/v1/evaluate/flags"
CONTEXT = {
    "targetingKey": "user_123",
    "country": "DE",
    "plan": "pro",
    "email": "a@b.example",
    "version": "2.4.1",
}
BODY = json.dumps({"context": CONTEXT}, separators=(",", ":")).encode()
SERVERS = ("fanion", "nothing", "node", "growthbook")
WARM_UP_S = 2


class Side(NamedTuple):
    """What one server did in one round."""

    rate: float
    cpu_us: float


def definitions(flags: int) -> dict[str, Any]:
    """flagd's: a third constant, a third with a rule, a third with a rule and a split; four types in turn."""
    values = (
        {"on": True, "off": False},
        {"on": "new", "off": "old"},
        {"on": 1.5, "off": 0.5},
        {"on": {"a": 1}, "off": {}},
    )
    german = {"in": [{"var": "country"}, ["DE", "AT", "CH"]]}
    paying = {"==": [{"var": "plan"}, "pro"]}
    half = {"fractional": [["on", 50], ["off", 50]]}
    rules: tuple[dict[str, Any], ...] = (
        {},
        {"if": [{"and": [german, paying]}, "on", "off"]},
        {"if": [{"and": [german, paying]}, half, "off"]},
    )
    return {
        "flags": {
            f"flag-{number}": {
                "state": "ENABLED",
                "variants": values[number % 4],
                "defaultVariant": "off",
                "targeting": rules[number % 3],
            }
            for number in range(flags)
        },
        "metadata": {"fractional": "v2"},
    }


def publish(work: Path, flags: int) -> Path:
    """Writes the definitions and publishes them; the data directory."""
    (work / "flags.flagd.json").write_text(json.dumps(definitions(flags)))
    source = {"format": "flagd", "path": "flags.flagd.json"}
    environment = {
        "id": "env_bench",
        "dialects": ["ofrep"],
        "keys": [{"key": f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"}],
        "sources": [source],
    }
    project = {"environments": {"production": environment}}
    world = {"fanion": 1, "organisations": {"org_bench": {"projects": {"bench": project}}}}
    (work / "world.json").write_text(json.dumps(world))
    command = [
        sys.executable,
        "-m",
        "fanion",
        "publish",
        str(work / "world.json"),
        "--data",
        str(work / "data"),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return work / "data"


def headers(etag: str | None = None) -> dict[str, str]:
    sent = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    return sent if etag is None else {**sent, "if-none-match": etag}


def compared(answer: bytes) -> Any:
    """What Fanion and Node have to agree in: flags by key, without metadata."""
    document = json.loads(answer)
    found = document.get("flags", [document])
    return {one["key"]: (one["value"], one["variant"], one["reason"]) for one in found}


def cpu_s(pid: int) -> float:
    """What a process and all below it took."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    took = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return took + sum(cpu_s(int(child)) for child in children)


def tag(port: int) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{FLAGS}", BODY, headers())
    with urllib.request.urlopen(request, timeout=5) as response:
        etag: str = response.headers["etag"]
        return etag


def measure(
    case: Case, data: Path, work: Path, *, rounds: int, seconds: int, pinned: bool
) -> dict[str, list[Side]]:
    """Each server's rounds. The case 304 sends each server its own tag."""
    ports = {name: free_port() for name in SERVERS}
    urls = {name: f"http://127.0.0.1:{port}{case.path}" for name, port in ports.items()}
    unchanged = case.name == "304"
    with ExitStack() as up:
        pids = {}
        for name in ("fanion", "node", "growthbook"):
            if name == "fanion":
                command = fanion(data, ports[name], "durable")
            else:
                command = node(work, ports[name], name, ports["fanion"])
            pids[name] = up.enter_context(running(command, urls[name], pinned=pinned))
        status, answer = agreed(case, ports)
        (work / "answer").write_bytes(b"" if unchanged else answer)
        command = nothing(ports["nothing"], work / "answer", 304 if unchanged else status)
        pids["nothing"] = up.enter_context(running(command, urls["nothing"], pinned=pinned))
        scripts = {name: work / f"{name}.lua" for name in SERVERS}
        for name, script in scripts.items():
            asked = ports["fanion" if name == "nothing" else name]
            script.write_text(post_script(case.body, headers(tag(asked) if unchanged else None)))

        def drive_one(name: str, length: int) -> Side:
            before = cpu_s(pids[name])
            driven = drive(f"{case.name}, {name}", urls[name], scripts[name], length, pinned=pinned)
            return Side(driven.rate, (cpu_s(pids[name]) - before) / (driven.rate * length) * 1e6)

        for name in SERVERS:
            drive_one(name, WARM_UP_S)
        sides: dict[str, list[Side]] = {name: [] for name in SERVERS}
        for _ in range(rounds):
            for name in SERVERS:
                sides[name].append(drive_one(name, seconds))
        return sides


def node(work: Path, port: int, engine: str, fanion_port: int) -> list[str]:
    """The command of OFREP in Node: around flagd's evaluator (`node`), or `growthbook`. Fanion is up already: it
    says what the one user is to be answered. Raises CalledProcessError where an engine can't be installed."""
    program = str(Path(__file__).with_name("ofrep_node.mjs"))
    command = [program, str(port), str(work / "flags.flagd.json"), KEY]
    if engine == "node":
        return ["node", *command, "flagd"]
    _, answer = post(fanion_port, CASES[1], headers())
    asked = work / "asked.json"
    asked.write_text(json.dumps({"context": CONTEXT, "answer": json.loads(answer)}))
    modules = ENGINES["growthbook-node"].made() / "node_modules"
    return ["env", f"GROWTHBOOK_NODE_MODULES={modules}", "node", *command, "growthbook", str(asked)]


def agreed(case: Case, ports: dict[str, int]) -> tuple[int, bytes]:
    """Status and body of Fanion's answer, which all other engines in `ports` give too."""
    status, ours = post(ports["fanion"], case, headers())
    for name, port in ports.items():
        if name not in ("fanion", "nothing"):
            _, theirs = post(port, case, headers())
            if compared(ours) != compared(theirs):
                raise SystemExit(f"{case.name}: Fanion says {ours!r}, {name} {theirs!r}")
    return status, ours


CASES = [
    Case("one flag", 0, f"{FLAGS}/flag-5", BODY),
    Case("all of 50", 0, FLAGS, BODY),
    Case("304", 0, FLAGS, BODY),
]


def print_case(case: Case, sides: dict[str, list[Side]]) -> None:
    rates = [statistics.median(side.rate for side in sides[name]) for name in SERVERS]
    cpu = [statistics.median(side.cpu_us for side in sides[name]) for name in SERVERS]
    pairs = {
        other: statistics.median(a.rate / b.rate for a, b in zip(sides["fanion"], sides[other], strict=True))
        for other in SERVERS[1:]
    }
    figures = "".join(f"{rate:11,.0f}" for rate in rates) + "".join(f"{one:10.1f}" for one in cpu)
    print(
        f"{case.name:12}{figures}" + "".join(f"{pairs[other]:{len(other) + 4}.2f}" for other in SERVERS[1:]),
        flush=True,
    )


def check_tools() -> None:
    lacking = [name for name in ("wrk", "node", "npm") if shutil.which(name) is None]
    if lacking or "FLAGD_NODE_MODULES" not in os.environ:
        raise SystemExit(
            f"this needs wrk, node and npm on the PATH ({lacking} aren't), and FLAGD_NODE_MODULES"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--flags", type=int, default=50)
    arguments = parser.parse_args()
    check_tools()
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        data = publish(work, arguments.flags)
        for pinned in (False, True):
            print("pinned: a core each" if pinned else "both cores shared")
            names = "".join(f"{name[:7] + '/s':>11}" for name in SERVERS) + "".join(
                f"{name[:7]:>8}us" for name in SERVERS
            )
            print(f"{'case':12}{names}" + "".join(f"   /{other}" for other in SERVERS[1:]))
            for case in CASES:
                sides = measure(
                    case, data, work, rounds=arguments.rounds, seconds=arguments.seconds, pinned=pinned
                )
                print_case(case, sides)


if __name__ == "__main__":
    main()
