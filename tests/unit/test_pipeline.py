"""The pipeline: each row once, whatever ended when; merging, letting go, SQL over what counts."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from fanion import definitions
from fanion._core import journal_format
from fanion.cli.publish import command as publish
from fanion.clock.belief import Moment, begin
from fanion.clock.keeper import clock_path, encode
from fanion.dialects import canonical_forms
from fanion.errors import JournalError, RowsError, StoreBusyError
from fanion.journal.log_segment import KIND_EVENTS, PAGE, SegmentHeader
from fanion.journal.reader import JournalReader
from fanion.journal.rows import expand_rows
from fanion.journal.settings import JournalSettings
from fanion.journal.storage import Storage
from fanion.model.row_terms import RowTerms
from fanion.pipeline import pipeline as module
from fanion.pipeline.manifest import File, load_manifest
from fanion.pipeline.pipeline import LEAVING_S, MERGED_MIN, TELL_READER_S, Pipeline
from fanion.pipeline.published import Published
from fanion.pipeline.query import ask
from tests.property.test_row_columns import payload_of

pyarrow = pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")

SALT = 0x1111111122223333
MACHINE = bytes(range(16))
DAY_NS = 86_400_000_000_000
START_NS = 20_000 * DAY_NS
SETTINGS = JournalSettings(clock_trust_hours=0.0)


class Journal:
    """A journal of one segment that grows."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "journal").mkdir(parents=True)
        self._path = directory / "journal" / "000-1.log"
        header = SegmentHeader(MACHINE, SALT, 1, 1, 1, 1, 0, 0)
        self._path.write_bytes(header.page() + bytes(PAGE))
        self.sequence = 0

    def append(self, environment: str = "prod", day: int = 0, events: int = 2) -> None:
        sent = [{"flagKey": f"f{n}", "ruleId": str(self.sequence + 1)} for n in range(events)]
        self.append_events(sent, environment, day)

    def append_events(self, sent: list[dict[str, str]], environment: str = "prod", day: int = 0) -> None:
        self.sequence += 1
        payload = payload_of("feather", json.dumps(sent).encode(), b"", False)
        payload = payload[:2] + len(environment.encode()).to_bytes(2, "little") + payload[4:]
        payload = payload.replace(b"prod", environment.encode(), 1)
        record = journal_format.make_record(
            payload, KIND_EVENTS, self.sequence, START_NS + day * DAY_NS + self.sequence, SALT
        )
        with self._path.open("ab") as file:
            file.write(record)

    def rows(self) -> list[tuple[Any, ...]]:
        """What the plain expansion makes of all of it."""
        return [
            msgspec.structs.astuple(row)
            for record in JournalReader(self.directory).read()
            for row in expand_rows(record, MACHINE.hex(), canonical_forms())
        ]


def pipeline(directory: Path, **members: Any) -> Pipeline:
    given = {"map_bytes": 1 << 20, "settings": SETTINGS, "step_rows": 20, **members}
    return Pipeline(directory, canonical_forms(), **given)


def kept(made: Pipeline, directory: Path) -> list[tuple[Any, ...]]:
    """The rows of the files that count, by identity."""
    times = ("received_at", "event_at", "sent_at")
    rows = []
    for file in made.manifest.files:
        table = pyarrow.parquet.read_table(directory / "rows" / file.name)
        assert table.num_rows == file.rows
        for name in times:
            at = table.schema.get_field_index(name)
            table = table.set_column(at, name, table.column(name).cast("int64"))
        found = [tuple(row.values()) for row in table.to_pylist()]
        assert {row[10] for row in found} == {file.environment}
        assert {row[6] // 86_400_000_000 for row in found} == {file.day}
        rows += found
    return sorted(rows, key=lambda row: row[:6])


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


class Killed(BaseException):
    """The process ends here."""


class Dying(Storage):
    """Ends at the nth call that changes something, before or after it was done."""

    def __init__(self, calls: int, after: bool) -> None:
        self._left = calls
        self._after = after

    def _change(self, name: str, *arguments: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        try:
            return getattr(super(), name)(*arguments)
        finally:
            if self._left == 0:
                raise Killed

    def pwrite(self, *arguments: Any) -> int:
        return self._change("pwrite", *arguments)

    def rename(self, *arguments: Any) -> None:
        self._change("rename", *arguments)

    def unlink(self, *arguments: Any) -> None:
        self._change("unlink", *arguments)

    def fdatasync(self, *arguments: Any) -> None:
        self._change("fdatasync", *arguments)

    def sync_directory(self, *arguments: Any) -> None:
        self._change("sync_directory", *arguments)


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


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_call_loses_no_row_and_repeats_none(
    tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MERGED_MIN", 3)
    calls, done = 0, False
    while not done:
        calls += 1
        journal = Journal(tmp_path / str(calls))
        for n in range(24):
            journal.append(day=n // 15)
        clock = iter(range(0, 1_000_000, 400))
        monkeypatch.setattr("fanion.journal.log_segment.WINDOW_BYTES", 1024)
        done = run(journal, Dying(calls, after), clock)
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


def test_small_files_of_a_day_become_one_and_leave_when_no_query_can_read_them(journal: Journal) -> None:
    now = [1000.0]
    with pipeline(journal.directory, now=lambda: now[0]) as made:
        for _ in range(MERGED_MIN):
            journal.append()
            made.run_once()
        assert [file.rows for file in made.manifest.files] == [2 * MERGED_MIN]
        assert kept(made, journal.directory) == journal.rows()
        parquet = journal.directory / "rows"
        assert len(list(parquet.glob("*.parquet"))) == MERGED_MIN + 1
        now[0] += LEAVING_S - 1
        made.run_once()
        assert len(list(parquet.glob("*.parquet"))) == MERGED_MIN + 1
        now[0] += 1
        made.run_once()
        assert len(list(parquet.glob("*.parquet"))) == 1
        assert kept(made, journal.directory) == journal.rows()


def test_files_of_a_version_with_fewer_columns_are_read_and_merged(journal: Journal) -> None:
    with pipeline(journal.directory) as made:
        for n in range(MERGED_MIN):
            journal.append()
            if n:  # as the version before wrote it
                old = journal.directory / "rows" / made.manifest.files[-1].name
                table = pyarrow.parquet.read_table(old).drop_columns(["run", "generation", "attributes"])
                pyarrow.parquet.write_table(table, old)
                found = ask(journal.directory, "SELECT count(*), count(run) FROM rows")[1]
                assert found == [(2 * n, 0)]
            made.run_once()
        assert len(made.manifest.files) == 1
        assert kept(made, journal.directory) == journal.rows()
        assert ask(journal.directory, "SELECT count(run) FROM rows")[1] == [(0,)]


class Dated(Storage):
    """A wall clock of its own."""

    def __init__(self, wall_ns: int) -> None:
        self._wall_ns = wall_ns

    def wall(self) -> int:
        return self._wall_ns

    def boottime(self) -> int:
        return self._wall_ns

    def boot(self) -> str:
        return "b"


def test_days_leave_by_age_but_not_by_a_clock_that_jumped(journal: Journal) -> None:
    for day in range(5):
        journal.append(day=day)
    then = START_NS + 5 * DAY_NS
    storage = Dated(then)
    with pipeline(journal.directory, storage=storage, keep_days=2) as made:
        made.run_once()
        assert len(made.manifest.files) == 5, "no clock has been seen good yet"
    moment = Moment(then / 1e9, then / 1e9, "b")
    belief = msgspec.structs.replace(begin(moment), kept_s=10 * 86_400.0)
    path = clock_path(journal.directory)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encode(belief))
    with pipeline(journal.directory, storage=storage, keep_days=2) as made:
        made.run_once()
        assert [file.day for file in made.manifest.files] == [20_003, 20_004]
        assert len(kept(made, journal.directory)) == 4


def test_an_environment_keeps_its_rows_as_long_as_it_says(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"short": RowTerms(keep_days=1), "long": RowTerms(keep_days=0)}
    monkeypatch.setattr(Published, "terms_of", lambda _, environment: said.get(environment, RowTerms()))
    for environment in ("short", "long", "prod"):
        for day in range(5):
            journal.append(environment, day=day)
    then = START_NS + 5 * DAY_NS
    moment = Moment(then / 1e9, then / 1e9, "b")
    path = clock_path(journal.directory)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encode(msgspec.structs.replace(begin(moment), kept_s=10 * 86_400.0)))

    def days(keep_days: int) -> dict[str, int]:
        with pipeline(journal.directory, storage=Dated(then), keep_days=keep_days) as made:
            made.run_once()
            found = [file.environment for file in made.manifest.files]
            return {name: found.count(name) for name in ("short", "long", "prod")}

    assert days(0) == {"short": 1, "long": 5, "prod": 5}
    assert days(2) == {"short": 1, "long": 5, "prod": 2}


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


def test_what_was_merged_is_written_again_only_when_as_much_has_come() -> None:
    def sizes(*given: int) -> list[int]:
        return [file.bytes for file in module._alike([File("f", "e", 1, 1, size) for size in given])]

    assert sizes(*[10] * 8) == [10] * 8
    assert sizes(1_000, *[10] * 8) == [10] * 8
    assert sizes(1_000, 300, *[10] * 8) == [10] * 8
    assert sizes(80, *[10] * 8) == [80, *[10] * 8]


def test_a_store_that_cant_be_read_ends_a_run_and_no_row_is_without_its_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: Any, **__: Any) -> Any:
        raise StoreBusyError("another process has it")

    flags = Published(tmp_path, 1 << 30, canonical_forms())
    monkeypatch.setattr("fanion.store.store.Store.open", busy)
    with pytest.raises(StoreBusyError):
        flags.flag_of("redpennon", "env_01hx", "checkout-flow")


def test_what_a_killed_query_spilled_is_no_hindrance_and_leaves_in_time(journal: Journal) -> None:
    rows = journal.directory / "rows"
    pipeline(journal.directory).close()
    for name, age_s in (("query-1-a", 90_000), ("query-2-b", 60)):
        (rows / name).mkdir()
        (rows / name / "spilled").touch()
        os.utime(rows / name, (time.time() - age_s,) * 2)
    pipeline(journal.directory).close()
    assert [path.name for path in rows.glob("query-*")] == ["query-2-b"]


def test_a_problem_is_told_once(journal: Journal) -> None:
    with pipeline(journal.directory) as made:
        made._expander.problems.append("a")
        assert made.take_problems() == ["a"]
        made._reader.defects.append(SimpleNamespace(path="p", what="b"))
        made._expander.problems.append("c")
        assert made.take_problems() == ["c", "p: b"]


def test_sql_sees_what_counts(journal: Journal) -> None:
    assert ask(journal.directory, "SELECT count(*) AS n, min(flag) FROM rows") == (
        ["n", "min(flag)"],
        [(0, None)],
    )
    for _ in range(3):
        journal.append()
    with pipeline(journal.directory) as made:
        made.run_once()
    (journal.directory / "rows" / "stray.parquet").write_bytes(b"no row")
    statement = "SELECT flag, count(*) FROM rows WHERE counts GROUP BY flag ORDER BY flag"
    assert ask(journal.directory, statement)[1] == [("f0", 3), ("f1", 3)]
    assert ask(journal.directory, "SELECT current_setting('enable_progress_bar')")[1] == [(False,)]
    with pytest.raises(RowsError, match="no_such"):
        ask(journal.directory, "SELECT no_such FROM rows")
    fetching = "SELECT value FROM duckdb_settings() WHERE name = 'autoinstall_known_extensions'"
    assert ask(journal.directory, fetching)[1] == [("false",)]
    for nothing in ("", " ; ", "-- nothing"):
        with pytest.raises(RowsError, match="asks for nothing"):
            ask(journal.directory, nothing)


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
