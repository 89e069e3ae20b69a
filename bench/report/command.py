"""`python -m bench [--rounds 3] [--quick] [--only NAME]`: see the package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from bench.report import page, session, text
from bench.report.machine import describe
from bench.report.runs import ROOT, RUNS
from bench.report.session import Figure, Ran


class Written(msgspec.Struct):
    """`latest.json`."""

    command: str
    machine: dict[str, str]
    figures: dict[str, Figure]
    ran: list[Ran]
    left_out: dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round, each run as brief as it can be")
    parser.add_argument(
        "--only", action="append", default=[], help="runs whose name has this in it; repeatable"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results", help="where to write")
    parser.add_argument(
        "--again", action="store_true", help="draw the report from latest.json; nothing is run"
    )
    given = parser.parse_args()
    latest = given.results / "latest.json"
    if given.again:
        written = msgspec.json.decode(latest.read_bytes(), type=Written)
    else:
        runs = [run for run in RUNS if not given.only or any(one in run.name for one in given.only)]
        if not runs:
            parser.error(f"no run has such a name; there are: {', '.join(run.name for run in RUNS)}")
        command = " ".join(["python -m bench", *sys.argv[1:]])
        machine = describe()
        held = session.hold(runs, 1 if given.quick else given.rounds, quick=given.quick)
        written = Written(command, machine, held.figures, held.ran, held.left_out)
        given.results.mkdir(parents=True, exist_ok=True)
        latest.write_bytes(msgspec.json.format(msgspec.json.encode(written), indent=1) + b"\n")
    found = session.Session(written.figures, written.ran, written.left_out)
    markdown = text.report(found, written.machine, written.command)
    (given.results / "report.md").write_text(markdown)
    pages = page.write(given.results, written.figures, markdown)
    print(markdown)
    print("written:", *(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
                        for path in (latest, given.results / "report.md", *pages)), sep="\n  ")  # fmt: skip
    if any(ran.failed for ran in written.ran):
        sys.exit(1)
