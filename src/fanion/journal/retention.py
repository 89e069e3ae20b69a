"""Retention: which sealed segments go, and where their files go. Filled in by `Retention.run`, once at a time.

Segments leave from the oldest end of each writer's chain, by age or by total size, and never before every
registered reader has passed them (unless forced). One process of the journal does it at a time, by a lock.
"""

from __future__ import annotations

from pathlib import Path

from fanion.journal.files import SegmentMaker
from fanion.journal.settings import JournalSettings
from fanion.journal.storage import Storage


class Retention:
    def __init__(self, storage: Storage, directory: Path, settings: JournalSettings) -> None:
        self._storage = storage
        self._directory = directory
        self._settings = settings

    def run(self, maker: SegmentMaker) -> None:
        return None

    def close(self) -> None:
        return None
