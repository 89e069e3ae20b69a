"""The data directory: may it be used here, and is it ours alone.

A `DirectoryLock` keeps a second server out: a locked file in the directory, and a name in the kernel that stands
for the place where the directory lies, since another one can be put there under a running server. Worker processes
inherit both, so the directory stays locked until the last of them has ended, supervisor or not.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import socket
import stat
import time
from pathlib import Path

from fanion.errors import ServeError

LOCK_NAME = "lock"
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

DRAFTS_IN = ("shared", "shared/active", "journal/readers", "sinks", "archive", "shipping")
DRAFT_S = 3_600
"""Writing a small file takes moments."""

MEMORY = frozenset({"tmpfs", "ramfs"})
REFUSED = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "afs", "lustre", "gfs2", "ocfs2"}
)
"""Shared memory maps, locks or fdatasync aren't what the store and the journal need there; so is anything FUSE."""


def check_directory(directory: Path, *, memory_allowed: bool) -> str:
    """Whether a server may run on `directory`. Raises ServeError. Returns what is odd about it, or nothing."""
    if not directory.exists():
        raise ServeError(
            f"{directory}: there is no such data directory; `fanion publish PATH... --data {directory}` makes one"
        )
    if not directory.is_dir():
        raise ServeError(f"{directory}: not a directory")
    status = directory.stat()
    user, owner = os.geteuid(), status.st_uid
    if user == 0 != owner:  # what root made here, the owner's server could not open
        raise ServeError(f"{directory}: owned by user {owner}, this is root; run it as user {owner}")
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise ServeError(
            f"{directory}: must be readable and writable for user {user}; it belongs to user {owner}, group "
            f"{status.st_gid}, mode {stat.S_IMODE(status.st_mode):o}. Change its owner, or give the group write "
            "access and run as a member of it"
        )
    kind = filesystem_of(directory)
    if kind in REFUSED or kind.startswith("fuse"):
        raise ServeError(f"{directory}: is on {kind}; a local file system is needed (ext4, xfs, btrfs, zfs)")
    if kind in MEMORY and not memory_allowed:
        raise ServeError(
            f"{directory}: is on {kind}, which forgets at a reboot; allowed with --demo or --ack buffered only"
        )
    if owner == user:
        return ""
    return f"{directory} belongs to user {owner}; every command has to run as user {user}, as this one"


def remove_drafts(directory: Path) -> None:
    """What a kill left behind of shared and small files that were being made. Only under the directory's lock,
    before any worker; a small one that a command may be at right now stays."""
    for draft in (directory / "shared").rglob("*.new"):
        draft.unlink(missing_ok=True)
    for folder in DRAFTS_IN:
        for draft in (directory / folder).glob("*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - draft.stat().st_mtime > DRAFT_S:
                    draft.unlink()


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


class DirectoryLock:
    """Held until it and its copies in forked processes are closed. Raises ServeError at once when another server
    has the directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files = [_open_lock(directory)]
        try:
            fcntl.flock(self._files[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._files[0], 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._files[0])
            raise ServeError(
                f"{directory}: another server uses this data directory (supervisor pid {holder}); stop it first. "
                "After its supervisor died, workers take up to 5 s to end"
            ) from None
        self._place = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._place.bind(_place_name(directory))
        except OSError as error:
            self.close()
            if error.errno != errno.EADDRINUSE:
                raise ServeError(f"{directory}: can't be locked: {error.strerror}") from None
            raise ServeError(
                f"{directory}: a server that was started for this place is running; another directory was put here "
                "since. Stop that server first"
            ) from None
        os.ftruncate(self._files[0], 0)
        os.pwrite(self._files[0], b"%d\n" % os.getpid(), 0)

    def follow(self) -> bool:
        """In a worker's start: where another directory was put in place of the locked one, holds that too, with the
        server's other workers, and says so. Raises ServeError when it isn't there or another server has it."""
        fresh = _open_lock(self._directory)
        if any(os.path.samestat(os.fstat(fresh), os.fstat(held)) for held in self._files):
            os.close(fresh)
            return False
        try:
            fcntl.flock(fresh, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            os.close(fresh)
            raise ServeError(f"{self._directory}: it was replaced, and another server uses it now") from None
        self._files.append(fresh)
        return True

    def close(self) -> None:
        self._place.close()
        for file in self._files:
            os.close(file)


def _open_lock(directory: Path) -> int:
    path = directory / LOCK_NAME
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise ServeError(f"{path}: can't be opened: {error.strerror}") from None


def _place_name(directory: Path) -> str:
    """An abstract socket's: which directory the data directory lies in, and what it is called there."""
    path = Path.cwd() / directory
    path = path.resolve() if path.name in ("", "..") else path
    parent = path.parent.stat()
    place = f"{parent.st_dev}:{parent.st_ino}:".encode() + os.fsencode(path.name)
    return f"\0fanion-{hashlib.sha256(place).hexdigest()}"
