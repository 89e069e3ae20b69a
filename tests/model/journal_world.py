"""A journal on a simulated disk, driven step by step: writer and steward without their threads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fanion._core.journal_writer import BLOCKED, IDLE
from fanion.errors import JournalError
from fanion.journal.batch import Record
from fanion.journal.reader import JournalReader
from fanion.journal.session import Session
from fanion.journal.settings import KIB, JournalSettings
from fanion.journal.steward import Steward
from tests.model.simulated_disk import Disk, SimulatedStorage

DATA = Path("/data")
JOURNAL = DATA / "journal"
SETTINGS = JournalSettings(
    ring_bytes=64 * KIB,
    segment_bytes=64 * KIB,
    group_bytes=8 * KIB,
    reserve_bytes=0,
    compress=False,
    ready_segments=1,
)


class World:
    """One worker. `sent`: every record taken, by sequence; `acknowledged`: the highest that was durable."""

    def __init__(self, storage: SimulatedStorage | None = None, settings: JournalSettings = SETTINGS) -> None:
        self.storage = storage or SimulatedStorage(new_disk(), 1)
        self.settings = settings
        self.steward = Steward(self.storage, JOURNAL, settings, self)
        self.sent: dict[int, bytes] = {}
        self.acknowledged = 0

    # The steward's owner: there is no event loop here.

    def attach(self, session: Session) -> None:
        pass

    def detach(self, reason: str) -> None:
        self.steward.detached.set()

    def fail_waiting(self, reason: str) -> None:
        pass

    def call(self, work: Callable[[], None]) -> None:
        work()

    @property
    def session(self) -> Session:
        assert self.steward.session is not None, self.steward.health
        return self.steward.session

    def open(self) -> World:
        self.steward.open()
        return self

    def append(self, body: bytes) -> int:
        sequence = self.session.ring.append("feather", "prod", self.storage.wall(), body, False)
        if sequence > 0:
            self.sent[sequence] = body
        return sequence

    def step(self) -> int:
        """One drain; afterwards what it acknowledged is known."""
        result = self.session.native.step()
        self.acknowledged = max(self.acknowledged, self.session.ring.durable)
        return result

    def tick(self) -> None:
        # As the steward's own thread: what a round could not do is done in a later one.
        with contextlib.suppress(OSError, JournalError):
            self.steward.tick()

    def drain(self, rounds: int = 200) -> bool:
        """Steps and ticks until all is durable; False when that doesn't come about."""
        for _ in range(rounds):
            if self.steward.session is not None:
                result = self.step()
                if result == IDLE:
                    return True
                if result == BLOCKED:
                    self.storage.clock += 500_000_000
            else:
                self.storage.clock += 1_000_000_000
            self.tick()
        return False

    def close(self) -> bool:
        """An orderly end."""
        session = self.session
        self.steward.session = None
        return session.finish()


def new_disk() -> Disk:
    disk = Disk()
    disk.directories.add(str(DATA))
    return disk


def read_all(storage: SimulatedStorage) -> tuple[list[Record], JournalReader]:
    """By both ways to read, which say the same."""
    reader = JournalReader(DATA, storage=storage)
    records = list(reader.read())
    other = JournalReader(DATA, storage=storage)
    assert list(by_batches(other)) == records
    assert other.defects == reader.defects
    assert other.checkpoint == reader.checkpoint
    return records, reader


def one_by_one(reader: JournalReader) -> Iterator[Record]:
    return reader.read()


def by_batches(reader: JournalReader) -> Iterator[Record]:
    return (batch.record(row) for batch in reader.read_batches() for row in range(len(batch.table)))


Way = Callable[[JournalReader], Iterator[Record]]
BOTH_WAYS = pytest.mark.parametrize("read", [one_by_one, by_batches])
"""For tests that ask a reader of their own."""


def check_recovered(storage: SimulatedStorage, sent: dict[int, bytes], acknowledged: int) -> int:
    """Starts on what is there and checks the promise: all that was acknowledged, an unbroken prefix of what was
    sent, nothing twice, nothing else. Returns how many records there are."""
    world = World(storage).open()
    assert world.steward.session is not None, world.steward.health
    records, reader = read_all(storage)
    sequences = [record.sequence for record in records]
    assert sequences == list(range(1, len(records) + 1)), sequences
    assert len(records) >= acknowledged, (len(records), acknowledged)
    for record in records:
        assert sent[record.sequence] == record.body, record.sequence
    assert reader.defects == []
    sequence = world.append(b"[1]")
    assert sequence == len(records) + 1
    assert world.drain()
    assert read_all(storage)[0][-1].body == b"[1]"
    world.session.abandon()
    return len(records)
