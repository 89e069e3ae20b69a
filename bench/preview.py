"""`python -m bench.preview`: `fanion diff` over a million made-up units and 50 flags, from 50 % to 60 % each.

The whole command, on as many cores as there are. Ten percent of the units move, and the bench fails if they don't.
What it can't show: rules that look at many attributes, units from exposures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.data import world
from bench.figures import say

FLAGS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=1_000_000)
    units = parser.parse_args().units
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, percentage in (("before", 50), ("after", 60)):
            made = world(FLAGS)
            for flag in made["organisations"]["org_bench"]["projects"]["bench"]["flags"].values():
                flag["rules"][0]["rollout_percentage"] = percentage
                flag["rules"][0]["conditions"] = []
            (folder / f"{label}.json").write_text(json.dumps(made))
        fanion = [sys.executable, "-m", "fanion"]
        data = ["--data", str(folder / "data")]
        published = subprocess.run(
            [*fanion, "publish", str(folder / "before.json"), *data], capture_output=True, text=True
        )
        if published.returncode:
            raise SystemExit(published.stderr)
        began = time.monotonic()
        command = [*fanion, "diff", str(folder / "after.json"), "--against", str(folder / "data")]
        done = subprocess.run(
            [*command, "--units", str(units), "--format", "json"], capture_output=True, text=True
        )
        took = time.monotonic() - began
    if done.returncode not in (0, 1) or not done.stdout:
        raise SystemExit(done.stderr)
    print(f"{units:,} units x {FLAGS} flags: {took:.1f} s")
    say("preview/time", took, "s")


if __name__ == "__main__":
    main()
