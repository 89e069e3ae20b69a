"""Requests with and without their exposures: `python -m bench.exposures_served [--rounds 5] [--seconds 2]`.

Three servers of one worker serve the demo world: one records nothing, two record every split; of those, one is
asked for the same 1,000 units again and again, whose exposures were recorded today, the other for units that are
new. Each round drives all three in turn, per API; printed are the medians of requests a second and of CPU µs a
request (all processes of a server, so the writer's share too). Needs `wrk`.

What it can't show: the cost beside many environments, and a machine whose disk is busy.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from bench.exposures import recorded_files
from bench.http_ratio import drive, fanion, free_port, running
from bench.ofrep_ratio import Side, cpu_s

UNIT: Final = "UNIT"
STITCHD: Final = "5b1f6a52-0000-4000-8000-000000000001"
MODES: Final = ("not recorded", "recorded today", "new units")
ASKED: Final[dict[str, tuple[str, dict[str, str], Any]]] = {
    "feather": (
        "/v1/evaluate",
        {"authorization": "Bearer sk_demo_server"},
        {"flagKey": "checkout-copy", "context": {"userId": UNIT}},
    ),
    "redpennon": (
        "/v1/variables/checkout-flow",
        {"x-api-key": "00000000-0000-0000-0000-000000000000"},
        {"user": {"id": UNIT}},
    ),
    "stitchd": (
        f"/v1/environments/{STITCHD}/evaluate",
        {"x-sdk-key": "sdk_live_demo"},
        {"flag_key": "my-flag", "context_type": "user", "context_key": UNIT, "attributes": {}},
    ),
    "traffical": (
        "/v1/resolve",
        {"authorization": "Bearer traffical_sk_demo"},
        {"context": {"userId": UNIT}, "parameters": ["checkout.button.color"]},
    ),
    "ofrep": (
        "/ofrep/v1/evaluate/flags/checkout-copy",
        {"authorization": "Bearer ofrep_demo_server"},
        {"context": {"targetingKey": UNIT}},
    ),
}


def script(headers: dict[str, str], body: Any, *, new: bool) -> str:
    """A wrk script whose every request is about another unit: of 1,000, or of all that were never asked for."""
    before, _, after = json.dumps(body, separators=(",", ":")).partition(UNIT)
    lines = [f'wrk.headers["{name}"] = [[{value}]]' for name, value in headers.items()]
    unit = "string.format('new-%x-%d', begun, asked)" if new else "string.format('known-%d', asked % 1000)"
    return "\n".join(
        [
            'wrk.method = "POST"',
            'wrk.headers["content-type"] = "application/json"',
            *lines,
            "local asked = 0",
            "local begun = os.time() % 1048576 * 1000 + math.floor(os.clock() * 1000)",
            "function request()",
            "  asked = asked + 1",
            f"  return wrk.format(nil, nil, nil, [[{before}]] .. {unit} .. [[{after}]])",
            "end",
        ]
    )


def publish(work: Path, *, recorded: bool) -> Path:
    """Publishes the demo world; the data directory."""
    work.mkdir()
    document = recorded_files(work, recorded=recorded)
    command = [sys.executable, "-m", "fanion", "publish", str(document), "--data", str(work / "data")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return work / "data"


def measure(work: Path, rounds: int, seconds: int) -> None:
    ports = {mode: free_port() for mode in MODES}
    with ExitStack() as up:
        pids = {}
        for number, mode in enumerate(MODES):
            data = publish(work / str(number), recorded=number > 0)
            command = fanion(data, ports[mode], "durable")
            pids[mode] = up.enter_context(running(command, f"http://127.0.0.1:{ports[mode]}/healthz"))
        print(
            f"{'':12}"
            + "".join(f"{mode + '/s':>18}{'CPU µs':>9}" for mode in MODES)
            + "   + for it: today, new"
        )
        for name, (path, headers, body) in ASKED.items():
            sides: dict[str, list[Side]] = {mode: [] for mode in MODES}
            for turn in range(rounds + 1):
                for mode in MODES:
                    written = work / "request.lua"
                    written.write_text(script(headers, body, new=mode == MODES[2]))
                    length = seconds if turn else 1  # the first warms up
                    before = cpu_s(pids[mode])
                    driven = drive(name, f"http://127.0.0.1:{ports[mode]}{path}", written, length)
                    took = (cpu_s(pids[mode]) - before) / (driven.rate * length) * 1e6
                    if turn:
                        sides[mode].append(Side(driven.rate, took))
            rate = {mode: statistics.median(side.rate for side in sides[mode]) for mode in MODES}
            cpu = {mode: statistics.median(side.cpu_us for side in sides[mode]) for mode in MODES}
            more = [cpu[mode] - cpu[MODES[0]] for mode in MODES[1:]]
            row = "".join(f"{rate[mode]:18,.0f}{cpu[mode]:9.1f}" for mode in MODES)
            print(f"{name:12}{row}{more[0]:+17.1f}{more[1]:+6.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("this needs wrk on the PATH")
    with tempfile.TemporaryDirectory() as directory:
        measure(Path(directory), arguments.rounds, arguments.seconds)


if __name__ == "__main__":
    main()
