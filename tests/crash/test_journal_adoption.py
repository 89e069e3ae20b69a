"""A dead worker's ring is drained by a living one, and a slot that nobody has is taken up again."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest

from fanion.journal import JournalSettings, JournalWriter
from fanion.journal.reader import JournalReader
from fanion.journal.slot import read_slot
from fanion.journal.storage import Storage
from tests.crash.journal_worker import SETTINGS
from tests.crash.test_journal_kill import finish, read_lines, start
from tests.unit.journal_faults import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("ack", ["durable", "buffered"])
async def test_a_living_worker_drains_a_dead_ones_ring(tmp_path: Path, ack: str) -> None:
    storage, journal = Storage(), tmp_path / "journal"
    victim = start(tmp_path, ack, "victim")
    assert victim.stdout is not None
    lines = read_lines(victim.stdout, 300)
    survivor = JournalWriter.open(tmp_path, JournalSettings(**SETTINGS), asyncio.get_running_loop())
    assert survivor.identity == (1, 1)
    victim.send_signal(signal.SIGKILL)
    acknowledged = {line.decode().strip() for line in lines} | finish(victim)

    def clean() -> bool:
        state = read_slot(storage, journal, 0)
        return state is not None and state.clean

    begun = time.monotonic()
    await until(clean)
    print(f"adopted after {time.monotonic() - begun:.3f} s")
    found = {record.body.decode().split('"')[1] for record in JournalReader(tmp_path).read()}
    assert acknowledged - found == set()
    survivor.close()
