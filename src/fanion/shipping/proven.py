"""What of the journal may be shipped: records that no power cut can take from it any more.

Of a living writer, and of one that ended well, a reader of the journal hands out nothing else. Of one that was
killed it hands out what stands in the log, whose last group may not have been synced. Were that shipped, and the
power cut before the next owner of the slot has synced it, then the writer would give other records those sequences,
which would be taken for shipped here and for known downstream: acknowledged, and in no row. So these wait until the
slot was drained, which marks it clean. Who drains: each worker's steward, every 0.3 s, all slots without an owner;
where no server runs, `fanion cluster ship` itself (`journal.session.adopt_all`). What was acknowledged after it was
synced isn't among them, unless the power was cut already: a killed worker's ring still says how far its syncs came.

Not covered: a disk that takes back what it synced, and an older copy of a journal that is put in its place with
`shipping` and `machine` kept. There the ledger is ahead of the journal, and what is given these sequences again
counts as shipped.
"""

from __future__ import annotations

from fanion.journal.log_segment import SEQUENCE_END, Segment
from fanion.journal.reader import JournalReader


class ProvenReader(JournalReader):
    """Hands out of a dead writer's records those only that are known to have been durable."""

    def ends(self) -> dict[int, int]:
        """Writer -> its durable end, where it is known: a living worker's, one's that was drained, or none there
        ever was."""
        found = super().chains()
        known = (each for each in found if each[1] != SEQUENCE_END or not each[2])
        return {segments[0].header.writer: end for segments, end, _ in known}

    def chains(self) -> list[tuple[list[Segment], int, int]]:
        return [
            (segments, proven if end == SEQUENCE_END and proven else end, proven)
            for segments, end, proven in super().chains()
        ]
