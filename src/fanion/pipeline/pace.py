"""How the pipeline gives way: it writes in small steps that are handed to the disk one by one, and waits between.

Written in one piece and synced at its end, a file of many megabytes is ahead of the journal's fdatasync in the
disk's queue. In steps there is one of them at most.

The I/O priority is the lowest of the best-effort class and not the idle class: what a file system commits together
with the journal's own change must not wait until the disk has nothing else to do.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fanion.journal.storage import Storage, write_all

NICE: Final = 10
IOPRIO_LOWEST: Final = 2 << 13 | 7
IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
STEP_BYTES: Final = 1 << 20
BYTES_PER_S: Final = 64 << 20
"""Twice what rows take at 1 M events a second, so that a pipeline that is behind catches up."""


def give_way() -> None:
    """This process's priority, of CPU and disk, from now on."""
    os.nice(NICE)
    number = IOPRIO_SET.get(platform.machine())
    if (
        number is not None
    ):  # elsewhere, and where the disk's scheduler knows no priorities, the steps have to do
        ctypes.CDLL(None).syscall(number, 1, 0, IOPRIO_LOWEST)


class Pace:
    """`turn` is called at every step, of reading too: whoever has something to do meanwhile does it there.
    `bytes_per_s`: 0: as fast as it goes."""

    def __init__(self, bytes_per_s: int = 0, turn: Callable[[], None] = lambda: None) -> None:
        self._bytes_per_s = bytes_per_s
        self.turn = turn

    def after(self, storage: Storage, fd: int, start: int, end: int) -> None:
        """These bytes of a file were written."""
        storage.begin_writeback(fd, start, end - start)
        if self._bytes_per_s:
            storage.sleep((end - start) / self._bytes_per_s)
        self.turn()


class PacedFile(io.RawIOBase):
    """A new file that is written from its beginning to its end, paced. `sync` when it is whole."""

    def __init__(self, storage: Storage, path: Path, pace: Pace) -> None:
        self._storage = storage
        self._pace = pace
        with contextlib.suppress(FileNotFoundError):
            storage.unlink(path)
        self._fd = storage.open(path, create=True)
        self.size = self._handed = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), STEP_BYTES):
            piece = view[start : start + STEP_BYTES]
            write_all(self._storage, self._fd, piece, self.size)
            self.size += len(piece)
            if self.size - self._handed >= STEP_BYTES:
                self._hand_over()
        return len(view)

    def sync(self) -> None:
        if self.size > self._handed:
            self._hand_over()
        self._storage.fdatasync(self._fd)

    def close(self) -> None:
        if not self.closed:
            self._storage.close(self._fd)
            super().close()

    def _hand_over(self) -> None:
        self._pace.after(self._storage, self._fd, self._handed, self.size)
        self._handed = self.size
