"""`python -m bench [--rounds 2] [--quick] [--only NAME]`: see the package."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Final

import msgspec

from bench.report import page, session, text
from bench.report.machine import describe
from bench.report.runs import ROOT, RUNS
from bench.report.session import Figure, Ran

RESULTS: Final = ROOT / "bench" / "results"


class Written(msgspec.Struct):
    """`latest.json`."""

    command: str
    machine: dict[str, str]
    figures: dict[str, Figure]
    ran: list[Ran]
    left_out: dict[str, str]
    ended_early: str = ""

    def session(self) -> session.Session:
        return session.Session(self.figures, self.ran, self.left_out, self.ended_early)


def how_long(latest: Path) -> str:
    """What rounds take, by the runs of the last session."""
    try:
        written = msgspec.json.decode(latest.read_bytes(), type=Written)
    except (OSError, msgspec.DecodeError):
        return "there is no last session that says how long it takes"
    again = {run.name for run in RUNS if not run.once}
    first = sum(ran.took_s for ran in written.ran if ran.round == 0)
    others = sum(ran.took_s for ran in written.ran if ran.round == 0 and ran.name in again)
    rounds = ", ".join(f"{n} rounds {(first + (n - 1) * others) / 60:.0f} minutes" for n in (1, 2, 3))
    return f"by the runs of `{written.command}`: {rounds}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, epilog=how_long(RESULTS / "latest.json")
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        help="no run begins after so many; what was found is written",
    )
    parser.add_argument("--quick", action="store_true", help="one round, each run as brief as it can be")
    parser.add_argument(
        "--only", action="append", default=[], help="runs whose name has this in it; repeatable"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write")
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
        given.results.mkdir(parents=True, exist_ok=True)

        def keep(held: session.Session) -> Written:
            written = Written(command, machine, held.figures, held.ran, held.left_out, held.ended_early)
            whole = msgspec.json.format(msgspec.json.encode(written), indent=1) + b"\n"
            (given.results / "latest.part").write_bytes(whole)
            (given.results / "latest.part").replace(latest)
            return written

        rounds = 1 if given.quick else given.rounds
        held = session.hold(runs, rounds, quick=given.quick, minutes=given.minutes, keep=keep)
        if not held.ran:
            sys.exit(f"no run came to its end, and {latest} is as it was")
        written = keep(held)
    markdown = text.report(written.session(), written.machine, written.command)
    (given.results / "report.md").write_text(markdown)
    pages = page.write(given.results, written.figures, markdown)
    print(markdown)
    print("written:", *(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
                        for path in (latest, given.results / "report.md", *pages)), sep="\n  ")  # fmt: skip
    if written.ended_early or any(ran.failed for ran in written.ran):
        sys.exit(1)
