"""Rounds of runs, and what they said."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.figures import PLACE
from bench.report.runs import PYTEST, ROOT, Run

RUN_MAX_S: Final = 1_800
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
    """A run of one round. `output`: the end of what it printed; `failed`: why there are no figures."""

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


def hold(runs: Iterable[Run], rounds: int, *, quick: bool) -> Session:
    """Each round runs each of them once. One that fails is noted, and the session goes on."""
    session = Session()
    wanted = []
    for run in runs:
        if lacks := run.lacks():
            session.left_out[run.name] = ", ".join(lacks)
            print(f"left out: {run.name}, which needs {session.left_out[run.name]}", flush=True)
        else:
            wanted.append(run)
    for number in range(rounds):
        for run in wanted:
            if number == 0 or not run.once:
                session.ran.append(_once(run, number, session.figures, quick=quick))
    return session


def _once(run: Run, number: int, figures: dict[str, Figure], *, quick: bool) -> Ran:
    command = run.command(quick=quick)
    print(f"round {number + 1}: {run.name}: {' '.join(command[1:])}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        said, timed = Path(folder) / "figures", Path(folder) / "pytest.json"
        given = [*command, f"--benchmark-json={timed}"] if PYTEST in command else command
        load, began = os.getloadavg()[0], time.monotonic()
        environment = {**os.environ, **run.environment, PLACE: str(said)}
        try:
            status, output, told = _to_its_end(given, environment)
            failed = f"exit {status}: {told[-1_000:]}" if status else ""
        except subprocess.TimeoutExpired:
            failed, output = f"not ended after {RUN_MAX_S} s", ""
        if failed:
            print(f"  failed: {failed.strip().splitlines()[-1]}", flush=True)
        else:
            lines = said.read_text().splitlines() if said.exists() else []
            for one in [json.loads(line) for line in lines] + _timed(timed):
                figures.setdefault(one["name"], Figure(one["unit"], [])).values.append(one["value"])
    return Ran(run.name, command[1:], number, load, time.monotonic() - began, failed, output[-8_000:])


def _to_its_end(command: list[str], environment: Mapping[str, str]) -> tuple[int, str, str]:
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
            output, told = child.communicate(timeout=RUN_MAX_S)
        except BaseException:  # a server that it started would be beside the next run
            os.killpg(child.pid, signal.SIGKILL)
            raise
    return child.returncode, output, told


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
