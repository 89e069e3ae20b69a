"""A telemetry batch through the whole application in process, into a real journal on disk.

A regression here lowers the ingest rate. A round is `bench.asgi.REQUESTS` requests, one after another: with
`durable` each waits for its own sync, so that row shows latency; over HTTP syncs are shared (`bench.http_ratio`).
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bench.asgi import Driver, Snapshot
from bench.data import ENVIRONMENT, open_world
from bench.http_ratio import batch
from fanion.dialects.feather.routes import DIALECT
from fanion.journal.settings import JournalSettings
from fanion.journal.writer import JournalWriter

HEADERS = {"authorization": "Bearer sk_bench", "content-type": "application/json"}


class Late:
    """A journal that is opened on the driver's loop, once that exists."""

    def __init__(self) -> None:
        self.writer: Any = None

    def append(self, **record: Any) -> int:
        sequence: int = self.writer.append(**record)
        return sequence

    def durable(self, sequence: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self.writer.durable(sequence)
        return future


@pytest.mark.parametrize("events", [1, 100])
@pytest.mark.parametrize("ack", ["durable", "buffered"])
def bench_ingest(benchmark: Any, tmp_path: Path, events: int, ack: Any) -> None:
    """Target over HTTP, 100 events, durable: ≥ 0.50 × the do-nothing app."""
    journal = Late()
    driver = Driver(Snapshot(open_world(10), DIALECT, b"sk_bench", ENVIRONMENT), [DIALECT], journal)
    # What a bench writes goes with its directory, so nothing is kept free or compressed for later.
    settings = JournalSettings(ack=ack, reserve_bytes=0, compress=False, stall_ms=60_000.0)
    journal.writer = JournalWriter.open(tmp_path, settings, driver.loop)
    try:
        if benchmark.disabled:
            driver.request("/v1/telemetry/events", batch(events), HEADERS, count=1)
        answer = benchmark.pedantic(
            driver.request, ("/v1/telemetry/events", batch(events), HEADERS), rounds=30, warmup_rounds=1
        )
        assert answer == b""
        assert json.loads(batch(events))["events"]
    finally:
        journal.writer.close()
        driver.close()
