"""The process of a sink: receivers that are down, refuse for ever, or came too late; what is said of it."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from fanion.app import asked_for
from fanion.cli import group
from fanion.config import Config
from fanion.config.sinks import Sinks
from fanion.journal.gaps import Gap, Gaps, keep_gaps
from fanion.journal.storage import Storage
from fanion.pipeline import loop
from fanion.sinks.service import Service
from fanion.sinks.sink import Sink, reader_name
from fanion.sinks.state import load_state
from fanion.telemetry.exposition import Exposition
from fanion.telemetry.heartbeats import Heartbeats
from fanion.telemetry.metrics import Metrics
from tests.unit.pipeline_world import Journal
from tests.unit.sink_standins import Store, fill, identities, sink, stand_in_store
from tests.unit.test_pipeline_service import Asked

pytest.importorskip("pyarrow")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    return stand_in_store(monkeypatch)


class Hours:
    """A monotonic clock that waits move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Waits(Asked):
    def __init__(self, waits: int, clock: Hours, at: Callable[[float], None] = lambda _: None) -> None:
        super().__init__(waits)
        self._clock, self._at = clock, at

    def wait(self, timeout_s: float) -> bool:
        self._clock.now += max(timeout_s, 0.001)
        self._at(self._clock.now)
        return super().wait(timeout_s)


def serve(
    journal: Journal, name: str, monkeypatch: pytest.MonkeyPatch, waits: int, at: Callable[[float], None]
) -> tuple[Waits, dict[str, float], list[tuple[str, ...]]]:
    monkeypatch.setattr(loop, "give_way", lambda: None)
    clock = Hours()
    ending = Waits(waits, clock, at)
    metrics = Metrics.open(journal.directory, worker=False)
    row = Heartbeats(1).rows[0]
    said: list[tuple[str, ...]] = []
    say = row.say
    row.say = lambda standing: (said.append((*standing.reasons, *standing.notes)), say(standing))[1]  # type: ignore[assignment,method-assign,return-value]
    settings = Sinks()
    service = Service(name, settings, lambda turn: sink(journal, name, turn=turn), row, metrics, now=clock)
    service.run(ending)  # type: ignore[arg-type]
    text = Exposition(journal.directory).text().decode()
    numbers = {
        line.split("{")[0]: float(line.split()[1])
        for line in text.splitlines()
        if line.startswith("fanion_sink") and f'sink="{name}"' in line
    }
    metrics.close()
    return ending, numbers, said


@pytest.mark.parametrize(
    "name",
    [*(pytest.param(name, marks=pytest.mark.heavy) for name in ("parquet", "kafka", "command")), "file"],
)
def test_a_receiver_that_is_down_for_an_hour_has_everything_soon_after(
    journal: Journal, store: Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(journal)
    up: list[float] = []

    def at(now: float) -> None:
        if now < 3_600:
            journal.append()
        store.refuses = lambda: "connection refused" if now < 3_600 else ""
        if not up and len(set(store.ids())) == len(identities(journal)):
            up.append(now)

    store.refuses = lambda: "connection refused"
    ending, numbers, said = serve(journal, name, monkeypatch, 75, at)
    assert store.ids() == identities(journal)
    assert 3_600 < up[0] < 3_600 + 2 * Sinks().again_s_max
    assert ending.waits[:4] == [0.25, 0.5, 1.0, 2.0]
    assert max(ending.waits) == Sinks().again_s_max
    assert any(line[:1] == ("connection refused",) for line in said)
    assert said[-1] == ()
    assert numbers["fanion_sink_failing"] == 0
    assert numbers["fanion_sink_faults_total"] > 60
    assert numbers["fanion_sink_rows_total"] == len(identities(journal))
    assert numbers["fanion_sink_lag_records"] == 0


def test_a_receiver_that_refuses_for_ever_is_said_and_delays_no_other(
    journal: Journal, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(journal)
    store.refuses = lambda: "never"
    _, numbers, said = serve(journal, "kafka", monkeypatch, 30, lambda _: None)
    assert said[-1][0] == "never"
    assert said[-1][1].endswith("requests behind")
    assert numbers["fanion_sink_failing"] == 1
    state = load_state(Storage(), journal.directory, "kafka")
    assert (state.failing, state.rows, state.steps) == ("never", 0, 0)
    store.refuses = lambda: ""
    with sink(journal, "file") as other:
        assert other.run_once() == 48


def test_a_wait_that_is_longer_than_a_heart_may_stand_still_is_cut(
    journal: Journal, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sinks.parquet_interval_s` may be an hour, and the supervisor kills what stands still."""
    fill(journal)
    settings = Sinks(parquet_url="s3://bucket", parquet_interval_s=3_600)
    monkeypatch.setattr(loop, "give_way", lambda: None)
    clock, beats = Hours(), list[float]()
    row = Heartbeats(1).rows[0]
    row.beat = lambda: beats.append(clock.now)  # type: ignore[method-assign]
    ending = Waits(125, clock)
    steps: list[float] = []

    def make(turn: Callable[[], None]) -> Sink:
        made = sink(journal, "parquet", turn=turn)
        run_once = made.run_once
        made.run_once = lambda ended=bool: (steps.append(clock.now), run_once(ended))[1]  # type: ignore[method-assign,misc]
        return made

    Service("parquet", settings, make, row, now=clock).run(ending)  # type: ignore[arg-type]
    data, config = journal.directory, Config(sinks=settings)
    (process,) = (other for other in asked_for(data, config) if other.name == "sink parquet")
    assert [round(step) for step in steps] == [0, 3_600, 7_200]
    assert max(after - before for before, after in itertools.pairwise(beats)) < process.still_s - 2 * 30


def test_what_left_before_it_was_taken_is_said(
    journal: Journal, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(journal, 2)
    (journal.directory / "journal" / "readers").mkdir()
    gaps = Gaps()
    gaps.add(Gap("000-7.log", 0, 11, 31, time.time()))
    keep_gaps(Storage(), journal.directory / "journal", reader_name("file"), gaps)
    _, numbers, said = serve(journal, "file", monkeypatch, 3, lambda _: None)
    assert said[-1] == (
        "20 requests in 1 segments left the journal before they were taken, 000-7.log the last",
    )
    assert numbers["fanion_sink_gap_records"] == 20
    monkeypatch.setenv("FANION_SINKS_FILE_PATH", "/nowhere")
    told = CliRunner().invoke(group, ["sinks", "status", "--data", str(journal.directory)])
    assert "20 requests, 000-7.log the last" in told.output, told.output
    told = CliRunner().invoke(
        group, ["sinks", "status", "--data", str(journal.directory), "--format", "json"]
    )
    (one,) = json.loads(told.output)
    assert (one["sink"], one["rows"], one["behind_records"], one["gaps"]["records"]) == ("file", 4, 0, 20)
