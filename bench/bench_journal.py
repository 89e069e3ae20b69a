"""The journal's own costs on the event loop: appending a record, and reading it back.

A regression of `append` is paid by every ingest request; one of `read` by every pipeline. Latency to the disk is
`bench.journal_latency`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.journal_latency import BODY
from fanion._core.ring import DATA_OFFSET, Ring
from fanion.journal import JournalSettings, JournalWriter
from fanion.journal.reader import JournalReader

RING_BYTES = 64 << 20
ROUND_BYTES = RING_BYTES // 2


@pytest.mark.parametrize("size", [200, 23_000, 1_000_000], ids=["1-event", "100-events", "1-MB"])
def test_append(benchmark: Any, tmp_path: Path, size: int) -> None:
    """A record into the ring; nobody drains, so each round has a ring of its own."""
    body = (BODY * (size // len(BODY) + 1))[:size]
    path = tmp_path / "ring"
    count = min(2_000, ROUND_BYTES // (size + 200))

    def empty() -> tuple[tuple[Ring], dict[str, Any]]:
        path.write_bytes(bytes(DATA_OFFSET + RING_BYTES))
        with path.open("r+b") as file:
            return (Ring(file.fileno(), RING_BYTES, 0x0123456789ABCDEF),), {}

    def appends(ring: Ring) -> int:
        now = time.time_ns()
        for _ in range(count):
            last = ring.append("feather", "env_01hx", now, body, True)
        return last

    assert benchmark.pedantic(appends, setup=empty, rounds=5) == count
    if benchmark.enabled:
        benchmark.extra_info["per_append_us"] = round(benchmark.stats.stats.min / count * 1e6, 3)


def count_plain(reader: JournalReader) -> int:
    return sum(1 for _ in reader.read())


def count_batches(reader: JournalReader) -> int:
    return sum(len(batch.table) for batch in reader.read_batches())


@pytest.mark.parametrize("count", [count_plain, count_batches], ids=["plain", "batches"])
def test_read(benchmark: Any, tmp_path: Path, count: Callable[[JournalReader], int]) -> None:
    """1,000 records of 100 events each, from sealed segments in the page cache: copied one by one, and where they
    stand."""

    async def fill() -> None:
        settings = JournalSettings(compress=False, raise_priority=False, reserve_bytes=0, stall_ms=60_000.0)
        journal = JournalWriter.open(tmp_path, settings, asyncio.get_running_loop())
        for n in range(1_000):
            sequence = journal.append(
                dialect="feather", environment="env_01hx", received_ns=n, body=BODY, whole=True
            )
            if n % 100 == 99:
                await journal.durable(sequence)
        journal.close()

    asyncio.run(fill())
    assert benchmark(lambda: count(JournalReader(tmp_path))) == 1_000
