"""What the machine gives this process: cores, as its affinity and its cgroup allow, and open files."""

from __future__ import annotations

import os
import resource
from pathlib import Path


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and its cgroup's quota."""
    cores = len(os.sched_getaffinity(0))
    for path, parse in ((Path("/sys/fs/cgroup/cpu.max"), quota_v2), (Path("/sys/fs/cgroup/cpu"), quota_v1)):
        try:
            quota = parse(path)
        except (OSError, ValueError):
            continue
        if quota is not None:
            cores = min(cores, max(1, int(quota)))
    return cores


def quota_v2(path: Path) -> float | None:
    quota, period = path.read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def quota_v1(path: Path) -> float | None:
    quota = int((path / "cpu.cfs_quota_us").read_text())
    return None if quota <= 0 else quota / int((path / "cpu.cfs_period_us").read_text())


def raise_file_limit() -> None:
    """Every connection is a descriptor; the soft limit of many systems is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
