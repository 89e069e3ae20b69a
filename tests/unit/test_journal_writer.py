"""The journal as the event loop sees it, on a real file system with real threads."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanion.errors import ConfigError, JournalError, JournalFullError
from fanion.journal import JournalSettings, JournalWriter
from fanion.journal.batch import Record
from fanion.journal.reader import JournalReader
from fanion.journal.settings import KIB
from tests.model.journal_world import by_batches
from tests.unit.journal_faults import FaultyStorage, until

pytestmark = pytest.mark.anyio

SETTINGS = JournalSettings(
    ring_bytes=256 * KIB,
    segment_bytes=64 * KIB,
    group_bytes=16 * KIB,
    reserve_bytes=0,
    stall_ms=60_000.0,  # a sync on a disk that others use may take as long as the default
    raise_priority=False,
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def journal(
    directory: Path, storage: FaultyStorage | None = None, **changes: Any
) -> AsyncIterator[JournalWriter]:
    settings = msgspec.structs.replace(SETTINGS, **changes)
    writer = JournalWriter.open(directory, settings, asyncio.get_running_loop(), storage)
    try:
        yield writer
    finally:
        if storage is not None:
            storage.failing.clear()
            storage.blocked.set()
        writer.close()


def append(writer: JournalWriter, body: bytes, **members: Any) -> int:
    arguments: dict[str, Any] = {"dialect": "feather", "environment": "prod", "received_ns": time.time_ns()}
    return writer.append(**{**arguments, "body": body, "whole": True, **members})


def read(directory: Path) -> list[Record]:
    reader = JournalReader(directory)
    records = list(reader.read())
    assert reader.defects == []
    assert list(by_batches(JournalReader(directory))) == records
    return records


def bodies(directory: Path) -> list[bytes]:
    return [record.body for record in read(directory)]


async def test_a_durable_record_is_read_as_it_was_given(tmp_path: Path) -> None:
    async with journal(tmp_path) as writer:
        members = {
            "dialect": "redpennon",
            "environment": "é",
            "dispositions": b"\0\2",
            "ids": bytes(range(32)),
        }
        sequence = append(writer, b"[1,2]", whole=False, received_ns=17, **members)
        await writer.durable(sequence)
        (record,) = read(tmp_path)
    assert record == Record(0, 1, 1, 17, "redpennon", "é", b"\0\2", bytes(range(32)), False, b"[1,2]")


async def test_one_signal_resolves_every_waiter_of_its_group(tmp_path: Path) -> None:
    async with journal(tmp_path) as writer:
        await asyncio.gather(*(writer.durable(append(writer, b"[%d]" % n)) for n in range(500)))
        assert writer.metrics()["records"] == 500
        assert writer.metrics()["syncs"] < 500
    assert bodies(tmp_path) == [b"[%d]" % n for n in range(500)]


async def test_buffered_answers_at_once_and_is_written_all_the_same(tmp_path: Path) -> None:
    storage = FaultyStorage()
    storage.blocked.clear()
    async with journal(tmp_path, storage, ack="buffered") as writer:
        assert writer.durable(append(writer, b"[1]")).done()
        storage.blocked.set()
        await until(lambda: writer.metrics()["durable_sequence"] == 1)
    assert bodies(tmp_path) == [b"[1]"]


async def test_a_cancelled_waiter_disturbs_nobody(tmp_path: Path) -> None:
    async with journal(tmp_path) as writer:
        first, second = (writer.durable(append(writer, b"[1]")) for _ in range(2))
        first.cancel()
        await second


async def test_a_full_ring_refuses_and_takes_again_when_drained(tmp_path: Path) -> None:
    storage = FaultyStorage()
    async with journal(tmp_path, storage) as writer:
        await writer.durable(append(writer, b"[]"))
        storage.blocked.clear()
        taken = []
        for _ in range(14):
            taken.append(append(writer, b" " * 16_000))
        with pytest.raises(JournalFullError):
            append(writer, b" " * 16_000)
        metrics = writer.metrics()
        assert metrics["ring_used_bytes"] <= metrics["ring_capacity_bytes"] * 9 // 10
        assert metrics["refused"] == 1
        storage.blocked.set()
        await writer.durable(taken[-1])
        await writer.durable(append(writer, b" " * 16_000))


async def test_the_largest_record_is_taken_and_one_byte_more_is_not(tmp_path: Path) -> None:
    async with journal(tmp_path) as writer:
        most = SETTINGS.record_bytes_max - 16 - len("feather") - len("prod")
        await writer.durable(append(writer, b"x" * most))
        with pytest.raises(JournalFullError, match="the ring takes"):
            append(writer, b"x" * (most + 1))
    assert [len(body) for body in bodies(tmp_path)] == [most]


@pytest.mark.parametrize("call", ["fdatasync", "pwrite"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
async def test_one_failed_write_costs_a_segment_and_no_answer(
    tmp_path: Path, call: str, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2, S4: the group is written again elsewhere, then acknowledged; each record is there once."""
    # A busy machine may take longer than the grace between a failure and the next segment.
    monkeypatch.setattr("fanion.journal.steward.FAILURE_GRACE_NS", 30_000_000_000)
    storage = FaultyStorage()
    storage.fail_once = True
    storage.error = error
    async with journal(tmp_path, storage) as writer:
        await until(lambda: writer.state().ok)
        for n in range(20):
            if n % 5 == 4:
                storage.failing.add(call)
            await writer.durable(append(writer, b"[%d]" % n))
        assert storage.failures == 4
        await until(lambda: writer.state().ok)
    assert bodies(tmp_path) == [b"[%d]" % n for n in range(20)]


async def test_a_disk_that_fails_for_ever_refuses_and_recovers_by_itself(tmp_path: Path) -> None:
    """S3: waiting requests are answered, readyz has the reason, nothing is acknowledged; later all is well."""
    storage = FaultyStorage()
    async with journal(tmp_path, storage, stall_ms=2_000.0) as writer:
        await writer.durable(append(writer, b"[0]"))
        storage.failing.add("fdatasync")
        with pytest.raises(JournalError):
            await writer.durable(append(writer, b"[1]"))
        await until(lambda: not writer.state().ok)
        assert "Input/output error" in writer.state().reason
        with pytest.raises(JournalFullError, match="Input/output error"):
            append(writer, b"[2]")
        storage.failing.clear()
        await until(lambda: writer.state().ok)
        await writer.durable(append(writer, b"[3]"))
    assert bodies(tmp_path) == [b"[0]", b"[1]", b"[3]"]


async def test_a_full_disk_leaves_no_heap_of_files_and_recovers(tmp_path: Path) -> None:
    """S1: also making segments fails; what was acknowledged stays."""
    storage = FaultyStorage()
    storage.error = errno.ENOSPC
    async with journal(tmp_path, storage, stall_ms=2_000.0) as writer:
        await writer.durable(append(writer, b"[0]"))
        storage.failing |= {"pwrite", "create"}
        with pytest.raises(JournalError):
            await writer.durable(append(writer, b"[1]"))
        await until(lambda: "No space left" in writer.state().reason)
        await until(lambda: storage.failures > 6)
        assert len(list((tmp_path / "journal").iterdir())) < 12
        storage.failing.clear()
        await until(lambda: writer.state().ok)
        await writer.durable(append(writer, b"[2]"))
    assert bodies(tmp_path) == [b"[0]", b"[1]", b"[2]"]


async def test_little_free_space_sheds_ingest_before_the_disk_is_full(tmp_path: Path) -> None:
    storage = FaultyStorage()
    async with journal(tmp_path, storage, reserve_bytes=1 << 30) as writer:
        await until(lambda: writer.state().ok)
        storage.free = 1 << 20
        await until(lambda: not writer.state().ok)
        assert "1 MiB free" in writer.state().reason
        with pytest.raises(JournalFullError, match="MiB free"):
            append(writer, b"[1]")
        storage.free = None
        await until(lambda: writer.state().ok)
        await writer.durable(append(writer, b"[2]"))
    assert bodies(tmp_path) == [b"[2]"]


async def test_a_writer_that_hangs_fails_its_waiters_and_goes_on_later(tmp_path: Path) -> None:
    """P5: no false answer while it hangs, and what it held is written once it moves again."""
    storage = FaultyStorage()
    async with journal(tmp_path, storage, stall_ms=2_000.0) as writer:
        await writer.durable(append(writer, b"[0]"))
        storage.blocked.clear()
        with pytest.raises(JournalError, match="has not moved"):
            await writer.durable(append(writer, b"[1]"))
        await until(lambda: not writer.state().ok)
        storage.blocked.set()
        await until(lambda: writer.state().ok)
        await writer.durable(append(writer, b"[2]"))
    assert bodies(tmp_path) == [b"[0]", b"[1]", b"[2]"]


async def test_a_writer_thread_that_ends_asks_for_a_new_process(tmp_path: Path) -> None:
    """P2: waiting requests are answered; what is in the ring is kept for the next owner."""
    async with journal(tmp_path) as writer:
        await writer.durable(append(writer, b"[0]"))
        assert writer._session is not None
        writer._session.native.stop_now()
        await until(lambda: writer.state().fatal)
        with pytest.raises((JournalError, JournalFullError)):
            await writer.durable(append(writer, b"[1]"))
        assert "has ended" in writer.state().reason
    async with journal(tmp_path) as writer:
        await writer.durable(append(writer, b"[2]"))
    assert bodies(tmp_path)[0] == b"[0]"
    assert bodies(tmp_path)[-1] == b"[2]"


async def test_a_deleted_directory_turns_red_and_green_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    async with journal(data) as writer:
        await until(lambda: writer.state().ok)
        await writer.durable(append(writer, b"[0]"))
        shutil.rmtree(data)
        await until(lambda: not writer.state().ok)
        assert "is gone" in writer.state().reason or "can't be opened" in writer.state().reason
        with pytest.raises(JournalFullError):
            append(writer, b"[1]")
        data.mkdir()
        await until(lambda: writer.state().ok)
        await writer.durable(append(writer, b"[2]"))
    assert bodies(data)[-1] == b"[2]"


async def test_nothing_is_acknowledged_into_a_deleted_file(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    async with journal(data) as writer:
        await writer.durable(append(writer, b"[0]"))
        shutil.rmtree(data / "journal")
        acknowledged: list[bytes] = []
        numbers = iter(range(1, 1 << 30))
        while len(acknowledged) < 5:
            body = b"[%d]" % next(numbers)
            with contextlib.suppress(JournalError):
                await writer.durable(append(writer, body))
                acknowledged.append(body)
            await asyncio.sleep(0.002)
    found = bodies(data)
    assert [body for body in acknowledged if body not in found] == []


async def test_a_directory_that_may_not_be_written_is_told_and_tried_again(tmp_path: Path) -> None:
    storage = FaultyStorage()
    storage.failing |= {"create", "make_directory"}
    storage.error = errno.EROFS
    async with journal(tmp_path, storage) as writer:
        assert "Read-only file system" in writer.state().reason
        with pytest.raises(JournalFullError, match="Read-only"):
            append(writer, b"[1]")
        storage.failing.clear()
        await until(lambda: writer.state().ok)
        await writer.durable(append(writer, b"[2]"))
    assert bodies(tmp_path) == [b"[2]"]


async def test_two_workers_have_two_slots_and_one_reader_sees_both(tmp_path: Path) -> None:
    async with journal(tmp_path) as first, journal(tmp_path) as second:
        assert (first.identity, second.identity) == ((0, 1), (1, 1))
        for n in range(10):
            await first.durable(append(first, b"[%d]" % n))
            await second.durable(append(second, b"[%d]" % (100 + n)))
        found = [(record.writer, record.body) for record in read(tmp_path)]
    assert found == [(0, b"[%d]" % n) for n in range(10)] + [(1, b"[%d]" % (100 + n)) for n in range(10)]


async def test_an_orderly_end_leaves_a_clean_slot_that_the_next_one_takes_up(tmp_path: Path) -> None:
    for epoch in range(1, 4):
        async with journal(tmp_path) as writer:
            assert writer.identity == (0, epoch)
            await writer.durable(append(writer, b"[%d]" % epoch))
    assert [(record.epoch, record.sequence) for record in read(tmp_path)] == [(1, 1), (2, 2), (3, 3)]


async def test_records_over_many_segments_stay_in_order(tmp_path: Path) -> None:
    async with journal(tmp_path) as writer:
        for start in range(0, 2000, 50):
            await asyncio.gather(
                *(writer.durable(append(writer, b"[%d]" % n + b" " * 700)) for n in range(start, start + 50))
            )
        assert writer.metrics()["rotations"] > 2
    assert [record.sequence for record in read(tmp_path)] == list(range(1, 2001))


async def test_closing_fails_those_who_still_wait(tmp_path: Path) -> None:
    async with journal(tmp_path) as writer:
        sequence = append(writer, b"[1]")
        future = writer.durable(sequence)
    await future
    assert not writer.state().ok
    with pytest.raises(JournalFullError):
        append(writer, b"[2]")
    with pytest.raises(JournalError):
        await writer.durable(2)


@pytest.mark.parametrize(
    "changes",
    [{"ring_bytes": 1000}, {"segment_bytes": 5000}, {"group_bytes": 1}, {"slots": 0}, {"ready_segments": 9}],
)
async def test_settings_that_contradict_each_other_are_refused(
    tmp_path: Path, changes: dict[str, int]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        JournalWriter.open(tmp_path, msgspec.structs.replace(SETTINGS, **changes), asyncio.get_running_loop())
