"""Small files that are only ever replaced whole: states, places, checkpoints, manifests, keys.

`replace_file` leaves the old file or the new one behind each of its calls, whatever ends there: the draft, which
has a name of its own, is synced before it takes the file's name, and the directory behind that. `make_file` does
the same for what whoever comes first makes. A draft that a kill left is removed when a server starts. `sealed` and
`read_document` have a JSON object carry its checksum, so that a flipped bit is damage and never another number.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeAlias, TypeVar

from fanion.errors import DamagedFileError
from fanion.model.json_value import UNREADABLE

Buffer: TypeAlias = "bytes | bytearray | memoryview"

FILE_MODE: Final = 0o600
SEAL: Final = b'{"crc32":"%08x"'
SEAL_BYTES: Final = len(SEAL % 0)

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
F = TypeVar("F", bound="Files")
Call: TypeAlias = Callable[Concatenate[F, int, P], R]


def naming(call: Call[F, P, R]) -> Call[F, P, R]:
    """A call by an open file whose errors have its name. Reading, which is done most, does the same itself."""

    @wraps(call)
    def named(files: F, fd: int, /, *given: P.args, **further: P.kwargs) -> R:
        try:
            return call(files, fd, *given, **further)
        except OSError as error:
            name_file(error, fd)
            raise

    return named


def name_file(error: OSError, fd: int) -> None:
    """Gives an error the open file's name, which the system leaves out."""
    with suppress(OSError):
        error.filename = str(Path(f"/proc/self/fd/{fd}").readlink())


class Files:
    """The system calls that small files need; tests replace them, to fail or to end at each."""

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        return os.open(path, flags, FILE_MODE)

    def close(self, fd: int) -> None:
        os.close(fd)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes; fewer only at the end of the file."""
        parts = []
        try:
            while size > 0:
                part = os.pread(fd, min(size, 1 << 26), offset)
                if not part:
                    break
                parts.append(part)
                size -= len(part)
                offset += len(part)
        except OSError as error:
            name_file(error, fd)
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @naming
    def pwrite(self, fd: int, data: Buffer, offset: int) -> int:
        """May write less than all, as the system may."""
        return os.pwrite(fd, data, offset)

    @naming
    def fdatasync(self, fd: int) -> None:
        os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def link(self, source: Path, target: Path) -> None:
        target.hardlink_to(source)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def random(self, size: int) -> bytes:
        return os.urandom(size)


def write_all(files: Files, fd: int, data: Buffer, offset: int) -> None:
    """Writes all of it; short writes go on."""
    view = memoryview(data).cast("B")
    while len(view):
        done = files.pwrite(fd, view, offset)
        if done <= 0:
            raise OSError(5, "a write took no bytes")
        view = view[done:]
        offset += done


def read_file(files: Files, path: Path) -> bytes:
    """A whole small file."""
    fd = files.open(path, write=False)
    try:
        return files.pread(fd, files.size(fd), 0)
    finally:
        files.close(fd)


def replace_file(files: Files, path: Path, content: Buffer, *, synced: bool = True) -> None:
    """The file holds `content`, on the disk, when this returns; where it raises (OSError), it holds what it held or
    `content`. Two who replace it at once don't meet: the last one's stays. Not `synced`, which is for what nothing
    is decided by: a power cut may leave it empty."""
    draft = _draft(files, path)
    try:
        _write_draft(files, draft, content, synced=synced)
        files.rename(draft, path)
    except BaseException:
        with suppress(OSError):
            files.unlink(draft)
        raise
    if synced:
        files.sync_directory(path.parent)


def make_file(files: Files, path: Path, content: Buffer) -> None:
    """There is a whole file, on the disk, when this returns: with `content`, or what another made meanwhile."""
    draft = _draft(files, path)
    try:
        _write_draft(files, draft, content, synced=True)
        with suppress(FileExistsError):
            files.link(draft, path)
    finally:
        with suppress(OSError):
            files.unlink(draft)
    files.sync_directory(path.parent)


def sealed(document: bytes) -> bytes:
    """A JSON object with the checksum of its bytes as its first member."""
    return SEAL % zlib.crc32(document) + (b"," if document != b"{}" else b"") + document[1:]


def read_document(files: Files, path: Path, decode: Callable[[bytes], T]) -> T:
    """What `decode` makes of a JSON object that was `sealed`, or that an earlier version wrote without. Raises
    FileNotFoundError, DamagedFileError."""
    content = read_file(files, path)
    if content[:10] == SEAL[:10]:
        document = b"{" + content[SEAL_BYTES:].removeprefix(b",")
        if content[:SEAL_BYTES] != SEAL % zlib.crc32(document):
            raise DamagedFileError("its checksum is not that of its content")
        content = document
    try:
        return decode(content)
    except UNREADABLE as error:
        raise DamagedFileError(str(error)) from None


def _draft(files: Files, path: Path) -> Path:
    return path.with_name(f"{path.name}.{files.random(8).hex()}.tmp")


def _write_draft(files: Files, draft: Path, content: Buffer, *, synced: bool) -> None:
    fd = files.open(draft, create=True)
    try:
        write_all(files, fd, content, 0)
        if synced:
            files.fdatasync(fd)
    finally:
        files.close(fd)
