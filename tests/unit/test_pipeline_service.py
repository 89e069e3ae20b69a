"""The pipeline's process: what it says and counts, how it begins again; how it gives way."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fanion.errors import RowsError
from fanion.journal.gaps import Gap, Gaps
from fanion.journal.storage import Storage
from fanion.pipeline import service as module
from fanion.pipeline.pace import STEP_BYTES, Pace, PacedFile
from fanion.pipeline.service import Service
from fanion.telemetry.exposition import Exposition
from fanion.telemetry.heartbeats import Heartbeats
from fanion.telemetry.metrics import Metrics
from fanion.telemetry.pipeline import PipelineState

FINE = PipelineState(10, 2, 0, 1_000.0, 2.5, 3, 30, 0, 0.0, 1, 0)


class Asked:
    """An `Ending` that is asked after so many waits."""

    def __init__(self, waits: int) -> None:
        self.waits: list[float] = []
        self._left = waits

    def __call__(self) -> bool:
        return self._left <= 0

    def wait(self, timeout_s: float) -> bool:
        self.waits.append(timeout_s)
        self._left -= 1
        return self._left <= 0


class StandIn:
    """A pipeline that does what it is told, run by run."""

    def __init__(self, runs: Iterator[Any]) -> None:
        self.stands = FINE
        self.left = Gaps()
        self._runs = runs

    def run_once(self, ended: Callable[[], bool]) -> int:
        step = next(self._runs)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, PipelineState):
            self.stands = step
            return 0
        return int(step)

    def take_problems(self) -> list[str]:
        return []

    def state(self) -> PipelineState:
        return self.stands

    def gaps(self) -> Gaps:
        return self.left


def served(tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch, waits: int) -> SimpleNamespace:
    """A service over these runs; an exception as the first is one of opening."""
    monkeypatch.setattr(module, "give_way", lambda: None)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 0.0, time=time.time))
    steps = iter(runs)
    made = StandIn(steps)
    said: list[tuple[str, ...]] = []

    @contextmanager
    def make(pace: Pace) -> Iterator[StandIn]:
        yield made

    metrics = Metrics.open(tmp_path, worker=False)
    row = Heartbeats(1).rows[0]
    original = row.say
    row.say = lambda standing: (said.append((*standing.reasons, *standing.notes)), original(standing))[1]  # type: ignore[assignment,method-assign,return-value]
    ending = Asked(waits)
    service = Service(make, row, metrics)  # type: ignore[arg-type]
    service.run(ending)  # type: ignore[arg-type]
    text = Exposition(tmp_path).text().decode()
    numbers = {
        line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith("fanion_")
    }
    return SimpleNamespace(said=said, waits=ending.waits, numbers=numbers, row=row, made=made)


def test_what_fails_is_named_and_begun_again_ever_more_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    runs = [full, full, full, RowsError("another pipeline has it"), 5, 0]
    found = served(tmp_path, runs, monkeypatch, waits=6)
    assert found.waits[:4] == [0.25, 0.5, 1.0, 2.0]
    assert found.waits[4:] == [module.PAUSE_S] * 2
    assert [text for (text,) in filter(None, found.said)] == [str(full), "another pipeline has it"]
    assert found.said[-1] == ()
    assert found.numbers["fanion_pipeline_faults_total"] == 4
    assert found.numbers["fanion_pipeline_starts_total"] == 1
    assert found.numbers["fanion_pipeline_rows_total"] == 10
    assert found.numbers["fanion_pipeline_lag_events"] == 30
    assert found.numbers["fanion_workers"] == found.numbers["fanion_worker_starts_total"] == 0
    assert found.row.beat_ns > 0


def test_a_run_that_had_a_whole_step_is_followed_by_the_next_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = served(tmp_path, [module.STEP_ROWS, 1, 0], monkeypatch, waits=3)
    assert found.waits == [0, module.PAUSE_S, module.PAUSE_S]


def test_half_of_the_room_is_an_alarm_and_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held = FINE._replace(held_bytes=1 << 30, lag_records=70_000, lag_s=90.0)
    runs = [held._replace(held_ratio=ratio) for ratio in (0.49, 0.5, 0.6, 0.4)]
    monkeypatch.setattr(module.log, "propagate", True)
    found = served(tmp_path, runs, monkeypatch, waits=4)
    late = "rows are 90 s behind: 70,000 requests are to be read"
    alarms = [
        f"it is 70,000 requests behind (90 s) and holds 1,024 MiB of the journal, {share}% of what the disk has "
        "for them; at 100 % segments leave unread"
        for share in (50, 60)
    ]
    assert [said[0] for said in found.said if said] == [late, *alarms, late]
    assert found.numbers["fanion_pipeline_held_ratio"] == 0.4
    assert [record.message for record in caplog.records] == ["the pipeline is far behind"]


@pytest.mark.parametrize(
    ("lag_s", "lag_records", "said"),
    [(30.0, 7, ["rows are 30 s behind: 7 requests are to be read"]), (29.9, 7, []), (30.0, 0, [])],
)
def test_rows_that_are_late_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lag_s: float, lag_records: int, said: list[str]
) -> None:
    found = served(tmp_path, [FINE._replace(lag_s=lag_s, lag_records=lag_records)], monkeypatch, waits=1)
    assert list(found.said[-1]) == said


def test_what_left_unread_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gaps = Gaps()
    gaps.add(Gap("000-7.log", 0, 11, 31, 5_000.0))
    gaps.add(Gap("000-7.log", 0, 11, 31, 5_001.0))
    monkeypatch.setattr(StandIn, "gaps", lambda self: gaps)
    monkeypatch.setattr(time, "time", lambda: 5_000.0 + module.GAP_TOLD_S - 1)
    found = served(tmp_path, [0], monkeypatch, waits=1)
    words = "rows are missing: 20 requests in 1 segments left the journal before they were read, 000-7.log the last"
    assert found.said[-1] == (words,)
    monkeypatch.setattr(time, "time", lambda: 5_000.0 + module.GAP_TOLD_S)
    assert served(tmp_path, [0], monkeypatch, waits=1).said[-1] == ()


class Watching(Storage):
    def __init__(self) -> None:
        self.handed: list[tuple[int, int]] = []
        self.slept = 0.0

    def begin_writeback(self, fd: int, offset: int, size: int) -> None:
        self.handed.append((offset, size))

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


@pytest.mark.parametrize("size", [0, 1, STEP_BYTES - 1, STEP_BYTES, 5 * STEP_BYTES + 3])
@pytest.mark.parametrize("pieces", [1, 7])
def test_a_paced_file_goes_to_the_disk_in_small_steps_with_time_between(
    tmp_path: Path, size: int, pieces: int
) -> None:
    storage, turns = Watching(), []
    data = bytes(n % 251 for n in range(size))
    (tmp_path / "file").write_bytes(b"what a kill left" * 1000)
    with PacedFile(storage, tmp_path / "file", Pace(STEP_BYTES, lambda: turns.append(1))) as file:
        span = -(-size // pieces) or 1
        for start in range(0, size, span):
            file.write(data[start : start + span])
        assert file.tell() == size
        file.sync()
    assert (tmp_path / "file").read_bytes() == data
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert sum(length for _, length in storage.handed) == size
    assert all(length < 2 * STEP_BYTES for _, length in storage.handed)
    assert storage.slept == pytest.approx(size / STEP_BYTES)
    assert len(turns) == len(storage.handed)
