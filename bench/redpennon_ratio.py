"""Red Pennon's requests a second beside the do-nothing app, interleaved on one machine; see `bench.http_ratio`.

`python -m bench.redpennon_ratio [--rounds 7] [--seconds 3]` needs `wrk`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.bench_redpennon import KEY, USER, features
from bench.http_ratio import Case, print_rows

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
        headers = {"x-api-key": KEY, "content-type": "application/json"}
        print_rows(CASES, headers, data, work, rounds=arguments.rounds, seconds=arguments.seconds)


if __name__ == "__main__":
    main()
