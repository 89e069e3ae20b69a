"""Every system call that the journal makes from Python, as one table that tests replace.

`Storage` is the operating system. A subclass that overrides `table` to return itself also stands behind the
writer thread's pwrite, fdatasync, links and now, so one object sees, delays, fails or simulates all of it.
Errors are OSError, as the system gives them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Any

from fanion.clock.keeper import boot_id
from fanion.small_files import Buffer as Buffer
from fanion.small_files import Files, name_file, naming
from fanion.small_files import read_file as read_file
from fanion.small_files import write_all as write_all

DIRECTORY_MODE = 0o700


class Storage(Files):
    """The real system calls."""

    @property
    def table(self) -> Any:
        """What the writer thread calls; None: the system, without the GIL."""
        return None

    def pread_into(self, fd: int, target: memoryview, offset: int) -> int:
        """How many bytes were read; fewer than there is room for only at the end of the file."""
        done = 0
        try:
            while done < len(target):
                part = os.preadv(fd, [target[done : done + (1 << 26)]], offset + done)
                if part == 0:
                    break
                done += part
        except OSError as error:
            name_file(error, fd)
            raise
        return done

    def begin_writeback(self, fd: int, offset: int, size: int) -> None:
        """Asks the kernel to write the range soon, without waiting and without a commit of the file system."""
        os.posix_fadvise(fd, offset, size, os.POSIX_FADV_DONTNEED)

    def make_directory(self, path: Path) -> None:
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)

    def list_directory(self, path: Path) -> list[str]:
        return os.listdir(path)  # noqa: PTH208 - names, not paths

    def written(self, fd: int) -> list[tuple[int, int]]:
        """(start, end) of the parts of a file that were written; the others, allocated or not, read as zeros."""
        parts, end, size = [], 0, self.size(fd)
        try:
            while end < size:
                start = os.lseek(fd, end, os.SEEK_DATA)
                end = os.lseek(fd, start, os.SEEK_HOLE)
                parts.append((start, end))
        except OSError as error:
            if error.errno != errno.ENXIO:  # a file system that knows no holes
                return [(0, size)]
        return parts

    def links(self, fd: int) -> int:
        return os.fstat(fd).st_nlink

    def same_file(self, fd: int, path: Path) -> bool:
        """Whether the path still names the open file."""
        try:
            return os.path.samestat(os.fstat(fd), path.stat())
        except FileNotFoundError:
            return False

    @naming
    def allocate(self, fd: int, size: int) -> None:
        os.posix_fallocate(fd, 0, size)

    @naming
    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def lock(self, fd: int) -> bool:
        """Takes the exclusive lock, or says that another open file has it. Ends with the last descriptor."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def locked(self, fd: int) -> bool:
        """Whether another open file has the lock; looks by taking a shared one for a moment."""
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(fd, fcntl.LOCK_UN)
        return False

    def mapping(self, fd: int) -> int:
        """The descriptor to map for a ring file."""
        return fd

    def free_bytes(self, path: Path) -> int:
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def disk_bytes(self, path: Path) -> int:
        """Of the whole disk, taken or not."""
        found = os.statvfs(path)
        return found.f_blocks * found.f_frsize

    def now(self) -> int:
        """Monotonic clock, ns."""
        return time.monotonic_ns()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wall(self) -> int:
        """Wall clock, ns since 1970."""
        return time.time_ns()

    def boottime(self) -> int:
        """CLOCK_BOOTTIME, ns: goes on while the machine sleeps, begins anew when it boots."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def boot(self) -> str:
        """Which boot that is."""
        return boot_id()
