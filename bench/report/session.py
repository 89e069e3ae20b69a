"""Rounds of runs, and what they said."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.figures import PLACE
from bench.report.runs import PYTEST, ROOT, Run

ENDING_S: Final = (3.0, 10.0)
"""That a run which is ended has for it."""
KERNEL_RUNS: Final = 1_000
"""Of one call of the kernel's bench (`bench.bench_evaluate`)."""


class Figure(msgspec.Struct):
    """One thing that was measured: a value a round, in `unit`."""

    unit: str
    values: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


class Ran(msgspec.Struct):
    """A run of one round. `output`: the end of what it printed; `failed`: why it didn't come to its end. The
    figures that it had said by then stand."""

    name: str
    command: list[str]
    round: int
    load: float
    took_s: float
    failed: str = ""
    output: str = ""


class Session(msgspec.Struct):
    """What a session found."""

    figures: dict[str, Figure] = {}
    ran: list[Ran] = []
    left_out: dict[str, str] = {}
    """Run -> what it needs that isn't here."""
    ended_early: str = ""
    """Why not all rounds were held."""


def hold(
    runs: Iterable[Run],
    rounds: int,
    *,
    quick: bool,
    minutes: float = math.inf,
    keep: Callable[[Session], object] = lambda session: None,
) -> Session:
    """Each round runs each of them once. One that fails is noted, and the session goes on; after each one, `keep`
    has what was found so far. No run begins after `minutes`. An interruption, SIGTERM too, ends the session, not
    the program."""
    session = Session()
    wanted = []
    for run in runs:
        if lacks := run.lacks():
            session.left_out[run.name] = ", ".join(lacks)
            print(f"left out: {run.name}, which needs {session.left_out[run.name]}", flush=True)
        else:
            wanted.append(run)
    ends = time.monotonic() + minutes * 60
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for number in range(rounds):
            for run in wanted:
                if number and run.once:
                    continue
                if time.monotonic() > ends:
                    session.ended_early = f"after {minutes:g} minutes, before {run.name}, round {number + 1}"
                    return session
                session.ran.append(_once(run, number, session.figures, quick=quick))
                keep(session)
    except KeyboardInterrupt:
        session.ended_early = f"interrupted in {run.name}, round {number + 1}"
        print(session.ended_early, flush=True)
    finally:
        signal.signal(signal.SIGTERM, before)
    return session


def _once(run: Run, number: int, figures: dict[str, Figure], *, quick: bool) -> Ran:
    command, limit_s = run.command(quick=quick), run.limit_s
    print(f"round {number + 1}: {run.name}: {' '.join(command[1:])}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        said, timed = Path(folder) / "figures", Path(folder) / "pytest.json"
        given = [*command, f"--benchmark-json={timed}"] if PYTEST in command else command
        load, began = os.getloadavg()[0], time.monotonic()
        environment = {**os.environ, **run.environment, PLACE: str(said)}
        try:
            status, output, told = _to_its_end(given, environment, limit_s)
            failed = f"exit {status}: {told[-1_000:]}" if status else ""
        except subprocess.TimeoutExpired:
            failed, output = f"not ended after {limit_s} s", ""
        took_s = time.monotonic() - began
        print(f"  {took_s:.0f} s", flush=True)
        if failed:
            print(f"  failed: {failed.strip().splitlines()[-1]}", flush=True)
        lines = said.read_text().splitlines() if said.exists() else []
        for one in [json.loads(line) for line in lines] + _timed(timed):
            figures.setdefault(one["name"], Figure(one["unit"], [])).values.append(one["value"])
    return Ran(run.name, command[1:], number, load, took_s, failed, output[-3_000:])


def _to_its_end(command: list[str], environment: Mapping[str, str], limit_s: float) -> tuple[int, str, str]:
    """Status, output and standard error. Raises TimeoutExpired."""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            output, told = child.communicate(timeout=limit_s)
        except BaseException:
            _end(child)
            raise
    return child.returncode, output, told


def _end(child: subprocess.Popen[str]) -> None:
    """By SIGINT, so that it removes what it made (a second one, since the first only cancels a task that may not
    look); and all that it started, which would be beside the next run."""
    try:
        for wait_s in ENDING_S:
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(wait_s)
                break
    finally:
        with contextlib.suppress(ProcessLookupError):  # all have ended
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _timed(path: Path) -> list[Mapping[str, Any]]:
    """pytest-benchmark's medians, in ns a call (of the kernel's bench, a run)."""
    if not path.exists():
        return []
    found = []
    for one in json.loads(path.read_text())["benchmarks"]:
        name = one["name"].removeprefix("bench_").replace("[", "/").rstrip("]")
        each = KERNEL_RUNS if name.startswith("kernel") else 1
        found.append(
            {"name": f"in process/{name}", "value": one["stats"]["median"] / each * 1e9, "unit": "ns"}
        )
    return found
