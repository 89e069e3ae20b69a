"""`fanion doctor`: what is well and what isn't, what a data directory takes, and the bound of a fresh one."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fanion.auth.limiter import Limiter
from fanion.clock import keeper
from fanion.clock.belief import Moment
from fanion.config import MIB, Config, Journal, Server
from fanion.journal.session import Session, open_session
from fanion.journal.settings import JournalSettings
from fanion.journal.storage import Storage
from fanion.journal.window import IDS, REPLAYS, EventWindow
from fanion.process import diagnosis
from fanion.process.diagnosis import Finding, diagnose, memory_available
from fanion.process.directory import DirectoryLock
from fanion.process.footprint import footprint
from fanion.telemetry.metrics import Metrics

FRESH_BYTES_MAX = 256 * MIB
WORKERS = 2
DEFAULT = Config(server=Server(port=0, operations_port=0))


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


def found(directory: Path, config: Config = DEFAULT) -> dict[str, Finding]:
    return {one.what: one for one in diagnose(directory, config)}


def test_a_fresh_directory_is_well_but_for_its_store(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    findings = found(tmp_path)
    odd = {name for name, one in findings.items() if one.verdict != "ok"}
    assert "store" in odd <= {"store", "disk's sync", "disk", "memory"}  # the machine's, which is shared
    assert "`fanion publish` makes one" in findings["store"].advice
    assert findings["disk's sync"].found.startswith("40 of 64 KiB: median ")
    assert findings["clock"].found == "no server has followed it yet"
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_well_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = Config(
            server=Server(port=port, operations_port=0, workers=200, backpressure=1_000_000),
            journal=Journal(reserve_bytes=1 << 50),
        )
        monkeypatch.setattr(diagnosis, "connections_within", lambda *_: 7)
        monkeypatch.setattr(diagnosis, "memory_available", lambda: 5 << 20)
        findings = found(tmp_path, config)
        port_of = findings["port of the API"]
        assert (port_of.verdict, port_of.found) == ("bad", f"127.0.0.1:{port} is taken by another program")
        assert (findings["disk"].verdict, findings["cores"].verdict) == ("bad", "look")
        assert findings["cores"].found.endswith("200 workers, 2 threads of the HTTP server in each")
        assert (findings["memory"].verdict, findings["memory"].found[:12]) == ("bad", "5 MiB are av")
        assert (
            findings["open files"].advice == "a worker takes 7 connections, not 1,000,000; raise `ulimit -n`"
        )
        held = DirectoryLock(tmp_path)
        assert found(tmp_path, config)["port of the API"].verdict == "ok"
        held.close()


def test_a_clock_that_jumped_is_bad(tmp_path: Path) -> None:
    def clocks(ahead: float) -> Moment:
        now = keeper.read_clocks()
        return Moment(now.wall + ahead, now.boottime, now.boot)

    keeper.GuardedClock.open(tmp_path, 3600, clocks=lambda: clocks(1e7)).close()
    clock = found(tmp_path)["clock"]
    assert (clock.verdict, "trust-clock" in clock.advice) == ("bad", True)


def test_memory_is_what_the_control_group_leaves(tmp_path: Path) -> None:
    assert memory_available(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 8 kB\n")
    assert memory_available(tmp_path) == 8192
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.current").write_text("1000")
    for limit, left in (("max", 8192), ("5000", 4000), ("10", 0)):
        (tmp_path / "sys/fs/cgroup/memory.max").write_text(limit)
        assert memory_available(tmp_path) == left
