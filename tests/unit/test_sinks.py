"""Sinks over stand-in receivers: each row taken, whatever ended when; what can't begin says why."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest

from fanion.errors import SinkError
from fanion.journal.reader import Checkpoint
from fanion.journal.storage import Storage
from fanion.sinks import sink as module
from fanion.sinks.state import State, keep_state, load_state
from tests.unit.pipeline_world import Dying, Journal, bury
from tests.unit.sink_standins import Store, attempt, fill, identities, ids_of, sink, stand_in_store

pytest.importorskip("pyarrow")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    return stand_in_store(monkeypatch)


@pytest.mark.parametrize("name", ["parquet", "file"])
def test_rows_are_taken_in_steps_and_new_ones_after(journal: Journal, store: Store, name: str) -> None:
    fill(journal)
    with sink(journal, name) as made:
        assert made.run_once() == 48
        assert store.ids() == identities(journal)
        assert made.run_once() == 0
        journal.append()
        assert made.run_once() == 2
        assert made.state.rows == 50
        assert made.stands().lag_records == 0
    with sink(journal, name) as made:
        assert made.run_once() == 0
        assert made.state.steps > 0
    assert store.ids() == identities(journal)


@pytest.mark.heavy
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", ["parquet", "kafka"])
def test_a_kill_at_any_call_leaves_each_object_once_and_lines_once_by_identity(
    tmp_path: Path, store: Store, name: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanion.journal.log_segment.WINDOW_BYTES", 1024)
    calls, done = 0, False
    while not done:
        calls += 1
        journal = Journal(tmp_path / str(calls))
        fill(journal, 8)
        store.objects, store.lines = {}, []
        done = attempt(journal, name, Dying(calls, after))
        bury()
        journal.append()
        assert attempt(journal, name, Storage())
        assert (store.ids() if name == "parquet" else sorted(set(store.ids()))) == identities(journal)
    assert calls > 12


@pytest.mark.parametrize("name", ["parquet", "file"])
def test_a_kill_within_a_step_leaves_each_object_once_and_lines_once_by_identity(
    tmp_path: Path, store: Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanion.journal.log_segment.WINDOW_BYTES", 1024)
    for point in range(1, 40):
        journal = Journal(tmp_path / str(point))
        fill(journal, 8)
        store.objects, store.lines = {}, []
        counted = itertools.count(1)
        store.dies = lambda counted=counted, point=point: next(counted) == point
        done = attempt(journal, name, Storage())
        journal.append()  # what came meanwhile is no part of the step that is made again
        while not attempt(journal, name, Storage()):
            pass
        assert (store.ids() if name == "parquet" else sorted(set(store.ids()))) == identities(journal)
        if done:
            break
    assert point > (3 if name == "parquet" else 8)


def test_a_state_that_was_lost_names_no_other_step_the_same(journal: Journal, store: Store) -> None:
    fill(journal, 3)
    with sink(journal) as made:
        made.run_once()
    (journal.directory / "sinks" / "parquet.json").unlink()
    fill(journal, 3)
    with sink(journal) as made:
        made.run_once()
    assert sorted(set(store.ids())) == identities(journal)


def test_a_first_step_in_a_new_journal_that_was_killed_is_made_again_from_its_beginning(
    journal: Journal, store: Store
) -> None:
    fill(journal, 8)
    (journal.directory / "sinks").mkdir()
    old = State(place=Checkpoint("ff" * 16, {0: 500, 3: 7}), steps=9)
    keep_state(Storage(), journal.directory, "parquet", old)
    store.dies = lambda: bool(store.objects)
    assert not attempt(journal, "parquet", Storage())
    store.dies = lambda: False
    assert attempt(journal, "parquet", Storage())
    assert store.ids() == identities(journal)
    state = load_state(Storage(), journal.directory, "parquet")
    assert (state.place.next_sequence, state.planned) == ({0: 9}, None)


def test_one_process_has_a_sink_at_a_time_and_another_sink_goes_on(journal: Journal, store: Store) -> None:
    fill(journal, 2)
    with sink(journal, "file"):
        with pytest.raises(SinkError, match="another process has the sink file"):
            sink(journal, "file")
        with sink(journal, "command") as other:
            assert other.run_once() == 4


def test_a_row_of_the_twin_and_of_columns_has_the_same_identity(journal: Journal, store: Store) -> None:
    fill(journal)
    for name in ("parquet", "kafka"):
        with sink(journal, name) as made:
            made.run_once()
    assert sorted(ids_of(store.lines)) == sorted(itertools.chain(*store.objects.values()))


def test_a_library_that_is_missing_is_named(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "missing_libraries", lambda name: ["obstore"])
    with pytest.raises(SinkError, match=r"obstore not installed; pip install 'fanion\[sinks\]'"):
        sink(journal)


def test_a_place_that_can_not_be_read_is_refused_by_name(journal: Journal, store: Store) -> None:
    (journal.directory / "sinks").mkdir()
    path = journal.directory / "sinks" / "file.json"
    path.write_bytes(b"{")
    with pytest.raises(SinkError, match="not a sink's place"):
        sink(journal, "file")
    path.write_bytes(msgspec.json.encode({"version": 2}))
    with pytest.raises(SinkError, match="format version 2"):
        sink(journal, "file")
