"""Batches of records are the plain reader's records: random payloads, whole and broken, times, and places to begin.

A seed is printed; RECORD_BATCHES_SEED takes one in. The simulated disk's own tests (tests/model) read all that they
damage both ways.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest

from fanion._core import journal_format, record_table
from fanion.errors import JournalError
from fanion.journal.batch import EVENTS_HEADER, Record
from fanion.journal.log_segment import KIND_EVENTS, PAGE, SegmentHeader
from fanion.journal.reader import Checkpoint, JournalReader
from fanion.journal.storage import write_all
from tests.model.journal_world import DATA, JOURNAL, by_batches, new_disk, one_by_one
from tests.model.simulated_disk import SimulatedStorage

SEED = int(os.environ.get("RECORD_BATCHES_SEED", random.randrange(1 << 32)))
SALT = 0x1111111122223333
HEADER = SegmentHeader(bytes(16), SALT, 1, 1, 1, 1, 0, 0)
DIALECTS = ("feather", "x" * 300, "", "tür")


def random_payload(draw: random.Random) -> bytes:
    dialect, environment = draw.choice(DIALECTS).encode(), draw.choice(DIALECTS).encode()
    count = draw.randrange(4)
    parts = (dialect, environment, bytes(count), bytes(16 * draw.choice([0, count, count + 1])))
    head = EVENTS_HEADER.pack(
        len(dialect), len(environment), count, len(parts[3]) // 16, draw.choice([0, 1, 255])
    )
    return head + b"".join(parts) + draw.randbytes(draw.choice([0, 1, 60, 3000]))


def broken_payload(draw: random.Random) -> bytes:
    if draw.random() < 0.3:
        return draw.randbytes(draw.randrange(EVENTS_HEADER.size))
    if draw.random() < 0.5:
        return EVENTS_HEADER.pack(3, 3, 0, draw.choice([1, 2**28, 2**32 - 1]), 0) + b"abcdef"
    return EVENTS_HEADER.pack(2, 0, 0, 0, 0) + b"\xff\xfe"


def segment(draw: random.Random, *, broken: float) -> SimulatedStorage:
    storage = SimulatedStorage(new_disk(), draw.randrange(1 << 30))
    storage.make_directory(JOURNAL)
    records = bytearray(HEADER.page() + bytes(PAGE))
    for sequence in range(1, draw.randrange(2, 60)):
        payload = broken_payload(draw) if draw.random() < broken else random_payload(draw)
        records += journal_format.make_record(payload, KIND_EVENTS, sequence, draw.randrange(100), SALT)
    fd = storage.open(JOURNAL / "000-1.log", create=True)
    write_all(storage, fd, records, 0)
    storage.close(fd)
    return storage


def taken(read: Callable[[JournalReader], Iterator[Record]], reader: JournalReader) -> tuple[object, ...]:
    """What it hands out, again and again from where it was, up to what it refuses."""
    found: list[Record] = []
    try:
        found.extend(read(reader))
    except JournalError as error:
        return found, str(error), reader.checkpoint, reader.defects
    return found, "", reader.checkpoint, reader.defects


def test_batches_hold_the_plain_readers_records(monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"RECORD_BATCHES_SEED={SEED}")
    draw = random.Random(SEED)
    refused = 0
    for round in range(300):
        monkeypatch.setattr("fanion.journal.log_segment.WINDOW_BYTES", draw.choice([256, 4096, 1 << 20]))
        storage = segment(draw, broken=draw.choice([0, 0, 0.05]))
        arguments = {
            "checkpoint": Checkpoint(bytes(16).hex(), {0: draw.choice([1, 1, draw.randrange(1, 60)])}),
            "since_ns": draw.choice([0, draw.randrange(100)]),
            "storage": storage,
        }
        plain = taken(one_by_one, JournalReader(DATA, **arguments))
        assert taken(by_batches, JournalReader(DATA, **arguments)) == plain, round
        refused += plain[1] != ""
    assert refused > 5


def test_a_checkpoint_counts_a_batch_when_the_next_is_asked_for() -> None:
    reader = JournalReader(DATA, storage=segment(random.Random(1), broken=0))
    batches = reader.read_batches()
    batch = next(batches)
    assert reader.checkpoint.next_sequence == {0: 1}
    last = batch.table.sequence[len(batch.table) - 1]
    assert next(batches, None) is None
    assert reader.checkpoint.next_sequence == {0: last + 1}


def test_a_row_beyond_the_batch_is_refused() -> None:
    batch = next(JournalReader(DATA, storage=segment(random.Random(2), broken=0)).read_batches())
    with pytest.raises(IndexError, match="the batch has"):
        batch.record(len(batch.table))


@pytest.mark.parametrize(("offset", "end", "records"), [(0, 65, 1), (0, 64, 3), (0, 32, 1)])
def test_a_region_that_holds_no_such_records_is_refused(offset: int, end: int, records: int) -> None:
    data = journal_format.make_record(bytes(20), KIND_EVENTS, 1, 0, SALT)
    names = record_table.Names()
    with pytest.raises(ValueError, match="region"):
        record_table.tabulate(data, offset, end, records, 0, 0, names, names)
