"""A wall clock that is wrong at a start or jumps under a running server: everything is served, nothing deleted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fanion.journal.event import split_events
from fanion.journal.reader import JournalReader
from loadtest.wall_clock import COMPILER, WallClock
from tests.e2e.server import Running, run, wait_until
from tests.e2e.test_e2e_feather import event

pytestmark = pytest.mark.skipif(not COMPILER, reason="needs a C compiler")
SMALL = {
    "FANION_JOURNAL_RING_BYTES": str(4 * (65_536 + 2**20)),
    "FANION_JOURNAL_SEGMENT_BYTES": "65536",
    "FANION_JOURNAL_EVENT_IDS": "65536",
    "FANION_JOURNAL_USED_TRACES": "65536",
    "FANION_LIMITS_INGEST_BODY_BYTES_MAX": "65536",
}
BATCHES = 40
DAY_S = 86_400
IN_1972 = -int(time.time()) + 2 * 365 * DAY_S
JUMPS = [
    pytest.param(365 * DAY_S, id="a year ahead"),
    pytest.param(-365 * DAY_S, id="a year behind", marks=pytest.mark.heavy),
    pytest.param(IN_1972, id="in 1972", marks=pytest.mark.heavy),
]


@pytest.fixture
def wall(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path)


def send(running: Running, name: str) -> set[str]:
    """Batches of 20 KB, three to a log segment; the markers of those that were acknowledged."""
    marks = {f"{name}-{number}" for number in range(BATCHES)}
    for mark in marks:
        padding = [event(ruleId=mark, value="x" * 1_000) for _ in range(20)]
        answer = running.ask("POST", "/v1/telemetry/events", {"events": padding})
        assert answer.status == 202, answer
    return marks


def marks_in(data: Path) -> set[str]:
    return {sent["ruleId"] for record in JournalReader(data).read() for sent in split_events(record)}


def compressed(data: Path) -> set[Path]:
    return set((data / "journal").glob("*.zst"))


def notes(running: Running) -> list[str]:
    answer = running.operations("/readyz")
    assert answer.status == 200
    found: list[str] = answer.json().get("notes", [])
    return found


@pytest.mark.parametrize("ahead_s", JUMPS)
def test_start_with_a_wrong_clock_deletes_nothing(
    data: Path, serve: Callable[..., Running], wall: WallClock, ahead_s: int
) -> None:
    variables = {**SMALL, **wall.environment}
    running = serve(
        "--workers", "1", data=data, environment={**variables, "FANION_JOURNAL_COMPRESS": "false"}
    )
    acknowledged = send(running, "before")
    assert running.stop() == 0
    trusted = run(["journal", "trust-clock", "--data", str(data)])  # so that a pass may delete by age at all
    assert (trusted.returncode, trusted.stdout.count("\n")) == (0, 2), trusted

    wall.set(ahead_s)
    running = serve("--workers", "1", data=data, environment=variables)
    assert running.value("plain") is True
    assert "trust-clock" in notes(running)[0]
    acknowledged |= send(running, "wrong")
    wait_until(lambda: compressed(data))  # so a pass has removed what it would remove
    assert running.stop() == 0
    assert marks_in(data) == acknowledged

    wall.set(0)
    seen = compressed(data)
    running = serve("--workers", "1", data=data, environment=variables)
    assert notes(running) == []
    acknowledged |= send(running, "after")
    wait_until(lambda: compressed(data) - seen)
    assert running.stop() == 0
    assert marks_in(data) == acknowledged
    jumps = [json.loads(line) for line in running.log.read_text().splitlines() if "wall clock has" in line]
    assert len(jumps) == 1


@pytest.mark.heavy
def test_fresh_install_in_1972_keeps_its_events(
    data: Path, serve: Callable[..., Running], wall: WallClock
) -> None:
    variables = {**SMALL, **wall.environment, "FANION_JOURNAL_CLOCK_TRUST_HOURS": "0.0001"}  # 0.36 s
    wall.set(IN_1972)
    running = serve("--workers", "1", data=data, environment=variables)
    acknowledged = send(running, "1972")
    wall.set(0)  # as a time service does, under the running server
    acknowledged |= send(running, "right")
    wait_until(lambda: notes(running) == [])  # so the jump was believed
    seen = compressed(data)
    acknowledged |= send(running, "later")
    wait_until(lambda: compressed(data) - seen)
    assert running.stop() == 0
    assert marks_in(data) == acknowledged


@pytest.mark.heavy
def test_expired_key_stays_out_however_the_clock_is_set(
    data: Path, serve: Callable[..., Running], wall: WallClock
) -> None:
    made = run(["keys", "create", "env_e2e", "--data", str(data), "--expires", "1h"])
    key = made.stdout.strip()

    def status() -> int:
        return running.ask("POST", "/v1/evaluate/bulk", {"flags": ["plain"], "context": {}}, key=key).status

    running = serve("--workers", "1", data=data, environment=wall.environment)
    assert status() == 200
    wall.set(2 * 3_600)
    wait_until(lambda: status() == 401)
    wall.set(0)
    wait_until(lambda: status() == 200)
    wall.set(2 * 3_600)
    assert run(["journal", "trust-clock", "--data", str(data)], environment=wall.environment).returncode == 0
    for ahead_s in (0, -365 * DAY_S, IN_1972):
        wall.set(ahead_s)
        assert running.stop() == 0
        running = serve("--workers", "1", data=data, environment=wall.environment)
        assert status() == 401
