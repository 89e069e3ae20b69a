"""The data directory: may it be used here, and is it ours alone.

`lock_directory` takes the one exclusive lock that keeps a second server out. Worker processes inherit the lock's
file description, so the directory stays locked until the last of them has ended, supervisor or not.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from fanion.errors import ServeError

LOCK_NAME = "lock"
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

MEMORY = frozenset({"tmpfs", "ramfs"})
REFUSED = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "afs", "lustre", "gfs2", "ocfs2"}
)
"""Shared memory maps, locks or fdatasync aren't what the store and the journal need there; so is anything FUSE."""


def check_directory(directory: Path, *, memory_allowed: bool) -> None:
    """Whether a server may run on `directory`. Raises ServeError."""
    if not directory.exists():
        raise ServeError(
            f"{directory}: there is no such data directory; `fanion publish PATH... --data {directory}` makes one"
        )
    if not directory.is_dir():
        raise ServeError(f"{directory}: not a directory")
    status = directory.stat()
    if status.st_uid != os.geteuid():  # root too: what it made here, the owner's server could not open
        raise ServeError(f"{directory}: owned by user {status.st_uid}, this is user {os.geteuid()}")
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise ServeError(f"{directory}: must be readable and writable for user {os.geteuid()}")
    kind = filesystem_of(directory)
    if kind in REFUSED or kind.startswith("fuse"):
        raise ServeError(f"{directory}: is on {kind}; a local file system is needed (ext4, xfs, btrfs, zfs)")
    if kind in MEMORY and not memory_allowed:
        raise ServeError(
            f"{directory}: is on {kind}, which forgets at a reboot; allowed with --demo or --ack buffered only"
        )


def filesystem_of(directory: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The type of the file system that holds `directory`, e.g. "ext4"; empty where it can't be told."""
    try:
        device = directory.stat().st_dev
        wanted = f"{os.major(device)}:{os.minor(device)}"
        found = ""
        for line in mounts.read_text().splitlines():
            fields = line.split()
            if fields[2] == wanted:
                found = fields[fields.index("-") + 1]
        return found
    except (OSError, ValueError, IndexError):
        return ""


def lock_directory(directory: Path) -> int:
    """The descriptor that holds the lock until it and its copies are closed. Raises ServeError at once when
    another server has it."""
    path = directory / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise ServeError(f"{path}: can't be opened: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise ServeError(
            f"{directory}: another server uses this data directory (supervisor pid {holder}); stop it first. "
            "After its supervisor died, workers take up to 5 s to end"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    return descriptor
