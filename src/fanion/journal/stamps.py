"""When records were received, whatever the wall clock said: stamps, read by the directory's last good time.

Retention and the window's rebuild order segments by this and delete by this, never by the stamps themselves.
"""

from __future__ import annotations

import math
from pathlib import Path

from fanion.clock.belief import Belief, Moment, look
from fanion.clock.keeper import clock_path, decode
from fanion.journal.settings import JournalSettings
from fanion.journal.storage import Storage, read_file


class Stamps:
    """Made by `read_stamps`. Times are in seconds of the belief's age; without a belief as they were stamped."""

    def __init__(self, belief: Belief | None, trust_s: float) -> None:
        self._belief = belief
        self._trust_s = trust_s

    def made_at(self, stamp_ns: int) -> float:
        stamp = stamp_ns / 1e9
        return stamp if self._belief is None else self._belief.made_at(stamp)

    def deletable_before(self, hours: float) -> float:
        """What was made before has been kept for so long. Without a belief nothing has."""
        if self._belief is None:
            return -math.inf
        return self._belief.deletable_before(hours * 3_600, self._trust_s)


def read_stamps(storage: Storage, data: Path, settings: JournalSettings) -> Stamps:
    """By the last good time of the data directory `data`."""
    trust_s = settings.clock_trust_s
    try:
        belief = decode(read_file(storage, clock_path(data)))
    except FileNotFoundError:
        belief = None
    if belief is not None:
        moment = Moment(storage.wall() / 1e9, storage.boottime() / 1e9, storage.boot())
        belief = look(belief, moment, trust_s)
    return Stamps(belief, trust_s)
