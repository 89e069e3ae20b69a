"""The files of rows: merging, letting go, row groups, and SQL over those that count."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest

from fanion.clock.belief import Moment, begin
from fanion.clock.keeper import clock_path, encode
from fanion.dialects import canonical_forms
from fanion.errors import RowsError
from fanion.journal.columns import Expander
from fanion.journal.storage import Storage
from fanion.model.row_terms import RowTerms
from fanion.pipeline import parquet
from fanion.pipeline import pipeline as module
from fanion.pipeline.manifest import File, load_manifest
from fanion.pipeline.pipeline import LEAVING_S, MERGED_MIN
from fanion.pipeline.published import Published
from fanion.pipeline.query import ask
from tests.property.test_row_columns import batch_of, payload_of
from tests.unit.pipeline_world import DAY_NS, START_NS, Journal, kept, pipeline
from tests.unit.result_rows import write_rows

pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


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


def test_exposures_and_events_have_row_groups_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ["metric", "served", "metric", "decision", "served", "metric"]
    rows = [{"kind": kind, "unit": f"u{n}", "event_at": n} for n, kind in enumerate(kinds)]
    groups = {}
    for least in (len(rows), len(rows) + 1):
        monkeypatch.setattr(parquet, "APART_MIN", least)
        directory = tmp_path / str(least)
        write_rows(directory, rows)
        (file,) = load_manifest(Storage(), directory / "rows").files
        assert file.rows == len(rows)
        whole = pyarrow.parquet.ParquetFile(directory / "rows" / file.name)
        groups[least] = [
            whole.read_row_group(n, columns=["kind"]).column("kind").to_pylist()
            for n in range(whole.num_row_groups)
        ]
        kept = ask(directory, "SELECT kind, unit, epoch_us(event_at) FROM rows ORDER BY 3")[1]
        assert kept == [(row["kind"], row["unit"], row["event_at"]) for row in rows]
    assert groups[len(rows)] == [["metric"] * 3, ["served", "decision", "served"]]
    assert groups[len(rows) + 1] == [kinds]


def test_rows_that_are_collected_apart_are_one_row_group_while_they_are_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expander = Expander(canonical_forms(), own=parquet.EVENTS)
    sent = [("feather", b'[{"flagKey":"f"},{"flagKey":"g"}]'), ("stitchd", b'[{"metric_key":"m"}]')]
    writer = parquet.Writer(Storage(), tmp_path)
    for least, kinds in (
        (4, [["metric", "evaluation", "evaluation"]]),
        (3, [["metric"], ["evaluation"] * 2]),
    ):
        monkeypatch.setattr(parquet, "APART_MIN", least)
        expander.add(batch_of([payload_of(dialect, body, b"", False) for dialect, body in sent]))
        (file,) = writer.write(expander.take_parts(), str(least))
        assert file.rows == 3
        with pyarrow.parquet.ParquetFile(tmp_path / file.name) as whole:
            groups = [whole.read_row_group(n).to_pylist() for n in range(whole.num_row_groups)]
        assert [[row["kind"] for row in group] for group in groups] == kinds
        names = [(row["flag"], row["metric"]) for group in groups for row in group]
        assert names == [(None, "m"), ("f", None), ("g", None)]


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


def test_what_was_merged_is_written_again_only_when_as_much_has_come() -> None:
    def sizes(*given: int) -> list[int]:
        return [file.bytes for file in module._alike([File("f", "e", 1, 1, size) for size in given])]

    assert sizes(*[10] * 8) == [10] * 8
    assert sizes(1_000, *[10] * 8) == [10] * 8
    assert sizes(1_000, 300, *[10] * 8) == [10] * 8
    assert sizes(80, *[10] * 8) == [80, *[10] * 8]


def test_what_a_killed_query_spilled_is_no_hindrance_and_leaves_in_time(journal: Journal) -> None:
    rows = journal.directory / "rows"
    pipeline(journal.directory).close()
    for name, age_s in (("query-1-a", 90_000), ("query-2-b", 60)):
        (rows / name).mkdir()
        (rows / name / "spilled").touch()
        os.utime(rows / name, (time.time() - age_s,) * 2)
    pipeline(journal.directory).close()
    assert [path.name for path in rows.glob("query-*")] == ["query-2-b"]


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
