"""Workers that make room for new ones leave in turn: while none listens, connections are refused.

Each sees the heartbeats of all. It leaves while another one is ready; where none is, the first of those that wait
leaves, once nobody is about to come. Twice in a row, as one that says that it is ready listens a moment later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from fanion.telemetry.heartbeats import Heartbeat

LOOK_S: Final = 0.1
LOOKS: Final = 2
WAIT_S: Final = 20.0
"""So long for others to come; then it leaves as it would without them."""


class Turn:
    """Of one worker. `rows`: of all workers, itself (`own`) among them; none where it is alone."""

    def __init__(
        self, rows: Sequence[Heartbeat], own: Heartbeat, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._rows = rows
        self._own = own
        self._now = now
        self._ends = now() + WAIT_S
        self._seen = 0

    def has_come(self) -> bool:
        """Asked every LOOK_S."""
        self._seen = self._seen + 1 if self._may_leave() else 0
        return self._seen >= LOOKS or self._now() >= self._ends

    def _may_leave(self) -> bool:
        waiting = [self._own]
        for row in self._rows:
            if row is self._own:
                continue
            standing = row.standing()
            if standing is not None and standing.ready:
                return True
            waiting.append(row)
        if not all(row.beat_ns for row in waiting):
            return False
        return len(waiting) == 1 or self._rows[0] is self._own
