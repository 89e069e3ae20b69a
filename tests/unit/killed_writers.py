"""A slot of the journal whose owner was killed."""

from __future__ import annotations

from pathlib import Path

from fanion.journal.slot import Slot
from fanion.journal.storage import Storage


def killed(directory: Path, machine: bytes, durable_below: int, epoch: int = 1) -> None:
    """Writer 0's of the data directory, as of a process that was killed."""
    slot = Slot.take(Storage(), directory / "journal", 0, create=True)
    assert slot is not None
    slot.write(machine=machine, epoch=epoch, next_sequence=durable_below, ring_bytes=0, clean=False)
    slot.release()
