"""The archive beside a real server: it delays nothing while it is away, goes on after a kill, and what is restored
of a lost directory has each acknowledged event once and is served on."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from fanion.archive.restoring import LEAP
from fanion.cli import group
from fanion.journal.reader import JournalReader
from tests.e2e.server import WORLD, Running, publish, wait_until
from tests.e2e.test_e2e_feather import event
from tests.e2e.test_e2e_pipeline import EVENTS, notes, number, send
from tests.rounds import rounds

pytest.importorskip("obstore")

EACH = 50
BATCHES = 30
KILLS = rounds(2, 12, "ARCHIVE_SERVER_KILLS")


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(group, arguments)
    return done.exit_code, f"{done.output}{done.exception if isinstance(done.exception, Exception) else ''}"


def identities(data: Path) -> list[tuple[int, int]]:
    return [(record.writer, record.sequence) for record in JournalReader(data).read()]


def bodies(data: Path) -> list[bytes]:
    return sorted(record.body for record in JournalReader(data).read())


def test_a_lost_directory_comes_back_whole_and_is_served_on(
    data: Path, serve: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "archive"
    place.write_text("not mounted yet")
    environment = {
        "FANION_ARCHIVE_URL": f"file://{place}",
        "FANION_ARCHIVE_INTERVAL_S": "0.1",
        "FANION_ARCHIVE_AGAIN_S_MAX": "0.2",
        "FANION_JOURNAL_SEGMENT_BYTES": "65536",
    }
    running = serve("--workers", "2", data=data, environment=environment)
    workers = running.workers()
    assert len(workers) == 2
    for _ in range(BATCHES):
        send(running, EACH)
    wait_until(lambda: any(note.startswith("archive: ") for note in notes(running)))
    assert running.operations("/readyz").status == 200
    wait_until(lambda: number(running, "fanion_archive_failing") == 1)
    place.unlink()
    wait_until(lambda: number(running, "fanion_archive_segments_total") > 0)
    wait_until(lambda: not notes(running))
    before = running.archiver_pid()
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: running.archiver_pid() not in (None, before))
    for _ in range(BATCHES):
        send(running, EACH)
    wait_until(lambda: number(running, "fanion_archive_waiting_segments") == 0)
    assert number(running, "fanion_archive_conflicts") == number(running, "fanion_archive_gap_records") == 0
    assert running.workers() == workers
    status, told = run("journal", "restore", "--from", f"file://{place}", "--data", str(data))
    assert (status, "another server uses this data directory" in told) == (1, True)
    assert running.stop() == 0
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    status, told = run(
        "journal", "archive", "--once", "--data", str(data)
    )  # what the server's end has finished
    assert status == 0, told
    assert "wait" not in told
    whole, had = bodies(data), identities(data)
    assert len(whole) == 2 * BATCHES
    shutil.rmtree(data)  # the disk is lost
    publish(data, WORLD)
    status, told = run("journal", "restore", "--from", f"file://{place}", "--data", str(data))
    assert status == 0, told
    assert bodies(data) == whole
    assert identities(data) == had
    running = serve("--workers", "2", data=data, environment=environment)
    send(running, EACH)
    assert running.stop() == 0
    assert run("journal", "archive", "--once", "--data", str(data))[0] == 0
    now = identities(data)
    assert len(now) == len(set(now)) == len(had) + 1
    (fresh,) = set(now) - set(had)
    assert fresh[1] > LEAP
    again = tmp_path / "again"
    status, told = run("journal", "restore", "--from", f"file://{place}", "--data", str(again))
    assert status == 0, told
    assert identities(again) == now


@pytest.mark.heavy
@pytest.mark.timeout(300 + 60 * KILLS)
def test_servers_and_archivers_that_are_killed_at_once_leave_an_archive_without_conflicts(
    data: Path, serve: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a power cut, again and again: what recovery writes again is in the archive once by its identity."""
    seed = int(os.environ.get("ARCHIVE_SEED") or random.randrange(1 << 30))
    print("ARCHIVE_SEED", seed)
    draw, place = random.Random(seed), tmp_path / "archive"
    environment = {
        "FANION_ARCHIVE_URL": f"file://{place}",
        "FANION_ARCHIVE_INTERVAL_S": "0.05",
        "FANION_JOURNAL_SEGMENT_BYTES": "65536",
    }
    acknowledged = 0
    for _ in range(KILLS):
        running = serve("--workers", "2", data=data, environment=environment)
        wait_until(running.takes_events)
        for _ in range(draw.randrange(10, 40)):
            send(running, EACH)
            acknowledged += 1
        archiver = running.archiver_pid()
        if archiver is not None:
            os.kill(archiver, signal.SIGKILL)
        running.stop(signal.SIGKILL)
    running = serve("--workers", "2", data=data, environment=environment)
    wait_until(running.takes_events)
    wait_until(lambda: number(running, "fanion_archive_waiting_segments") == 0)
    assert number(running, "fanion_archive_conflicts") == number(running, "fanion_archive_gap_records") == 0
    assert running.stop() == 0
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    status, told = run("journal", "archive", "--once", "--data", str(data))
    assert status == 0, told
    whole, had = bodies(data), identities(data)
    assert len(whole) == acknowledged
    status, told = run("journal", "restore", "--from", f"file://{place}", "--data", str(tmp_path / "new"))
    assert status == 0, told
    assert bodies(tmp_path / "new") == whole
    assert identities(tmp_path / "new") == had
    assert len(had) == len(set(had))
    print(f"{KILLS} kills of all, {acknowledged} batches acknowledged: lost 0, twice 0, conflicts 0")


def test_a_person_leaves_the_archive_beside_a_server_that_goes_on(
    data: Path, serve: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of segments that are being archived meanwhile: none comes to the archive as it was before."""
    digest = hashlib.sha256(b"zoe.planted@example.org").hexdigest()
    place = tmp_path / "archive"
    environment = {
        "FANION_ARCHIVE_URL": f"file://{place}",
        "FANION_ARCHIVE_INTERVAL_S": "0.05",
        "FANION_JOURNAL_SEGMENT_BYTES": "65536",
    }
    running = serve("--workers", "2", data=data, environment=environment)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for _ in range(BATCHES):
        sent = [event(userIdHash=digest), *(event(userIdHash=f"{n:064x}") for n in range(EACH - 1))]
        assert running.ask("POST", EVENTS, {"events": sent}).status == 202
    status, told = run("forget", "zoe.planted@example.org", "--data", str(data))
    assert status == 0, told
    assert f"archive file://{place}: " in told
    for _ in range(BATCHES):
        send(running, EACH)
    wait_until(lambda: number(running, "fanion_archive_waiting_segments") == 0)
    assert number(running, "fanion_archive_conflicts") == 0
    assert running.stop() == 0
    status, told = run("journal", "archive", "--once", "--data", str(data))
    assert status == 0, told
    status, told = run("journal", "restore", "--from", f"file://{place}", "--data", str(tmp_path / "new"))
    assert status == 0, told
    restored = bodies(tmp_path / "new")
    assert restored == bodies(data)
    assert sum(b"flagKey" in body for body in restored) == 2 * BATCHES, "beside what forgetting wrote"
    assert not any(digest.encode() in body for body in restored)
    assert sum(b"null," in body for body in restored) == BATCHES, "its holes"
