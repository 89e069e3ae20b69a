"""What is said of the archive, in one small file that is only ever renamed into place. Nothing is decided by it but
where `fanion forget` looks."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fanion.archive import DIRECTORY
from fanion.journal.storage import Storage
from fanion.pipeline.said import keep_said, load_said


class State(msgspec.Struct, frozen=True):
    """Counts are over all time. `archived_unix_s`: when a segment was last read back. `lost_records`: of archived
    segments, what the journal could not read. `conflicts`: objects that hold something else than the journal.
    `failing`: why it doesn't, since when; empty: it does. `urls`: where anything was ever archived."""

    segments: int = 0
    records: int = 0
    bytes: int = 0
    lost_records: int = 0
    archived_unix_s: float = 0.0
    conflicts: list[str] = []
    failing: str = ""
    failing_since_unix_s: float = 0.0
    urls: list[str] = []


def load_state(storage: Storage, data: Path) -> State:
    """An empty one where nothing was archived yet, or nothing can be read."""
    return load_said(storage, data / DIRECTORY, State)


def keep_state(storage: Storage, data: Path, state: State) -> None:
    keep_said(storage, data / DIRECTORY, state, synced=True)
