"""A disk in memory under the journal's own table of system calls: nothing of the journal is replaced.

Every file keeps what is on the disk apart from what is only in the page cache, by 512-byte sector; names likewise,
by operation. `crash` ends the power: a new disk with any subset of what wasn't synced, by a seeded random choice.
`kill` ends the process: the page cache stays, locks and descriptors go. Calls are counted, and the one numbered
`fail_at` fails (with `fail_always`, all from there on; with `fail_garbles`, a failed sync leaves the pages that it
was to write unreadable on the disk). Ring files are real memory, since they are mapped.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fanion.journal.storage import Storage

SECTOR = 512
PAGE = 4096


DISK_BYTES = 1 << 20
"""What a reader's share is of; `free` is a test's to set."""


class File:
    """One inode. `disk`: what survives the power; `cache`: what the process sees; `dirty`: unsynced sectors."""

    def __init__(self, disk: bytes = b"") -> None:
        self.disk = bytearray(disk)
        self.cache = bytearray(disk)
        self.dirty: set[int] = set()
        self.memory = -1
        self.links = 0
        self.locked_by: object = None

    def read(self) -> bytearray:
        return bytearray(os.pread(self.memory, 1 << 30, 0)) if self.memory >= 0 else self.cache

    def mark(self, offset: int, size: int) -> None:
        self.dirty.update(range(offset // SECTOR, (offset + max(size, 1) - 1) // SECTOR + 1))

    def changed(self) -> set[int]:
        """Unsynced sectors; those of mapped memory are found by comparing."""
        if self.memory < 0:
            return self.dirty
        now, sectors = self.read(), range(-(-len(self.disk) // SECTOR))
        return {
            n
            for n in sectors
            if now[n * SECTOR : (n + 1) * SECTOR] != self.disk[n * SECTOR : (n + 1) * SECTOR]
        }

    def sync(self) -> None:
        self.disk = bytearray(self.read())
        self.dirty.clear()

    def close(self) -> None:
        if self.memory >= 0:
            os.close(self.memory)
            self.memory = -1


class Disk:
    """Inodes and names; shared by the processes (SimulatedStorage) that use it."""

    def __init__(self) -> None:
        self.names: dict[str, File] = {}
        self.synced_names: dict[str, File] = {}
        self.pending: list[tuple[str, str, str, File]] = []
        self.directories: set[str] = set()
        self.free = 1 << 40

    def apply(self, names: dict[str, File], operation: tuple[str, str, str, File]) -> None:
        kind, source, target, file = operation
        if kind == "unlink":
            names.pop(source, None)
        elif kind == "rename":
            if names.get(source) is file:
                del names[source]
                names[target] = file
        else:
            names[target] = file

    def do(self, kind: str, source: str, target: str, file: File) -> None:
        operation = (kind, source, target, file)
        self.apply(self.names, operation)
        self.pending.append(operation)
        for each in {id(f): f for f in (file, *self.names.values())}.values():
            each.links = sum(1 for f in self.names.values() if f is each)

    def sync_names(self, directory: str) -> None:
        rest = []
        for operation in self.pending:
            name = operation[2] or operation[1]
            if str(Path(name).parent) == directory:
                self.apply(self.synced_names, operation)
            else:
                rest.append(operation)
        self.pending = rest

    def crash(self, rng: random.Random) -> Disk:
        """The disk after the power went: any subset of unsynced sectors, sizes and names."""
        after = Disk()
        after.directories = set(self.directories)
        names = dict(self.synced_names)
        keep = rng.choice((0.0, 0.3, 0.7, 1.0))
        for operation in self.pending:
            if rng.random() < keep:
                self.apply(names, operation)
        copies: dict[int, File] = {}
        for name, file in names.items():
            if id(file) not in copies:
                copies[id(file)] = File(self._survive(file, rng))
            after.names[name] = after.synced_names[name] = copies[id(file)]
            copies[id(file)].links += 1
        return after

    def _survive(self, file: File, rng: random.Random) -> bytes:
        changed = file.changed()
        if not changed:
            return bytes(file.disk)
        now = file.read()
        size = len(now) if rng.random() < 0.7 else min(len(file.disk), len(now))
        size = max(size, min(len(file.disk), len(now)))
        data = bytearray(file.disk[:size].ljust(size, b"\0"))
        keep = rng.choice((0.0, 0.2, 0.5, 0.9, 1.0))
        for n in changed:
            if rng.random() < keep:
                part = now[n * SECTOR : (n + 1) * SECTOR][: max(0, size - n * SECTOR)]
                data[n * SECTOR : n * SECTOR + len(part)] = part
        return bytes(data)

    def close(self) -> None:
        for file in [*self.names.values(), *self.synced_names.values()]:
            file.close()


class SimulatedStorage(Storage):
    """One process's view of a Disk."""

    def __init__(self, disk: Disk, seed: int = 0) -> None:
        self.disk = disk
        self.rng = random.Random(seed)
        self.open_files: dict[int, File] = {}
        self.next_fd = 1000
        self.calls = 0
        self.fail_at = -1
        self.fail_always = False
        self.fail_errno = errno.EIO
        self.failed_call = ""
        self.fail_garbles = False
        self.short_writes = False
        self.clock = 1_000_000_000
        self.on_call: Callable[[str], None] | None = None

    @property
    def table(self) -> Any:
        return self

    def _call(self, name: str) -> None:
        self.calls += 1
        if self.on_call is not None:
            self.on_call(name)
        if self.calls == self.fail_at or (self.fail_always and 0 <= self.fail_at <= self.calls):
            self.failed_call = name
            raise OSError(self.fail_errno, f"injected into {name}")

    def _file(self, fd: int) -> File:
        return self.open_files[fd]

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        self._call("open")
        file = self.disk.names.get(str(path))
        if file is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
            if str(path.parent) not in self.disk.directories:
                raise FileNotFoundError(errno.ENOENT, "no such directory", str(path.parent))
            file = File()
            self.disk.do("create", "", str(path), file)
        self.next_fd += 1
        self.open_files[self.next_fd] = file
        return self.next_fd

    def close(self, fd: int) -> None:
        file = self.open_files.pop(fd)
        if file.locked_by == (id(self), fd):
            file.locked_by = None

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        file = self._file(fd)
        if file.memory >= 0:
            return os.pread(file.memory, size, offset)
        return bytes(file.cache[offset : offset + size])

    def pread_into(self, fd: int, target: memoryview, offset: int) -> int:
        found = self.pread(fd, len(target), offset)
        target[: len(found)] = found
        return len(found)

    def pwrite(self, fd: int, data: Any, offset: int) -> int:
        self._call("pwrite")
        file, part = self._file(fd), bytes(data)
        if self.short_writes and len(part) > 1:
            part = part[: self.rng.randrange(1, len(part))]
        if file.memory >= 0:
            return os.pwrite(file.memory, part, offset)
        if len(file.cache) < offset:
            file.cache.extend(bytes(offset - len(file.cache)))
        file.cache[offset : offset + len(part)] = part
        file.mark(offset, len(part))
        return len(part)

    def fdatasync(self, fd: int) -> None:
        file = self._file(fd)
        try:
            self._call("fdatasync")
        except OSError:
            # As the kernel does: some sectors reached the disk, all count as clean, the cache lies.
            data = file.read()
            if self.fail_garbles:
                for page in {n * SECTOR // PAGE for n in file.changed()}:
                    file.disk[page * PAGE : (page + 1) * PAGE] = b"\xee" * PAGE
                file.dirty.clear()
                raise
            for n in sorted(file.changed()):
                if self.rng.random() < 0.5:
                    self._persist_sector(file, data, n)
            file.dirty.clear()
            raise
        file.sync()

    def _persist_sector(self, file: File, data: bytearray, n: int) -> None:
        part = data[n * SECTOR : (n + 1) * SECTOR]
        if len(file.disk) < n * SECTOR + len(part):
            file.disk.extend(bytes(n * SECTOR + len(part) - len(file.disk)))
        file.disk[n * SECTOR : n * SECTOR + len(part)] = part

    def begin_writeback(self, fd: int, offset: int, size: int) -> None:
        pass  # any subset may reach the disk anyway

    def sync_directory(self, path: Path) -> None:
        self._call("sync_directory")
        self.disk.sync_names(str(path))

    def rename(self, source: Path, target: Path) -> None:
        self._call("rename")
        file = self.disk.names.get(str(source))
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(source))
        self.disk.do("rename", str(source), str(target), file)

    def link(self, source: Path, target: Path) -> None:
        self._call("link")
        if str(target) in self.disk.names:
            raise FileExistsError(errno.EEXIST, "exists", str(target))
        self.disk.do("link", "", str(target), self.disk.names[str(source)])

    def unlink(self, path: Path) -> None:
        self._call("unlink")
        if str(path) not in self.disk.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        self.disk.do("unlink", str(path), "", self.disk.names[str(path)])

    def make_directory(self, path: Path) -> None:
        self._call("make_directory")
        self.disk.directories.add(str(path))

    def list_directory(self, path: Path) -> list[str]:
        prefix = f"{path}/"
        found = (name[len(prefix) :] for name in self.disk.names if name.startswith(prefix))
        return sorted(name for name in found if "/" not in name)

    def size(self, fd: int) -> int:
        file = self._file(fd)
        return os.fstat(file.memory).st_size if file.memory >= 0 else len(file.cache)

    def written(self, fd: int) -> list[tuple[int, int]]:
        return [(0, self.size(fd))]

    def links(self, fd: int) -> int:
        return self._file(fd).links

    def same_file(self, fd: int, path: Path) -> bool:
        return self.disk.names.get(str(path)) is self._file(fd)

    def allocate(self, fd: int, size: int) -> None:
        self._call("allocate")
        file = self._file(fd)
        if len(file.cache) < size:
            file.mark(len(file.cache), size - len(file.cache))
            file.cache.extend(bytes(size - len(file.cache)))

    def truncate(self, fd: int, size: int) -> None:
        self._call("truncate")
        file = self._file(fd)
        del file.cache[size:]
        file.dirty = {n for n in file.dirty if n * SECTOR < size} | {max(0, size - 1) // SECTOR}

    def lock(self, fd: int) -> bool:
        file = self._file(fd)
        if file.locked_by is not None:
            return False
        file.locked_by = (id(self), fd)
        return True

    def locked(self, fd: int) -> bool:
        return self._file(fd).locked_by is not None

    def mapping(self, fd: int) -> int:
        file = self._file(fd)
        if file.memory < 0:
            file.memory = os.memfd_create("ring")
            os.pwrite(file.memory, file.cache, 0)
        return file.memory

    def free_bytes(self, path: Path) -> int:
        return self.disk.free

    def disk_bytes(self, path: Path) -> int:
        return DISK_BYTES

    def now(self) -> int:
        self.clock += 1_000_000
        return self.clock

    def sleep(self, seconds: float) -> None:
        self.clock += int(seconds * 1e9)

    def wall(self) -> int:
        return 1_700_000_000_000_000_000 + self.clock

    def boottime(self) -> int:
        return self.clock

    def boot(self) -> str:
        return "simulated"

    def random(self, size: int) -> bytes:
        return self.rng.randbytes(size)

    def kill(self) -> SimulatedStorage:
        """The process ends; a new one on the same disk, page cache and all."""
        for file in self.open_files.values():
            file.locked_by = None
        self.open_files.clear()
        after = SimulatedStorage(self.disk, self.rng.randrange(1 << 30))
        after.clock = self.clock
        return after

    def power_off(self, seed: int) -> SimulatedStorage:
        """The machine ends; a new process on what the disk kept. This one stays usable (a parallel world)."""
        after = SimulatedStorage(self.disk.crash(random.Random(seed)), seed)
        after.clock = self.clock
        return after
