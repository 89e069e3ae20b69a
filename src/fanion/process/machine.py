"""What the machine gives this process: cores, as its affinity and its cgroup allow, and open files."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final

FILES_OF_ITS_OWN: Final = 128
"""What a worker may open beside its connections: about 50 when it serves, more at a start and after a publish."""


def cores_to_run_on() -> int:
    """Cores that threads of this process may be on at once, whatever its cgroup's quota: its affinity."""
    return len(os.sched_getaffinity(0))


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and its cgroup's quota."""
    cores = cores_to_run_on()
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


def raise_file_limit() -> int | None:
    """Every connection is a descriptor; the soft limit of many systems is 1,024. Returns how many may be open,
    None: any number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return None if hard == resource.RLIM_INFINITY else hard


def connections_within(files: int | None, wanted: int) -> int:
    """How many connections a worker may take. Were all of its files connections, which cost whoever opens them
    nothing, the journal would have none for its next segment."""
    return wanted if files is None else min(wanted, max(files - FILES_OF_ITS_OWN, files // 2, 1))
