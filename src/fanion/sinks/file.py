"""Rows as lines of JSON at the end of a file, which is synced before a step is taken.

A kill may leave half a line at the end; it is cut when the file is opened, and only where it is one of ours. Lines
that were written and whose step was not kept come again. A file that was moved away is made anew. It goes to the
disk in small steps with time between, as rows do (`fanion.pipeline.pace`): the journal's own syncs wait behind it.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Final

from fanion.config.sinks import Sinks
from fanion.errors import SinkError
from fanion.pipeline.pace import BYTES_PER_S
from fanion.sinks.receiver import Kind, Line, Turn
from fanion.small_files import Files

PIECE_BYTES: Final = 1 << 20
TAIL_BYTES: Final = 1 << 16
HALF_BYTES_MAX: Final = 64 << 20
BEGINS: Final = b'{"id":"'


class Appended:
    """The receiver."""

    left_out = 0

    def __init__(self, settings: Sinks, turn: Turn) -> None:
        self._turn = turn
        self._path = Path(settings.file_path)
        self._fd = -1

    def take(self, rows: list[Line], name: str) -> None:
        try:
            self._open()
            piece = bytearray()
            for line in rows:
                piece += line.text
                piece += b"\n"
                if len(piece) >= PIECE_BYTES:
                    self._write(piece)
            self._write(piece)
            os.fdatasync(self._fd)
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror or error}") from None

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        if self._fd >= 0:
            try:
                if os.path.samestat(os.fstat(self._fd), self._path.stat()):
                    return
            except FileNotFoundError:
                pass
            self.close()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._fd = os.open(self._path, flags, 0o600)
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            self.close()
            raise SinkError(f"{self._path}: not a plain file; what takes lines otherwise is a command")
        cut_half_line(self._fd)
        Files().sync_directory(self._path.parent)

    def _write(self, piece: bytearray) -> None:
        self._turn()
        with memoryview(piece) as view:
            at = 0
            while at < len(view):
                at += os.write(self._fd, view[at:])
        end = os.fstat(self._fd).st_size
        os.posix_fadvise(
            self._fd, end - len(piece), len(piece), os.POSIX_FADV_DONTNEED
        )  # begins to be written
        time.sleep(len(piece) / BYTES_PER_S)
        piece.clear()


def cut_half_line(fd: int) -> None:
    """Of ours, at the end of an open file. Somebody else's is ended, and so is one longer than any row."""
    size = begins = os.fstat(fd).st_size
    end = -1
    while begins and end < 0 and size - begins < HALF_BYTES_MAX:
        length = min(TAIL_BYTES, begins)
        begins -= length
        end = os.pread(fd, length, begins).rfind(b"\n")
    begins += end + 1
    if begins == size:
        return
    head = os.pread(fd, min(len(BEGINS), size - begins), begins)
    if end < 0 and begins:
        os.write(fd, b"\n")  # longer than a row is
    elif BEGINS.startswith(head):
        os.ftruncate(fd, begins)
    else:
        os.write(fd, b"\n")


KIND = Kind(
    setting="file_path",
    where=lambda settings: settings.file_path,
    interval_s=lambda settings: settings.interval_s,
    open=Appended,
    file=lambda settings: Path(settings.file_path),
)
