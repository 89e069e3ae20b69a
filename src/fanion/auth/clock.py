"""The time by which a key's expiry is judged: the wall clock, but not one that jumps.

A clock that is set a year ahead by mistake must not shut every key out, and one that falls back to 1970 must not
bring expired keys back. So time runs on the machine's own elapsed time from a trusted start and follows the wall
clock in small steps; a jump is believed only after it has lasted `BELIEVED_AFTER_S`, and never to before the
`floor`, a moment that certainly has been (the store's last publish).
One per worker; `tick` once a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STEP_MAX_S = 5.0
"""What time services correct at once; more is a jump."""

BELIEVED_AFTER_S = 300.0


def elapsed_s() -> float:
    """Seconds that only go forward, also over suspends."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class ExpiryClock:
    """`now()` in Unix seconds."""

    def __init__(
        self,
        floor: float = 0.0,
        *,
        wall: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = elapsed_s,
    ) -> None:
        self._floor = floor
        self._wall = wall
        self._elapsed = elapsed
        self._offset = max(wall(), floor) - elapsed()
        self._jump: float | None = None
        self._jump_since = 0.0

    def now(self) -> float:
        return self._elapsed() + self._offset

    @property
    def distrusts(self) -> float | None:
        """How many seconds the wall clock is ahead of `now` (negative: behind) when it isn't believed."""
        return self._jump

    def tick(self) -> None:
        """Compares with the wall clock and follows it, at once or when a jump has lasted."""
        elapsed = self._elapsed()
        wall = max(self._wall(), self._floor)
        ahead = wall - elapsed - self._offset
        if abs(ahead) <= STEP_MAX_S:
            self._offset += ahead
            self._jump = None
            return
        if self._jump is None or abs(ahead - self._jump) > STEP_MAX_S:
            self._jump_since = elapsed
        self._jump = ahead
        if elapsed - self._jump_since >= BELIEVED_AFTER_S:
            self._offset += ahead
            self._jump = None
