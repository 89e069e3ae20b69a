"""What a data directory takes: `fanion doctor`, and the bound of a fresh one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from fanion.auth.limiter import Limiter
from fanion.config import MIB, Config
from fanion.journal.session import Session, open_session
from fanion.journal.settings import JournalSettings
from fanion.journal.storage import Storage
from fanion.journal.window import IDS, REPLAYS, EventWindow
from fanion.process.footprint import footprint
from fanion.telemetry.metrics import Metrics

FRESH_BYTES_MAX = 256 * MIB
WORKERS = 2


def fresh(directory: Path) -> list[Session]:
    """What a default server of two workers makes before the first request; what its workers hold."""
    config, storage = Config(), Storage()
    settings = JournalSettings.taken_from(config.journal)
    EventWindow.open(directory, config.journal.event_ids, name=IDS, replace=True).close()
    EventWindow.open(directory, config.journal.used_traces, name=REPLAYS, replace=True).close()
    Limiter.prepare(directory, config.limiter.slots)
    Metrics.prepare(directory)
    sessions = [open_session(storage, directory / "journal", settings) for _ in range(WORKERS)]
    for session in sessions:
        session.offer_segment(zeroed=False)
    return sessions


def test_a_fresh_default_directory_takes_no_more_than_256_mib(tmp_path: Path) -> None:
    sessions = fresh(tmp_path)
    parts = footprint(tmp_path, Config(), WORKERS)
    taken = sum(path.lstat().st_blocks * 512 for path in tmp_path.rglob("*") if path.is_file())
    for session in sessions:
        session.abandon()
    assert sum(part.taken_bytes for part in parts) == taken <= FRESH_BYTES_MAX
    by_name = {part.what: part for part in parts}
    assert by_name["event ids"].taken_bytes < 10 * MIB < 250 * MIB < (by_name["event ids"].grows_to or 0)
    assert by_name["rings"].taken_bytes >= WORKERS * 32 * MIB
    assert all(part.grows_to is None or part.grows_to >= part.taken_bytes for part in parts)


def test_doctor_says_what_takes_how_much_and_what_bounds_it(tmp_path: Path) -> None:
    EventWindow.open(tmp_path, 4_194_304, name=IDS, replace=True).close()
    (tmp_path / "shared" / "unknown").write_bytes(bytes(8192))
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "1-0.parquet").write_bytes(bytes(3 << 20))
    command = [sys.executable, "-m", "fanion", "doctor", "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "event ids",
        "journal.event_ids",
        "256",
        "accepted events",
        "journal.retention_bytes",
        "MiB are free",
    ):
        assert words in done.stdout
    assert re.search(r"rows of events +│ +1 │ +3.0 │", done.stdout)
    gone = subprocess.run([*command[:-1], str(tmp_path / "no")], capture_output=True, text=True, check=False)
    assert (gone.returncode, "no such data directory" in gone.stderr) == (1, True)
