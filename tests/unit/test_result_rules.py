"""What counts in a result, rule by rule (docs/results.md: What counts), each in a small world."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")
pytest.importorskip("scipy")

from fanion.cli.results import command
from tests.unit import result_world
from tests.unit.result_rows import write_rows
from tests.unit.result_small import (
    HOUR,
    START,
    S,
    did,
    means,
    publish_project,
    results,
    saw,
    small,
)


def test_an_event_counts_from_the_lead_before_its_exposure_to_the_windows_end(tmp_path: Path) -> None:
    ends = [-5 * S - 1, -5 * S, HOUR, HOUR + 1]
    rows = [saw(f"u{n}", "control") for n in range(4)] + [saw("x", "treatment")]
    rows += [did(f"u{n}", "purchase", at) for n, at in enumerate(ends)]
    assert means(small(tmp_path, rows))["control"] == 0.5


def test_the_lead_is_a_setting(tmp_path: Path) -> None:
    rows = [saw("u", "control"), did("u", "purchase", -8 * S)]
    assert means(small(tmp_path, rows))["control"] == 0
    assert means(results(tmp_path, lead_us=8 * S)["copy"])["control"] == 1


def test_exposures_count_from_the_start_to_the_end_and_the_first_one_places_a_unit(tmp_path: Path) -> None:
    end = result_world.END - START
    rows = [
        saw("early", "control", -1),
        saw("start", "control", 0),
        saw("end", "control", end),
        saw("late", "control", end + 1),
        saw("both", "treatment", 7),
        saw("both", "control", 5),
    ]
    assert small(tmp_path, rows).units == {"control": 3, "treatment": 0}


def test_of_two_variants_in_one_microsecond_the_plans_first_counts(tmp_path: Path) -> None:
    result = small(tmp_path, [saw("u", "treatment", 5), saw("u", "control", 5)])
    assert result.units == {"control": 1, "treatment": 0}


def test_another_kind_of_exposure_flag_or_unit_is_none(tmp_path: Path) -> None:
    rows = [
        saw("a", "control", kind="assigned"),
        saw("b", "control", kind="exposure"),
        saw("c", "control", flag="banner"),
        saw("d", "control", unit_kind="device"),
        saw("e", "control", counts=False),
        saw("f", "nothing"),
        saw("g", "control", environment="env_other"),
        saw("h", "control", unit_kind="userId"),
        saw("i", "control"),
    ]
    assert small(tmp_path, rows).units == {"control": 2, "treatment": 0}


@pytest.mark.parametrize(("exposure", "kind"), [("sent", "exposure"), ("assigned", "assigned")])
def test_each_source_of_exposures_reads_its_own_rows(tmp_path: Path, exposure: str, kind: str) -> None:
    rows = [saw("a", "control"), saw("b", "control", kind=kind), saw("c", "control", kind="decision")]
    assert small(tmp_path, rows, exposure=exposure).units == {"control": 1, "treatment": 0}


def test_an_id_counts_once_over_the_whole_experiment_at_its_first_time(tmp_path: Path) -> None:
    rows = [saw("u", "control"), saw("v", "control")]
    rows += [
        did("u", "purchase", 2 * HOUR, event_id="late"),
        did("u", "purchase", 1, event_id="a"),
        did("u", "purchase", 2, event_id="a"),
        did("v", "purchase", 3),
        did("v", "purchase", 3),
        did("v", "purchase", 4, counts=False),
    ]
    result = small(tmp_path, rows)
    assert means(result)["control"] == 1.5
    assert result.counted is not None
    assert (result.counted.repeats_dropped, result.counted.events_without_id) == (1, 2)


def test_events_that_name_another_variant_of_the_flag_are_counted(tmp_path: Path) -> None:
    named = [
        ("copy", "control"),
        ("copy", None),
        (None, "treatment"),
        ("other", "treatment"),
        ("copy", "treatment"),
        ("copy", "of no plan"),
    ]
    rows = [saw("u", "control"), saw("x", "treatment")]
    rows += [did("u", "purchase", S, flag=flag, variant=variant) for flag, variant in named]
    assert small(tmp_path, rows).counted.events_against_exposure == 2


def test_false_is_no_conversion_and_no_count(tmp_path: Path) -> None:
    rows = [saw("u", "control"), did("u", "purchase", value=0.0, value_text="false")]
    rows += [saw("v", "control"), did("v", "purchase", value=1.0, value_text="true")]
    assert means(small(tmp_path, rows))["control"] == 0.5


def test_a_cap_bounds_a_units_sum_and_no_event_is_none(tmp_path: Path) -> None:
    metric = {"m": {"event": "purchase", "type": "sum", "cap": 10}}
    rows = [saw("u", "control"), saw("v", "control"), did("u", "view")]
    rows += [did("v", "purchase", value=8.0), did("v", "purchase", value=8.0), did("v", "purchase")]
    result = small(tmp_path, rows, metrics=metric)
    assert means(result)["control"] == 5
    assert result.counted is not None
    assert result.counted.values_not_numbers == 1


def test_more_than_a_hundredth_of_units_in_two_variants_is_not_trustworthy(tmp_path: Path) -> None:
    rows = [saw(f"u{n}", "control") for n in range(99)]
    rows += [saw("twice", "control", 1), saw("twice", "treatment", 2)]
    result = small(tmp_path, rows, shares={"control": 1000, "treatment": 1}, runs=[])
    assert result.trustworthy
    rows += [saw("again", "control", 1), saw("again", "treatment", 2)]
    write_rows(tmp_path / "data", rows)
    result = results(tmp_path)["copy"]
    assert not result.trustworthy
    assert result.summary.startswith("not trustworthy")
    assert "2.0% of the units met several variants" in result.problems[0]


def test_a_sample_ratio_that_is_no_chance_is_not_trustworthy(tmp_path: Path) -> None:
    rows = [saw(f"u{n}", "control" if n % 4 else "treatment") for n in range(400)]
    result = small(tmp_path, rows)
    assert not result.trustworthy
    assert "sample ratio" in result.problems[0]


def test_runs_without_a_name_are_the_plans_periods(tmp_path: Path) -> None:
    change = result_world.CHANGED - START
    rows = [saw(f"a{n}", "control", change - 1) for n in range(3)] + [saw("b", "treatment", change)]
    result = small(tmp_path, rows)
    assert [(run.run, run.units) for run in result.runs] == [
        ("period 1", {"control": 3, "treatment": 0}),
        ("period 2", {"control": 0, "treatment": 1}),
    ]


def test_complete_leaves_out_the_units_whose_window_is_open(tmp_path: Path) -> None:
    rows = [saw("old", "control", 0), saw("new", "control", HOUR), did("new", "purchase", HOUR + 1)]
    rows.append(did("x", "purchase", HOUR + 2))
    result = small(tmp_path, rows)
    assert [(one.units, one.open) for one in result.metrics[0].variants] == [(2, 1), (0, 0)]
    closed = results(tmp_path, complete=True)["copy"]
    assert [(one.units, one.open) for one in closed.metrics[0].variants] == [(1, 1), (0, 0)]
    assert closed.units["control"] == 2


def test_few_units_are_not_enough_yet_whatever_they_did(tmp_path: Path) -> None:
    rows = [saw(f"{variant}{n}", variant) for variant in ("control", "treatment") for n in range(99)]
    rows += [did(f"treatment{n}", "purchase") for n in range(99)] + [did("control0", "purchase")]
    result = small(tmp_path, rows)
    (one,) = result.metrics[0].comparisons
    assert one.p_corrected < 0.001
    assert (one.finding, result.summary) == ("not enough yet", "not enough yet")
    assert "100 units of each variant" in one.words


def test_without_exposures_events_are_counted_and_nothing_is_compared(tmp_path: Path) -> None:
    event = {"flag": "copy", "variant": "treatment"}
    rows = [did("u", "purchase", **event), did("u", "purchase", **event), did("v", "purchase", **event)]
    result = small(tmp_path, rows)
    assert [(one.variant, one.events, one.units) for one in result.unexposed] == [("treatment", 3, 2)]
    assert result.summary.startswith("no exposures")
    assert result.metrics[0].comparisons == []


def test_an_experiment_without_any_row_has_a_result(tmp_path: Path) -> None:
    publish_project(tmp_path, result_world.project())
    found = results(tmp_path, daily=True, attribute="plan")
    assert [(one.units, one.as_of) for one in found.values()] == [({"control": 0, "treatment": 0}, None)] * 2


def test_an_attribute_that_a_client_sent_is_printed_and_not_obeyed(tmp_path: Path) -> None:
    told = json.dumps({"plan": "\x1b]0;owned\x07"})
    small(tmp_path, [saw("u", "control", attributes=told)])
    for form in ("table", "json", "csv"):
        given = ["--data", str(tmp_path / "data"), "--by", "plan", "--format", form]
        made = CliRunner().invoke(command, given, catch_exceptions=False)
        assert "\x1b" not in made.output
        assert "\\u001b]0;owned" in made.output


def test_an_attribute_that_no_unit_has_is_said(tmp_path: Path) -> None:
    small(tmp_path, [saw("u", "control", attributes=json.dumps({"plan": "pro"}))])
    for attribute, lacks in (("plan", False), ("pln", True)):
        made = CliRunner().invoke(
            command, ["--data", str(tmp_path / "data"), "--by", attribute], catch_exceptions=False
        )
        assert (f"these units had no {attribute} when they were exposed" in made.output) is lacks
