"""What was measured here beside what is kept in figures.json: the same tools first, then each row.

Where interpreter, compiler, libc, processor or packages are others than those of the figures, these say nothing:
the commit that wrote them is checked out beside, built by the same tools, measured by its own rows.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

TREE = Path(__file__).parents[2]
FIGURES = Path(__file__).with_name("figures.json")
BUILT = "build/gate"
GROWTH_MAX = 0.03
GREW_SHOWN = 6
ENOUGH = "enough.json"
"""Instructions by a row's name, for a process that counts."""
WHEELS = ("msgspec", "lmdb", "xxhash", "google-re2", "zstandard", "uvloop", "granian")
PROCESSOR = ("sse4_2", "avx", "avx2")
"""What libc chooses its code by, as far as Valgrind shows it to a program."""
GROUPS = (
    "traffical",
    "feather",
    "stitchd",
    "core",
    "redpennon",
    "ofrep",
    "neutral",
    "judge",
    "rsgi",
    "lane",
    "journal",
    "rows",
    "splits",
)
"""The groups of rows, the longest first: two run at a time."""

Rows = dict[str, Any]


class GateError(Exception):
    """The gate can't measure, or what it measured grew; the message says what to do."""


def output(*command: str, tree: Path = TREE) -> str:
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    if done.returncode != 0:
        raise GateError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Everything beside the source that decides how many instructions an operation takes."""
    flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    return {
        "python": sys.version,
        "compiler": output("cc", "--version").splitlines()[0],
        "libc": " ".join(platform.libc_ver()),
        "valgrind": output("valgrind", "--version"),
        "processor": " ".join([platform.machine(), *(name for name in PROCESSOR if name in flags)]),
        **{name: version(name) for name in WHEELS},
    }


def check_tools() -> None:
    for tool in ("valgrind", "setarch", "cc"):
        if shutil.which(tool) is None:
            raise GateError(f"{tool} is not here; valgrind and util-linux are packages of every distribution")


def build(tree: Path, *, whole: bool) -> None:
    """The test-only extension; `whole`: the core's modules too."""
    environment = os.environ | {"FANION_GATE": "1"}
    setup = [sys.executable, "setup.py", "-q", "build_ext"]
    steps = [
        (environment | {"FANION_ONLY": "-"}, [*setup, "--build-lib", BUILT, "--build-temp", f"{BUILT}/made"])
    ]
    if whole:
        steps.append((dict(os.environ), [*setup, "--inplace", "-j", "2"]))
    for variables, command in steps:
        done = subprocess.run(command, cwd=tree, env=variables, capture_output=True, text=True)
        if done.returncode != 0:
            raise GateError(f"{tree} can't be built:\n{done.stderr[-2000:]}")


def measure_group(tree: Path, group: str, enough: dict[str, float]) -> Rows:
    with TemporaryDirectory() as folder:
        (Path(folder) / ENOUGH).write_text(json.dumps(enough))
        command = ["setarch", "-R", "valgrind", "-q", "--tool=callgrind", "--instr-atstart=no"]
        command += ["--compress-strings=no", "--compress-pos=no", f"--callgrind-out-file={folder}/out"]
        command += [sys.executable, "-m", "bench.gate.counting", group, folder]
        variables = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": f"{tree}/src:{tree}:{tree / BUILT}",
        }
        done = subprocess.run(command, cwd=tree, env=variables, capture_output=True, text=True)
    if done.returncode != 0:
        raise GateError(f"rows of {group}: {done.stderr.strip()[-3000:]}")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row.pop("name"): row for row in rows}


def enough(kept: Rows) -> dict[str, float]:
    """What a row may take to be within the growth that is allowed."""
    return {name: row["instructions"] * (1 + GROWTH_MAX) for name, row in kept.items()}


def measure(tree: Path, groups: tuple[str, ...], enough: dict[str, float]) -> Rows:
    """Every row of the groups, two processes at a time: what runs beside changes no count."""
    rows: Rows = {}
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda group: measure_group(tree, group, enough), groups):
            rows |= found
    return rows


def measure_writer(groups: tuple[str, ...]) -> Rows | None:
    """The rows of the commit that wrote figures.json, measured here; None where nothing changed since."""
    commit = output("git", "log", "-1", "--format=%H", "--", str(FIGURES))
    if not commit:
        raise GateError("figures.json is in no commit yet, and it was written by other tools than these")
    if not output("git", "status", "--porcelain", "-uno") and not output(
        "git", "diff", "--name-only", commit
    ):
        return None
    folder = TREE / "build" / "gate-writer"
    subprocess.run(["git", "worktree", "remove", "--force", folder], cwd=TREE, capture_output=True)
    output("git", "worktree", "add", "--detach", str(folder), commit)
    try:
        build(folder, whole=True)
        return measure(folder, groups, {})
    finally:
        output("git", "worktree", "remove", "--force", str(folder))


def grew(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """The functions that took most of the growth, as a line each."""
    changes = {name: after.get(name, 0) - before.get(name, 0) for name in before.keys() | after.keys()}
    worst = sorted(changes, key=lambda name: -changes[name])[:GREW_SHOWN]
    return [f"    {changes[name]:+14,.0f}  {name}" for name in worst if changes[name] > 0]


def other_tools(kept: dict[str, str], here: dict[str, str]) -> list[str]:
    return [f"{name}: {kept.get(name)} -> {found}" for name, found in here.items() if kept.get(name) != found]


def compare(kept: Rows, found: Rows, *, strict: bool) -> list[str]:
    """Prints every row; returns what is wrong. `strict`: a row that isn't kept is wrong too."""
    wrong: list[str] = []
    for name, row in found.items():
        now = row["instructions"]
        if name not in kept:
            print(f"{name:32} {now:14,.0f}     new")
            wrong += [f"{name}: not in figures.json; python -m bench.gate --update"] if strict else []
            continue
        before = kept[name]["instructions"]
        growth = now / before - 1
        print(f"{name:32} {now:14,.0f}  {growth:+7.2%}")
        if growth > GROWTH_MAX:
            lines = grew(kept[name]["functions"], row["functions"])
            wrong.append(f"{name}: {before:,.0f} -> {now:,.0f} instructions, {growth:+.2%}; grew most:")
            wrong += lines
    wrong += [f"{name}: kept, but measured no longer" for name in kept.keys() - found.keys() if strict]
    return wrong


def write_figures(rows: Rows) -> None:
    kept = {
        name: {"instructions": row["instructions"], "functions": row["functions"]}
        for name, row in rows.items()
    }
    FIGURES.write_text(json.dumps({"versions": versions(), "rows": kept}, indent=1) + "\n")
