"""`python -m bench.engines [NAMES] [--quick]`: see the package."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from bench.engines.environments import ENGINES
from bench.figures import say


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.engines", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*ENGINES], help=", ".join(ENGINES))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    for name in options.names or ENGINES:
        rounds = ["3", "200"] if options.quick else ["21", "2000"]
        try:
            done = subprocess.run([*ENGINES[name].command(), *rounds], capture_output=True, text=True)
        except subprocess.CalledProcessError as failure:
            sys.exit(f"{name} can't be installed: {failure}")
        if done.returncode:
            sys.exit(f"{name}: {done.stderr}")
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"{name:16} {found['us']:8.2f} us a flag  {found['differs']}", flush=True)
        say(f"engines/{name}", found["us"], "us")


if __name__ == "__main__":
    main()
