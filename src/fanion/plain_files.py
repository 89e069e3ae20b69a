"""Files that others name, in commands, settings and definitions: read only where they are plain ones, to their end.

A pipe that nobody writes, a terminal, a socket or a device would have a command wait, or read, without end; so
would a file that grows as fast as it is read. Each is refused at once, by its kind and under its name.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

KINDS: Final = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
BUFFER_BYTES: Final = 1 << 16


def open_plain(path: str | Path) -> BinaryIO:
    """The file for reading, without waiting for anybody. OSError, which names it, where it can't be read or is no
    plain file; so does reading it further than it went when it was opened."""
    check_plain(path, Path(path).stat())
    return io.BufferedReader(_Whole(path), BUFFER_BYTES)


def open_to_write(path: Path, *, keep: bool = False) -> BinaryIO:
    """The file for writing from its begin, made where it isn't there; `keep`s what it holds until that is
    overwritten. A pipe needs somebody who reads it already. OSError, which names it."""
    flags = (
        os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if keep else os.O_TRUNC)
    )
    try:
        fd = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "a pipe or a socket that nobody reads", str(path)) from None
        raise
    os.set_blocking(fd, True)
    return os.fdopen(fd, "wb")


def check_plain(path: str | Path, status: os.stat_result) -> None:
    """OSError for a pipe, a socket or a device. A directory is refused when it is opened, in the system's words."""
    kind = KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is not None:
        raise OSError(errno.EINVAL, f"{kind}, not a plain file", str(path))


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


class _Whole(io.FileIO):
    """A plain file as far as it went when it was opened."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, opener=_without_waiting)
        status = os.fstat(self.fileno())
        try:
            check_plain(path, status)
        except OSError:
            self.close()
            raise
        self._size = status.st_size

    def readall(self) -> bytes:  # as the class has it, it doesn't come by `readinto`
        found, buffer = bytearray(), bytearray(io.DEFAULT_BUFFER_SIZE)
        while count := self.readinto(buffer):
            found += buffer[:count]
        return bytes(found)

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]
        try:
            count = super().readinto(buffer)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.name)) from None
        if self.tell() > self._size:
            raise OSError(errno.EBUSY, "it grew while it was read", str(self.name))
        return count
