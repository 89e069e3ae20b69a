"""When the place that a server follows last said what is new: written by the process that follows, read by workers.

    DIR/shared/contact   Unix seconds (f64), number of the manifest (u64), both little-endian

It outlives the server, so that one that starts without the place knows how long it has been without. A worker looks
once a tick. Time passes by the wall clock, or by the monotonic clock where that says more: a clock that was set
back makes nothing fresh. A worker that finds a time of contact in the future knows nothing of it, as the clock was
set back before it came: then there was none, until the place is heard again."""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path
from typing import Final

CONTACT: Final = struct.Struct("<dQ")
AHEAD_S: Final = 60.0
"""Of a time of contact that was there before: what clocks are set right by all the time."""


def contact_path(directory: Path) -> Path:
    return directory / "shared" / "contact"


class Contact:
    """The file, mapped. Raises OSError."""

    def __init__(self, directory: Path) -> None:
        path = contact_path(directory)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size != CONTACT.size:
                os.ftruncate(descriptor, 0)
                os.ftruncate(descriptor, CONTACT.size)
            self._map = mmap.mmap(descriptor, CONTACT.size)
        finally:
            os.close(descriptor)
        self._found = self._seen = self._map[: CONTACT.size]
        self._seen_at = time.monotonic()

    def note(self, at: float, number: int) -> None:
        CONTACT.pack_into(self._map, 0, at, number)

    def stale_s(self) -> float:
        """Seconds since the last contact; since 1970 where there was none."""
        said = self._map[: CONTACT.size]
        if said != self._seen:
            self._seen, self._seen_at = said, time.monotonic()
        at, _ = CONTACT.unpack(said)
        now = time.time()
        if self._seen == self._found and not at - now <= AHEAD_S:
            return now
        return max(now - float(at), time.monotonic() - self._seen_at, 0.0)

    def close(self) -> None:
        self._map.close()
