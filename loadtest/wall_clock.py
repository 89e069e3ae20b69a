"""A wall clock that a test sets for the processes that it starts: `wall_clock.c`, built and preloaded."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

COMPILER = shutil.which(os.environ.get("CC", "cc")) or ""
SOURCE = Path(__file__).with_name("wall_clock.c")


class WallClock:
    """`environment` is for the processes; `set` moves their clocks, those of running ones too."""

    def __init__(self, folder: Path) -> None:
        """Builds the library in `folder`. Raises CalledProcessError."""
        library, self._file = folder / "wall_clock.so", folder / "wall_clock"
        options = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run([COMPILER, *options, str(SOURCE), "-o", str(library)], check=True)
        self.set(0)
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK": str(self._file)}

    def set(self, ahead_s: int) -> None:
        """Seconds by which it is ahead of the machine's."""
        fd = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(fd, ahead_s.to_bytes(8, "little", signed=True), 0)
        finally:
            os.close(fd)
