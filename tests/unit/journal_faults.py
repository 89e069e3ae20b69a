"""The real system calls, with faults that a test switches on and off while the writer thread runs."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fanion.journal.storage import Storage


class FaultyStorage(Storage):
    """`failing`: names of calls that fail (with `error`); `fail_once` takes a name out again when it has failed.
    `blocked`: while cleared, pwrite waits, as a disk that hangs."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.fail_once = False
        self.error = errno.EIO
        self.free: int | None = None
        self.blocked = threading.Event()
        self.blocked.set()
        self.failures = 0

    @property
    def table(self) -> Any:
        return self

    def _call(self, name: str) -> None:
        if name in self.failing:
            self.failures += 1
            if self.fail_once:
                self.failing.discard(name)
            raise OSError(self.error, os.strerror(self.error))

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        if create:
            self._call("create")
        return super().open(path, create=create, write=write)

    def pwrite(self, fd: int, data: Any, offset: int) -> int:
        if threading.current_thread() is not threading.main_thread():
            self.blocked.wait()
        self._call("pwrite")
        return super().pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        self._call("fdatasync")
        super().fdatasync(fd)

    def make_directory(self, path: Path) -> None:
        self._call("make_directory")
        super().make_directory(path)

    def free_bytes(self, path: Path) -> int:
        return super().free_bytes(path) if self.free is None else self.free


async def until(condition: Callable[[], bool]) -> None:
    """Returns when the condition holds; the test's own time limit ends what never does."""
    while not condition():
        await asyncio.sleep(0.005)
