"""Monthly active users: who was let in this month, per organisation, exactly up to its cap, over all workers.

One set per organisation and UTC month, in mapped files under DIR/shared/active that outlive restarts and reboots.
They hold keyed hashes of 64 bits, never ids: with 100,000 users one pair in a billion sets is taken for one user.
Whoever is in stays in, also past the cap and when the cap is lowered; who isn't joins only under it. An
organisation without a cap has no set. Sets of the month before last are removed once a new month has begun.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from fanion._core.members import LIMIT_MAX, MemberSet
from fanion.errors import ServeError, StoreError
from fanion.small_files import Files, make_file

FOLDER = "active"
KEY_NAME = "key"
KEY_BYTES = 16
SETS_OPEN_MAX = 1_024
"""Organisations whose sets a worker keeps mapped: a process may have 65,530 mappings, and a set takes up to 23."""


class ActiveUsers:
    """The sets of one data directory; any number of processes may hold them. Made by `open`."""

    def __init__(self, folder: Path, key: bytes, now: Callable[[], float]) -> None:
        self._folder = folder
        self._key = key
        self._now = now
        self._sets: dict[str, MemberSet] = {}
        self._month = ""
        self._from = self._until = 0.0

    @classmethod
    def open(cls, directory: Path, *, now: Callable[[], float] = time.time) -> ActiveUsers:
        """Opens or makes DIR/shared/active. `now`: Unix seconds, which decide the month. Raises ServeError."""
        folder = directory / "shared" / FOLDER
        try:
            folder.parent.mkdir(mode=0o700, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            return cls(folder, _load_key(folder / KEY_NAME), now)
        except OSError as error:
            raise ServeError(f"the active-user sets can't be used: {error}") from error

    def admit(self, organisation: str, user: str, cap: int | None, now: float | None = None) -> bool:
        """Whether `user` was let in this month, or is now as one of the first `cap`; None: no cap, no set.

        All anonymous traffic of an organisation is one user; its name is the caller's. Raises StoreError when a
        set can't be made or read (disk full): nobody was counted.
        """
        if cap is None:
            return True
        try:
            return self._set(organisation, now).admit(user, min(cap, LIMIT_MAX))
        except (OSError, ValueError) as error:
            raise StoreError(f"the active users of {organisation} can't be counted: {error}") from error

    def count(self, organisation: str, now: float | None = None) -> int:
        """How many users were let in this month."""
        return len(self._set(organisation, now))

    def close(self) -> None:
        """Unmaps all sets; `admit` maps them again."""
        for members in self._sets.values():
            members.close()
        self._sets.clear()

    def _set(self, organisation: str, now: float | None) -> MemberSet:
        moment = self._now() if now is None else now
        if not self._from <= moment < self._until:
            self._turn(moment)
        members = self._sets.pop(organisation, None)
        if members is None:
            if len(self._sets) >= SETS_OPEN_MAX:
                self._sets.pop(next(iter(self._sets))).close()
            name = hashlib.blake2b(organisation.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
            members = MemberSet(str(self._folder / f"{self._month}-{name}-"), self._key)
        self._sets[organisation] = members  # at the end: the first is the one that was not asked for longest
        return members

    def _turn(self, moment: float) -> None:
        """Another month: its name and bounds; lets go of the sets at hand, and removes old files."""
        date = datetime.fromtimestamp(moment, UTC)
        start = datetime(date.year, date.month, 1, tzinfo=UTC)
        following = _months_after(start, 1)
        self.close()
        self._month, self._from, self._until = f"{start:%Y%m}", start.timestamp(), following.timestamp()
        oldest = f"{_months_after(start, -1):%Y%m}"
        for path in self._folder.iterdir():
            month = path.name.partition("-")[0]
            if month.isdigit() and len(month) == 6 and month < oldest:
                path.unlink(missing_ok=True)


def _months_after(start: datetime, months: int) -> datetime:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return start.replace(year=year, month=month + 1)


def _load_key(path: Path) -> bytes:
    """The key of the hashes, made by whoever comes first."""
    with contextlib.suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            raise OSError(
                f"{path}: {len(key)} bytes, {KEY_BYTES} are a key; remove it to begin the month anew"
            )
        return key
    make_file(Files(), path, os.urandom(KEY_BYTES))
    return _load_key(path)
