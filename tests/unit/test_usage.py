"""Usage of flags over time: what is counted, by which period, and how it is printed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

from fanion.cli.usage import command
from fanion.results.usage import Count, usage
from tests.unit.result_rows import Row, write_rows

S = 1_000_000
START, HOUR, DAY = 1_772_323_200 * S, 3_600 * S, 86_400 * S


def told(unit: str | None, at: int = 0, **members: Any) -> Row:
    return {"kind": "evaluation", "flag": "copy", "unit": unit, "event_at": START + at} | members


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_rows(
        tmp_path,
        [
            told("a", value=1.0, value_text="true", reason="RULE_MATCH"),
            told("a", HOUR - 1, value=1.0, value_text="true", reason="RULE_MATCH"),
            told("b", HOUR, value=1.0, value_text="true", reason="RULE_MATCH"),
            told("b", HOUR, value=2.0, reason="DEFAULT"),
            told(None, DAY, value=2.5, reason="DEFAULT"),
            told("c", DAY, kind="served", variant="new", reason="in"),
            told("c", DAY, kind="served", variant="new", reason="in", counts=False, disposition="duplicate"),
            told("c", DAY, kind="metric", metric="purchase", variant="new"),
            told("c", DAY, kind="exposure", flag=None),
            told("c", DAY, kind="exposure", flag="other", variant="x"),
            told("c", DAY, environment="env_f", variant="x"),
        ],
    )
    return tmp_path


def found(data: Path, **asked: Any) -> list[tuple[Any, ...]]:
    counts = usage(data, **({"environment": "env_e", "flag": "copy"} | asked))
    return [(one.period[5:13], one.kind, one.variant, one.reason, one.events, one.units) for one in counts]


def test_a_day_has_its_events_by_what_was_given_and_why(data: Path) -> None:
    assert found(data) == [
        ("03-01T00", "evaluation", "2", "DEFAULT", 1, 1),
        ("03-01T00", "evaluation", "true", "RULE_MATCH", 3, 2),
        ("03-02T00", "evaluation", "2.5", "DEFAULT", 1, 0),
        ("03-02T00", "served", "new", "in", 1, 1),
    ]


def test_an_hour_ends_before_the_next_one(data: Path) -> None:
    assert [one for one in found(data, by="hour") if one[2] == "true"] == [
        ("03-01T00", "evaluation", "true", "RULE_MATCH", 2, 1),
        ("03-01T01", "evaluation", "true", "RULE_MATCH", 1, 1),
    ]


def test_days_are_counted_back_from_the_newest_event(data: Path) -> None:
    assert {one[0] for one in found(data, days=1)} == {"03-02T00"}
    assert {one[0] for one in found(data, days=2)} == {"03-01T00", "03-02T00"}


def test_without_a_flag_or_an_environment_all_are_counted_apart(data: Path) -> None:
    every = usage(data, environment=None, flag=None)
    assert {(one.environment, one.flag) for one in every} == {
        ("env_e", "copy"),
        ("env_e", "other"),
        ("env_f", "copy"),
    }
    assert usage(data, environment="nowhere", flag="copy") == []


def test_more_counts_than_an_answer_has_are_left_out_and_said_so(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanion.results.usage.COUNTS_MAX", 2)
    assert len(found(data)) == 2
    made = CliRunner().invoke(command, ["--data", str(data)], catch_exceptions=False)
    assert "only the first 2" in made.stderr


def test_the_command_says_it_as_a_table_as_json_and_as_csv(data: Path) -> None:
    def run(*given: str) -> str:
        words = ["copy", "--environment", "env_e", "--data", str(data), *given]
        made = CliRunner().invoke(command, words, catch_exceptions=False)
        assert made.exit_code == 0, made.output
        return made.stdout

    assert "2026-03-01" in run()
    assert "2026-03-01T01:00" in run("--by", "hour")
    told = json.loads(run("--format", "json"))["usage"]
    lines = list(csv.DictReader(io.StringIO(run("--format", "csv"))))
    assert [one["events"] for one in told] == [int(one["events"]) for one in lines] == [1, 3, 1, 1]
    assert list(lines[0]) == list(Count.__struct_fields__)


def test_before_there_are_rows_there_is_no_usage(tmp_path: Path) -> None:
    assert usage(tmp_path, environment=None, flag=None) == []


def test_a_name_that_a_client_sent_is_printed_and_not_obeyed(tmp_path: Path) -> None:
    write_rows(tmp_path, [told("a", variant="\x1b]0;owned\x07", flag="\x1b[2J")])
    for form in ("table", "json", "csv"):
        made = CliRunner().invoke(
            command, ["--data", str(tmp_path), "--format", form], catch_exceptions=False
        )
        assert "\x1b" not in made.output
        assert "owned" in made.output
