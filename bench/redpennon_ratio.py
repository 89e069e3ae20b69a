"""Red Pennon's requests a second beside the do-nothing app, interleaved on one machine; see `bench.http_ratio`.

`python -m bench.redpennon_ratio [--rounds 7] [--seconds 3]` needs `wrk`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from bench.bench_redpennon import KEY, USER, features
from bench.http_ratio import Case, drive, free_port, running

EVENT = {
    "event": "purchase",
    "variable": "variable-7",
    "variation": "control",
    "user": {"id": "user_123"},
    "value": 12.5,
    "occurred_at": "2026-11-21T10:00:00.000Z",
}

CASES = [
    Case("one variable, with trace", 0.85, "/v1/variables/variable-7", json.dumps({"user": USER}).encode()),
    Case("one variable, anonymous", 0.85, "/v1/variables/variable-7", b"{}"),
    Case("events of 100, durable", 0.50, "/v1/events", json.dumps({"events": [EVENT] * 100}).encode()),
]


def write_world(folder: Path, count: int) -> Path:
    document = {"redpennon": 1, "environments": ["production"], "features": features(count)}
    (folder / "features.json").write_text(json.dumps(document))
    source = {"format": "redpennon", "path": "features.json"}
    environment = {"keys": [{"key": KEY, "name": "bench"}], "sources": [source]}
    project = {"environments": {"production": environment}}
    organisation = {"plan": "enterprise", "projects": {"bench": project}}
    world = folder / "world.json"
    world.write_text(json.dumps({"fanion": 1, "organisations": {"org_bench": organisation}}))
    return world


def ask(port: int, case: Case) -> tuple[int, bytes]:
    headers = {"x-api-key": KEY, "content-type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{case.path}", case.body, headers)
    with urllib.request.urlopen(request, timeout=5) as response:
        return response.status, response.read()


def measure(case: Case, data: Path, work: Path, rounds: int, seconds: int) -> dict[str, Any]:
    ports = free_port(), free_port()
    script = work / "request.lua"
    script.write_text(
        f'wrk.method = "POST"\nwrk.body = [[{case.body.decode()}]]\n'
        f'wrk.headers["X-API-Key"] = "{KEY}"\nwrk.headers["Content-Type"] = "application/json"\n'
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
    parser.add_argument("--features", type=int, default=1_000)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("this needs wrk, the HTTP load generator, on the PATH")
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        data = work / "data"
        world = write_world(work, arguments.features)
        publish = [sys.executable, "-m", "fanion", "publish", str(world), "--data", str(data)]
        subprocess.run(publish, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        print(f"{'case':28}{'fanion/s':>12}{'nothing/s':>12}{'ratio':>8}{'target':>8}")
        for case in CASES:
            row = measure(case, data, work, arguments.rounds, arguments.seconds)
            figures = f"{row['fanion']:12,.0f}{row['nothing']:12,.0f}{row['ratio']:8.2f}{row['target']:8.2f}"
            print(f"{row['case']:28}{figures}", flush=True)


if __name__ == "__main__":
    main()
