"""When a key was last used, by the hour: for who wants to know whether it can be revoked.

Nothing of it is on a request's path. A worker remembers the keys that it has looked up in the store; at each new
hour it forgets them, so that a key which goes on being used is looked up once more, which is what is noted. It is
merged into DIR/shared/key-use every few seconds and at a stop, by all workers, under a lock.

The file is derived: one that is missing or doesn't read is begun anew, and a worker's death loses the last seconds.
Hours are the wall clock's.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from fanion.errors import DamagedFileError
from fanion.small_files import Files, read_document, replace_file, sealed

log = logging.getLogger("fanion.worker")

FOLDER, NAME, LOCK_NAME = "shared", "key-use", "key-use.lock"
HOUR_S = 3_600
SAVE_EVERY_S = 10.0
KEPT_HOURS = 2 * 366 * 24
KEYS_MAX = 1_000_000

_decode = msgspec.json.Decoder(dict[str, int]).decode


def read_key_use(directory: Path) -> dict[str, int]:
    """Key id -> the hour of its last use, counted from 1970. Empty where nothing can be read."""
    try:
        return read_document(Files(), directory / FOLDER / NAME, _decode)
    except (OSError, DamagedFileError):
        return {}


class KeyUse:
    """One worker's side. `take` gives the ids looked up since it was last asked, `forget` has them looked up again;
    both, `due` and `close` belong to the event loop's thread. `now`: Unix seconds."""

    def __init__(
        self,
        directory: Path,
        take: Callable[[], Collection[str]],
        forget: Callable[[], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._take = take
        self._forget = forget
        self._now = now
        self._hour = int(now() // HOUR_S)
        self._save_at = now()

    def due(self) -> tuple[Collection[str], int] | None:
        """What to `save`, beside the event loop; None: nothing now."""
        now = self._now()
        hour = int(now // HOUR_S)
        if hour == self._hour and 0 <= self._save_at - now <= SAVE_EVERY_S:
            return None
        used, self._hour, last = self._take(), hour, self._hour
        if hour != last:
            self._forget()
        self._save_at = now + SAVE_EVERY_S
        return (used, last) if used else None

    def save(self, used: Collection[str], hour: int) -> None:
        """Notes that the keys were used in `hour`. What can't be written is logged, and lost."""
        folder = self._directory / FOLDER
        try:
            with _locked(folder / LOCK_NAME):
                found = read_key_use(self._directory)
                found.update((name, max(hour, found.get(name, 0))) for name in used)
                kept = {name: at for name, at in found.items() if at > hour - KEPT_HOURS}
                if len(kept) <= KEYS_MAX:
                    replace_file(Files(), folder / NAME, sealed(msgspec.json.encode(kept)))
        except OSError as error:
            log.warning("the last use of keys can't be noted", extra={"reason": str(error)})

    def close(self) -> None:
        used = self._take()
        if used:
            self.save(used, int(self._now() // HOUR_S))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
