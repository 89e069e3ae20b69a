"""How far a registered reader is behind, and what the journal keeps for it."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from fanion.journal.log_segment import SEQUENCE_END
from fanion.journal.reader import Checkpoint, JournalReader, segment_limits
from fanion.journal.storage import Storage


class Lag(NamedTuple):
    """`records`: durable and not handed out; those of a dead worker count once its ring was drained. `held_bytes`:
    of segments that are full and not read to their end: what can't leave the disk before it is."""

    records: int
    held_bytes: int


def lag_of(reader: JournalReader, storage: Storage, at: Checkpoint | None = None) -> Lag:
    """Between two reads of it. `at`: from there on, not from what was handed out."""
    records = held = 0
    chains = reader.chains()
    place = (at or reader.checkpoint).next_sequence
    for segments, end, proven in chains:
        header = segments[0].header
        position = place.get(header.writer, header.first_sequence)
        records += max(0, (proven if end == SEQUENCE_END else end) - position)
        for segment, limit in list(zip(segments, segment_limits(segments, end), strict=True))[:-1]:
            if limit > max(position, segment.header.first_sequence):
                with contextlib.suppress(FileNotFoundError):  # compressed meanwhile: the next look counts it
                    fd = storage.open(segment.path, write=False)
                    try:
                        held += storage.size(fd)
                    finally:
                        storage.close(fd)
    return Lag(records, held)
