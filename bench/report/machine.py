"""What a session ran on, as far as figures depend on it."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench.report.runs import ROOT

PACKAGES: Final = ("fanion", "granian", "msgspec", "uvloop", "lmdb", "xxhash", "cython", "duckdb", "pyarrow")


def describe() -> dict[str, str]:
    """Name -> value; what can't be told here is left out."""
    found = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _said("git", "describe", "--always", "--dirty"),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": _memory(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "node": _said("node", "--version"),
        "compiler": _said("cc", "--version").partition("\n")[0],
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except ModuleNotFoundError:
            continue
    return {name: value for name, value in found.items() if value}


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def _line(path: str, begin: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(begin)), "")


def _processor() -> str:
    return _line("/proc/cpuinfo", "model name")


def _memory() -> str:
    kilobytes = _line("/proc/meminfo", "MemTotal").split()
    return f"{int(kilobytes[0]) / 2**20:.1f} GiB" if kilobytes else ""
