"""The pipeline: each row once, whatever ended when; how it stands, and what it waits for and refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fanion import definitions
from fanion.cli.publish import command as publish
from fanion.dialects import canonical_forms
from fanion.errors import JournalError, RowsError, StoreBusyError
from fanion.journal.reader import Defect
from fanion.journal.storage import Storage
from fanion.pipeline import pipeline as module
from fanion.pipeline.manifest import load_manifest
from fanion.pipeline.pipeline import TELL_READER_S
from fanion.pipeline.published import Published
from fanion.pipeline.query import ask
from fanion.pipeline.source import JournalSource
from tests.heap import settle
from tests.rounds import rounds
from tests.unit.pipeline_world import START_NS, Dying, Journal, Killed, bury, kept, pipeline

pytest.importorskip("duckdb")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def test_rows_are_the_plain_expansions_and_new_ones_are_added(journal: Journal) -> None:
    for n in range(30):
        journal.append(["prod", "test/ö"][n % 2], day=n // 10)
    with pipeline(journal.directory) as made:
        assert made.run_once() == 60
        assert kept(made, journal.directory) == journal.rows()
        assert made.run_once() == 0
        journal.append()
        assert made.run_once() == 2
        assert kept(made, journal.directory) == journal.rows()
    with pipeline(journal.directory) as made:
        assert made.run_once() == 0
        assert kept(made, journal.directory) == journal.rows()


STRIDE = rounds(29, 1)
"""A kill comes at each so many-th call, with all rounds at every one."""


def run(journal: Journal, storage: Storage, clock: Iterator[float]) -> bool:
    """Runs through steps, a merge and removals; False: it was killed."""
    made = None
    try:
        made = pipeline(journal.directory, storage=storage, now=lambda: next(clock))
        for _ in range(3):
            made.run_once()
        return True
    except Killed:
        return False
    finally:
        if made is not None:
            made.close()


@pytest.fixture
def buried_quickly() -> Iterator[None]:
    """What other tests of the process have left isn't looked through once a kill."""
    settle()
    yield
    settle()


@pytest.mark.slow
@pytest.mark.usefixtures("buried_quickly")
@pytest.mark.timeout(600 + 3_000 // STRIDE)
@pytest.mark.parametrize("after", [pytest.param(False, marks=pytest.mark.heavy), True])
def test_a_kill_at_any_call_loses_no_row_and_repeats_none(
    tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MERGED_MIN", 3)
    calls, done = 0, False
    while not done:
        calls += STRIDE
        journal = Journal(tmp_path / str(calls))
        for n in range(24):
            journal.append(day=n // 15)
        clock = iter(range(0, 1_000_000, 400))
        monkeypatch.setattr("fanion.journal.log_segment.WINDOW_BYTES", 1024)
        done = run(journal, Dying(calls, after), clock)
        bury()
        journal.append()
        assert run(journal, Storage(), clock)
        with pipeline(journal.directory) as made:
            assert kept(made, journal.directory) == journal.rows()
            names = {path.name for path in (journal.directory / "rows").iterdir()}
            counted = {file.name for file in made.manifest.files} | {
                one.name for one in made.manifest.leaving
            }
            assert names == counted | {"manifest.json", "lock", "turn"}
    assert calls > 20


def test_one_pipeline_at_a_time(journal: Journal) -> None:
    with pipeline(journal.directory), pytest.raises(RowsError, match="only one"):
        pipeline(journal.directory)


def test_a_directory_without_a_journal_and_a_broken_manifest_are_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal"):
        pipeline(tmp_path)
    assert list(tmp_path.iterdir()) == []
    journal = Journal(tmp_path / "data")
    (journal.directory / "rows").mkdir()
    manifest = journal.directory / "rows" / "manifest.json"
    manifest.write_text("{")
    with pytest.raises(RowsError, match="not a manifest"):
        pipeline(journal.directory)
    manifest.write_text('{"version": 2}')
    with pytest.raises(RowsError, match="format version 2"):
        pipeline(journal.directory)


def test_segments_stay_until_their_rows_are_committed(journal: Journal) -> None:
    journal.append()
    now = [1000.0]
    with pipeline(journal.directory, now=lambda: now[0]) as made:
        checkpoint = journal.directory / "journal" / "readers" / "rows.json"
        assert json.loads(checkpoint.read_text())["next_sequence"] == {}
        made.run_once()
        assert json.loads(checkpoint.read_text())["next_sequence"] == {"0": 2}
        assert made.manifest.place.next_sequence == {0: 2}
        for _ in range(2):
            journal.append()
            made.run_once()
        assert json.loads(checkpoint.read_text())["next_sequence"] == {"0": 2}, "not with every step"
        assert made.manifest.place.next_sequence == {0: 4}
        now[0] += TELL_READER_S
        made.run_once()
        assert json.loads(checkpoint.read_text())["next_sequence"] == {"0": 4}, "but in time"
        journal.append()
        made.run_once()
        assert json.loads(checkpoint.read_text())["next_sequence"] == {"0": 4}
    assert json.loads(checkpoint.read_text())["next_sequence"] == {"0": 5}, "and at the end"


def test_a_pipeline_says_how_it_stands(journal: Journal) -> None:
    now = [START_NS / 1e9]
    with pipeline(journal.directory, now=lambda: now[0]) as made:
        assert made.state()[:7] == (0, 0, 0, 0.0, 0.0, 0, 0)
        made.run_once()
        for _ in range(4):
            journal.append(events=3)
        now[0] += 10
        assert made.state().lag_s == 10
        made.run_once()
        state = made.state()
        assert (state.rows, state.unreadable, state.files) == (12, 0, 1)
        assert state.fresh_unix_s == now[0]
        assert state.lag_s == 10, "so old was what was no row, when the run ended"
        now[0] += 1
        made.run_once()
        assert made.state().lag_s == 1
        assert load_manifest(Storage(), journal.directory / "rows").fresh_us == (now[0] - 1) * 1e6
        now[0] += 59
        made.run_once()
        manifest = load_manifest(Storage(), journal.directory / "rows")
        assert manifest.fresh_us == now[0] * 1e6, "once a minute, where nothing comes"
        assert (manifest.rows, len(manifest.files)) == (12, 1)


def test_a_store_that_cant_be_read_ends_a_run_and_no_row_is_without_its_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: Any, **__: Any) -> Any:
        raise StoreBusyError("another process has it")

    flags = Published(tmp_path, 1 << 30, canonical_forms())
    monkeypatch.setattr("fanion.store.store.Store.open", busy)
    with pytest.raises(StoreBusyError):
        flags.flag_of("redpennon", "env_01hx", "checkout-flow")


def test_a_problem_is_told_once(journal: Journal) -> None:
    with pipeline(journal.directory) as made:
        made._expander.problems.append("a")
        assert made.take_problems() == ["a"]
        assert isinstance(made.source, JournalSource)
        defect = Defect(Path("p"), 0, 0, 0, 0, 0, "b")
        made.source._reader.defects.append(defect)
        made._expander.problems.append("c")
        assert made.take_problems() == ["c", "p: b"]


@pytest.mark.parametrize("library", ["pyarrow", "duckdb"])
def test_what_is_missing_is_said(journal: Journal, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    asked = pipeline if library == "pyarrow" else ask
    with pytest.raises(RowsError, match=r"install fanion\[results\]"):
        asked(journal.directory, *([] if asked is pipeline else ["SELECT 1"]))


def test_flags_of_parameters_are_those_of_the_definitions_in_force(tmp_path: Path) -> None:
    flags = Published(tmp_path, 1 << 30, canonical_forms())
    assert flags.flag_of("redpennon", "env_01hx", "checkout-flow") is None, "there is no store"
    demo = Path(definitions.__file__).with_name("demo.yaml")
    assert CliRunner().invoke(publish, [str(demo), "--data", str(tmp_path)]).exit_code == 0
    assert flags.flag_of("redpennon", "env_01hx", "checkout-flow") is None, "it looks once between two steps"
    flags.refresh()
    assert flags.flag_of("redpennon", "env_01hx", "Checkout-Flow") == "checkout"
    assert flags.flag_of("redpennon", "env_01hx", "gone") is None
    assert flags.flag_of("redpennon", "elsewhere", "checkout-flow") is None
