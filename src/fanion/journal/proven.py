"""What of the journal may be taken elsewhere: records that no power cut can take from it any more.

Of a living writer, and of one that ended well, a reader of the journal hands out nothing else. Of one that was
killed it hands out what stands in the log, whose last group may not have been synced. Were that shipped, made rows
or given to a sink, and the power cut before the next owner of the slot has synced it, then the writer would give
other records those sequences, which would be taken for known there: acknowledged, and in no row. So these wait
until the slot was drained, which marks it clean. Who drains: each worker's steward, every 0.3 s, all slots without
an owner; a command that may have no server beside it does so itself (`drain`, which is `session.adopt_all`). What
was acknowledged after it was synced isn't among them, unless the power was cut already: a killed worker's ring
still says how far its syncs came.

Not covered: a disk that takes back what it synced, and an older copy of a journal that is put in its place while
who reads goes on from its own place, which is ahead of the journal then: what is given these sequences again counts
as taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from fanion.errors import JournalError
from fanion.journal.batch import RecordBatch
from fanion.journal.log_segment import SEQUENCE_END, Segment
from fanion.journal.reader import Checkpoint, JournalReader
from fanion.journal.storage import Storage


class ProvenReader(JournalReader):
    """Hands out of a dead writer's records those only that are known to have been durable. `drain`: called before
    each reading of batches; has what killed workers left in their slots written and synced."""

    def __init__(
        self,
        directory: Path,
        *,
        storage: Storage | None = None,
        checkpoint: Checkpoint | None = None,
        name: str | None = None,
        yields: bool = False,
        hold_hours: float = 0.0,
        hold_share: float = 0.0,
        drain: Callable[[], None] | None = None,
    ) -> None:
        self._drain, self._undrained = drain, ""
        super().__init__(
            directory,
            storage=storage,
            checkpoint=checkpoint,
            name=name,
            yields=yields,
            hold_hours=hold_hours,
            hold_share=hold_share,
        )

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

    def read_batches(self) -> Iterator[RecordBatch]:
        """What can't be drained now isn't handed out yet, and all else is."""
        self._undrained = ""
        try:
            if self._drain is not None:
                self._drain()
        except (OSError, JournalError) as error:
            self._undrained = f"what killed workers left can't be drained: {error}"
        return super().read_batches()

    def problems(self) -> list[str]:
        """What could not be drained or read."""
        undrained = [self._undrained] if self._undrained else []
        return undrained + [f"{defect.path}: {defect.what}" for defect in self.defects]
