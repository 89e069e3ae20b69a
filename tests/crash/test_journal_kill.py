"""kill -9 of real worker processes at random moments: what was acknowledged is in the journal exactly once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import IO

import pytest

from fanion.journal.reader import JournalReader
from fanion.journal.session import adopt
from fanion.journal.settings import JournalSettings
from fanion.journal.slot import list_slots
from fanion.journal.storage import Storage
from tests.crash.journal_worker import SETTINGS
from tests.rounds import rounds

ROUNDS = rounds(3, 10, "JOURNAL_KILL_ROUNDS")
WORKER = Path(__file__).with_name("journal_worker.py")


def start(directory: Path, ack: str, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, WORKER, directory, ack, name], stdout=subprocess.PIPE)


def read_lines(stream: IO[bytes], count: int) -> list[bytes]:
    """Waits for `count` acknowledgements; fewer only when the process ended."""
    lines = []
    for line in stream:
        lines.append(line)
        if len(lines) >= count:
            break
    return lines


@pytest.mark.slow
@pytest.mark.timeout(300 + 20 * ROUNDS)
@pytest.mark.parametrize("ack", ["durable", "buffered"])
def test_killed_workers_lose_nothing_that_they_acknowledged(tmp_path: Path, ack: str) -> None:
    seed = int(os.environ.get("JOURNAL_KILL_SEED", str(random.randrange(1 << 30))))
    rng = random.Random(seed)
    acknowledged: set[str] = set()
    running: list[subprocess.Popen[bytes]] = []
    for n in range(ROUNDS):
        while len(running) < 2:
            running.append(start(tmp_path, ack, f"r{n}w{len(running)}-{rng.randrange(1 << 30)}"))
        everything = rng.random() < 0.4
        killed = list(running) if everything else [running.pop(rng.randrange(2))]
        for process in killed:
            assert process.stdout is not None
            lines = read_lines(process.stdout, rng.randrange(1, 800))
            acknowledged |= {line.decode().strip() for line in lines}
        for process in killed:
            process.send_signal(signal.SIGKILL)
        for process in killed:
            acknowledged |= finish(process)
        if everything:
            running.clear()
    for process in running:
        process.send_signal(signal.SIGKILL)
        acknowledged |= finish(process)
    storage = Storage()
    for writer in list_slots(storage, tmp_path / "journal"):
        adopt(storage, tmp_path / "journal", writer, JournalSettings(**SETTINGS))
    reader = JournalReader(tmp_path)
    found = Counter(json.loads(record.body)[0] for record in reader.read())
    lost = acknowledged - found.keys()
    twice = [marker for marker, count in found.items() if count > 1]
    print(
        f"seed {seed}: {len(acknowledged)} acknowledged, {len(found)} found, {len(lost)} lost, {len(twice)} twice"
    )
    assert acknowledged
    assert (lost, twice, reader.defects) == (set(), [], [])


def finish(process: subprocess.Popen[bytes]) -> set[str]:
    """What else stood in the pipe; a last line without its end was not yet told."""
    rest, _ = process.communicate()
    return {line.decode() for line in rest.split(b"\n")[:-1]}
