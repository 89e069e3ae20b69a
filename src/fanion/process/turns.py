"""Workers that make room for new ones leave in turn: while none listens, connections are refused.

Each sees the heartbeats of all. It leaves while another one is ready; where none is, the first of those that wait
leaves, once nobody is about to come. Twice in a row, as one that says that it is ready listens a moment later.
One that is there to stay and not ready yet is waited for a moment only: it answers evaluations out of the new
store, and may become ready for events by nothing but our leaving, where it waits for what our ring holds. Meanwhile
we answer out of a store that is gone, and honour keys that were revoked since.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from fanion.telemetry.heartbeats import Heartbeat

LOOK_S: Final = 0.1
LOOKS: Final = 2
STAYS_S: Final = 1.0
"""So long for one that stays to be ready."""
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
        self._stays: float | None = None

    def has_come(self) -> bool:
        """Asked every LOOK_S."""
        self._seen = self._seen + 1 if self._may_leave() else 0
        return self._seen >= LOOKS or self._now() >= self._ends

    def _may_leave(self) -> bool:
        waiting = [self._own]
        stays = False
        for row in self._rows:
            if row is self._own:
                continue
            standing = row.standing()
            if standing is not None and standing.ready:
                return True
            stays = stays or (standing is not None and row.beat_ns > 0 and not standing.leaving)
            waiting.append(row)
        if stays:
            self._stays = self._now() if self._stays is None else self._stays
            return self._now() - self._stays >= STAYS_S
        self._stays = None
        if not all(row.beat_ns for row in waiting):
            return False
        return len(waiting) == 1 or self._rows[0] is self._own
