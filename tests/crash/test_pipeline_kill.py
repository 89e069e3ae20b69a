"""kill -9 of the pipeline, of writers and of both at random moments: each event of the journal is a row, once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fanion.journal.event import split_events
from fanion.journal.reader import JournalReader
from fanion.journal.session import adopt
from fanion.journal.settings import JournalSettings
from fanion.journal.slot import list_slots
from fanion.journal.storage import Storage
from fanion.pipeline.manifest import load_manifest
from fanion.pipeline.query import ask
from tests.crash.journal_worker import SETTINGS
from tests.crash.test_journal_kill import start
from tests.rounds import rounds

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

ROUNDS = rounds(2, 6, "PIPELINE_KILL_ROUNDS")
IDENTITY = "writer, sequence, index"
"""Without the epoch: recovery writes what the ring still holds again, in a later one."""
WAIT_S = 200.0
PIPELINE = """
import fanion.pipeline.pace, fanion.pipeline.pipeline
fanion.pipeline.pace.give_way = lambda: None
fanion.pipeline.pipeline.STEP_ROWS = 500
from fanion.cli import main
main()
"""
"""With small steps, so that kills find it in all of them; beside other tests it would wait for them."""


def make_rows(directory: Path, *options: str) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", PIPELINE, "pipeline", "--data", str(directory), *options]
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL)


def step(directory: Path) -> int:
    """How often rows were committed."""
    return load_manifest(Storage(), directory / "rows").step


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.timeout(300 + 240 * ROUNDS)
def test_killed_pipelines_and_writers_leave_each_event_as_one_row(tmp_path: Path) -> None:
    seed = int(os.environ.get("PIPELINE_KILL_SEED", str(random.randrange(1 << 30))))
    print(f"PIPELINE_KILL_SEED={seed}")
    draw = random.Random(seed)
    worker, reading, steps = start(tmp_path, "durable", "w"), None, set[int]()
    assert worker.stdout is not None
    worker.stdout.readline()
    for n in range(ROUNDS):
        reading = reading or make_rows(tmp_path)
        was, deadline = step(tmp_path), time.monotonic() + WAIT_S
        while step(tmp_path) == was:
            assert worker.stdout.readline(), "the writer ended"
            assert time.monotonic() < deadline, "no rows came"
        for _ in range(draw.randrange(300)):
            worker.stdout.readline()
        steps.add(step(tmp_path))
        chosen = draw.choice(["pipeline", "pipeline", "writer", "both"])
        if chosen != "writer":
            kill(reading)
            reading = None
        if chosen != "pipeline":
            kill(worker)
            worker = start(tmp_path, "durable", f"w{n}")
            assert worker.stdout is not None
            worker.stdout.readline()
    kill(worker)
    if reading is not None:
        kill(reading)
    storage = Storage()
    for writer in list_slots(storage, tmp_path / "journal"):
        adopt(storage, tmp_path / "journal", writer, JournalSettings(**SETTINGS))
    assert make_rows(tmp_path, "--once").wait(WAIT_S) == 0
    assert len(steps) > 1
    wanted = [
        (record.writer, record.sequence, index)
        for record in JournalReader(tmp_path).read()
        for index in range(len(split_events(record)))
    ]
    assert ask(tmp_path, f"SELECT {IDENTITY} FROM rows ORDER BY {IDENTITY}")[1] == sorted(wanted)
