"""Overrides whose time is over, taken out of what is served: by a process of its own, since compiling takes long.

Every worker looks once a tick; whoever holds the lock starts the process (`fanion.app.settle`), the others find a
new generation. One that failed is started again after `AGAIN_S`. Event loop only.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fanion.process.child import run_child

log = logging.getLogger("fanion.store")

AGAIN_S: Final = 10.0
TIMEOUT_S: Final = 300.0
FOLDER, LOCK = "shared", "overrides.lock"


class Settling:
    """`generation`: what is served; `next_end`: when the first override of it is over; `now`: Unix seconds, the
    earlier of wall and believed time, since an override that ends early is worse than one that ends late."""

    def __init__(
        self,
        directory: Path,
        map_bytes: int,
        generation: Callable[[], int],
        next_end: Callable[[], float | None],
        now: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._map_bytes = map_bytes
        self._generation = generation
        self._next_end = next_end
        self._now = now
        self._seen = 0
        self._end: float | None = None
        self._again = 0.0
        self._task: asyncio.Task[None] | None = None

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def look(self) -> None:
        """Raises StoreError where the overrides can't be read."""
        if self._generation() != self._seen:
            self._seen, self._end = self._generation(), self._next_end()
        if self._end is None or self._now() < self._end or time.monotonic() < self._again:
            return
        if self._task is None or self._task.done():
            lock = self._lock()
            if lock is not None:
                self._again = time.monotonic() + AGAIN_S
                self._task = asyncio.create_task(self._settle(lock))

    def _lock(self) -> int | None:
        """None while another worker has it."""
        lock = os.open(self._directory / FOLDER / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        return lock

    async def _settle(self, lock: int) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                ended = await run_child("fanion.app.settle", str(self._directory), str(self._map_bytes))
            reason = ended.reason if ended.status else ""
        except TimeoutError:
            reason = f"it was not done within {TIMEOUT_S:.0f} s"
        except OSError as error:  # no room for another process
            reason = str(error)
        finally:
            os.close(lock)
        if reason:
            log.error("an override that is over still stands", extra={"reason": reason})
