"""Results through the real SQL: the demo experiment against an independent script, number by number."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner

from fanion.app import publish
from fanion.config import Config
from fanion.definitions import load
from fanion.dialects import vocabulary
from tests.unit import result_world
from tests.unit.native_files import writer

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")
special = pytest.importorskip("scipy.special")

from fanion.cli.results import command  # noqa: E402
from fanion.errors import RowsError  # noqa: E402
from fanion.results import queries  # noqa: E402
from fanion.results.compute import Asked, choose, compute, read_plans  # noqa: E402
from fanion.results.report import Result  # noqa: E402
from tests.unit.result_rows import Row, write_rows  # noqa: E402
from tests.unit.result_script import Script  # noqa: E402

CONFIG = Config()


def publish_project(directory: Path, project: dict[str, Any]) -> None:
    (directory / "definitions").mkdir()
    path = writer(directory / "definitions")(**project)
    publish(directory / "data", load([path], vocabulary()), CONFIG)


def results(directory: Path, **asked: Any) -> dict[str, Result]:
    plans = read_plans(directory / "data", CONFIG.store.map_bytes)["env_e"]
    found = compute(directory / "data", "env_e", list(plans.values()), Asked(**asked))
    return {one.experiment: one for one in found}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return result_world.rows()


@pytest.fixture(scope="module")
def world(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("demo")
    publish_project(directory, result_world.project())
    write_rows(directory / "data", rows)
    return directory


@pytest.fixture(scope="module")
def found(world: Path) -> dict[str, Result]:
    return results(world)


@pytest.fixture(scope="module")
def scripts(rows: list[Row]) -> dict[str, Script]:
    experiments = result_world.project()["experiments"]
    times = result_world.START, result_world.END, [result_world.CHANGED]
    return {key: Script(rows, key, one, *times) for key, one in experiments.items()}


def test_rows_of_a_version_without_keys_give_the_same_results(
    rows: list[Row], found: dict[str, Result], tmp_path: Path
) -> None:
    publish_project(tmp_path, result_world.project())
    write_rows(tmp_path / "data", rows, keyed=False)
    assert exact(results(tmp_path)) == exact(found)


def test_repeats_are_found_wherever_their_keys_are_sorted(
    world: Path, found: dict[str, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert any(one.counted is not None and one.counted.repeats_dropped for one in found.values())
    monkeypatch.setattr(queries, "SORTED_MAX", 1000)
    assert exact(results(world)) == exact(found)


def exact(found: dict[str, Result]) -> Any:
    """Sums are in no order: their last digits differ."""
    return json.loads(msgspec.json.encode(found), parse_float=lambda text: float(f"{float(text):.9g}"))


def test_the_demo_finds_five_points_and_nothing_where_there_is_nothing(found: dict[str, Result]) -> None:
    copy = {one.metric: one.comparisons[0] for one in found["copy"].metrics}["paid"]
    assert copy.finding == "better"
    assert copy.always_valid.lower < 0.05 < copy.always_valid.upper
    assert copy.always_valid.lower > 0
    assert {one.comparisons[0].finding for one in found["banner"].metrics} == {"none"}
    assert found["banner"].summary == "no difference found so far"
    assert found["copy"].trustworthy
    assert found["banner"].trustworthy


@pytest.mark.slow
@pytest.mark.parametrize("key", ["copy", "banner"])
def test_every_number_of_the_demo_is_the_scripts(
    found: dict[str, Result], scripts: dict[str, Script], key: str
) -> None:
    result, script = found[key], scripts[key]
    units: dict[str, int] = {}
    for _, variant, _ in script.first.values():
        units[variant] = units.get(variant, 0) + 1
    assert result.units == units
    assert result.counted is not None
    assert result.counted.units_of_several_variants == script.several
    for metric in result.metrics:
        theirs = script.compare(metric.metric)
        (ours,) = metric.comparisons
        close = {"rel": 1e-9, "abs": 1e-12}
        assert ours.difference == pytest.approx(theirs["difference"], **close)
        assert ours.always_valid.lower == pytest.approx(theirs["lower"], **close)
        assert ours.always_valid.upper == pytest.approx(theirs["upper"], **close)
        assert ours.p == pytest.approx(theirs["p"], rel=1e-6, abs=1e-300)
        width = special.stdtrit(theirs["degrees"], 0.975) * theirs["error"]
        assert ours.fixed.lower == pytest.approx(theirs["difference"] - width, **close)
        assert ours.lift == pytest.approx(theirs["lift"], **close)
        assert ours.lift_always_valid is not None
        assert ours.lift_always_valid.lower == pytest.approx(theirs["lift_lower"], **close)
        assert ours.lift_always_valid.upper == pytest.approx(theirs["lift_upper"], **close)
        numbers = script.numbers(metric.metric)
        for side in metric.variants:
            own = [one for (variant, _), every in numbers.items() if variant == side.variant for one in every]
            assert side.units == len(own)
            assert side.active == sum(y != 0 for y, _, _ in own)
            total = math.fsum(y for y, _, _ in own) / math.fsum(d for _, d, _ in own)
            assert side.mean == pytest.approx(total, rel=1e-9)


def test_runs_are_those_of_the_split_with_the_shares_that_were_planned_for_them(
    found: dict[str, Result], scripts: dict[str, Script]
) -> None:
    for key, script in scripts.items():
        one, two = found[key].runs
        assert (one.run, one.shares) == (f"{key}-one", result_world.SHARES[0])
        assert (two.run, two.shares) == (f"{key}-two", result_world.SHARES[1])
        for run in (one, two):
            counts = dict.fromkeys(run.units, 0)
            for _, variant, name in script.first.values():
                counts[variant] += name == run.run
            assert run.units == counts
            whole, shares = sum(counts.values()), sum(run.shares.values())
            statistic = sum(
                (count - whole * run.shares[variant] / shares) ** 2 / (whole * run.shares[variant] / shares)
                for variant, count in counts.items()
            )
            assert run.sample_ratio_p == pytest.approx(math.erfc(math.sqrt(statistic / 2)), rel=1e-9)


def test_what_went_wrong_on_the_way_is_counted(found: dict[str, Result], scripts: dict[str, Script]) -> None:
    for key, script in scripts.items():
        counted = found[key].counted
        assert counted is not None
        assert msgspec.to_builtins(counted) == script.counted()
    assert any("have no id" in note for note in found["copy"].notes)


def test_a_result_is_json_that_reads_back(found: dict[str, Result]) -> None:
    for one in found.values():
        assert msgspec.json.decode(msgspec.json.encode(one), type=Result) == one


# -- small worlds, each for one rule

START, HOUR, S = result_world.START, 3_600_000_000, 1_000_000


def saw(unit: str, variant: str, at: int = 0, **members: Any) -> Row:
    return {
        "kind": "served",
        "flag": "copy",
        "unit": unit,
        "variant": variant,
        "event_at": START + at,
    } | members


def did(unit: str, metric: str, at: int = HOUR, **members: Any) -> Row:
    return {"kind": "metric", "unit": unit, "metric": metric, "event_at": START + at} | members


def small(directory: Path, rows: list[Row], asked: dict[str, Any] | None = None, **members: Any) -> Result:
    """The result of `copy`, with one metric `m`: a count of `purchase` within an hour, unless it is said."""
    project = result_world.project()
    one = project["experiments"]["copy"]
    one["metrics"] = {"m": {"event": "purchase", "type": "count", "window_hours": 1}}
    one.pop("pre_period_hours")
    project["experiments"] = {"copy": one | members}
    publish_project(directory, project)
    write_rows(directory / "data", rows)
    return results(directory, **(asked or {}))["copy"]


def means(result: Result) -> dict[str, float | None]:
    return {one.variant: one.mean for one in result.metrics[0].variants}


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


def test_units_are_divided_by_what_their_exposure_said(world: Path, rows: list[Row]) -> None:
    plans = read_plans(world / "data", CONFIG.store.map_bytes)["env_e"]
    found = compute(world / "data", "env_e", [plans["copy"]], Asked(attribute="plan"))
    assert sorted(str(one.segment) for one in found) == ["free", "pro"]
    first: dict[str, tuple[int, str]] = {}
    for row in rows:
        if row["kind"] == "served" and row["flag"] == "copy":
            told = json.loads(row["attributes"])["plan"]
            first[row["unit"]] = min(first.get(row["unit"], (1 << 62, "")), (row["event_at"], told))
    for one in found:
        assert sum(one.units.values()) == sum(told == one.segment for _, told in first.values())
    odd = compute(world / "data", "env_e", [plans["copy"]], Asked(attribute="a'\"b.c"))
    assert [one.segment for one in odd] == [""]


@pytest.fixture(scope="module")
def daily(world: Path) -> Result:
    return results(world, daily=True)["copy"]


def test_the_last_day_is_the_result_and_no_day_knows_of_later_ones(
    daily: Result, found: dict[str, Result]
) -> None:
    for metric in found["copy"].metrics:
        days = [day for day in daily.days if day.metric == metric.metric]
        assert days[0].day == "2026-03-01"
        assert [day.day for day in days] == sorted({day.day for day in days})
        assert days[-1].difference == pytest.approx(metric.comparisons[0].difference, rel=1e-12)
        assert [day.units for day in days] == sorted(day.units for day in days)


def test_the_command_says_it_as_a_table_as_json_and_as_csv(
    world: Path, found: dict[str, Result], tmp_path: Path
) -> None:
    def run(*given: str) -> str:
        made = CliRunner().invoke(command, ["--data", str(world / "data"), *given], catch_exceptions=False)
        assert made.exit_code == 0, made.output
        return made.output

    table = run("copy")
    assert "copy in env_e: found: paid better with treatment" in table
    assert "run copy-one since 2026-03-01T" in table
    told = msgspec.json.decode(run("--format", "json"), type=dict[str, list[Result]])["results"]
    assert [(one.experiment, one.units, one.counted) for one in told] == [
        (one.experiment, one.units, one.counted) for one in found.values()
    ]
    lines = list(csv.DictReader(io.StringIO(run("--format", "csv", "copy"))))
    assert len(lines) == 2 * len(found["copy"].metrics)
    (paid,) = found["copy"].metrics[0].comparisons
    assert float(lines[1]["difference"]) == pytest.approx(paid.difference)
    assert paid.lift_always_valid is not None
    assert float(lines[1]["lift_upper"]) == pytest.approx(paid.lift_always_valid.upper)
    assert lines[0]["finding"] == ""
    picture = tmp_path / "plot.svg"
    run("copy", "--plot", str(picture))
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    assert picture.read_text().count("<polygon") == sum(one.role == "goal" for one in found["copy"].metrics)


def test_the_table_says_all_that_was_counted_and_how_fresh_it_is(
    world: Path, found: dict[str, Result], tmp_path: Path
) -> None:
    folder = world / "data" / "rows"
    kept = folder.joinpath("manifest.json").read_bytes()
    manifest = msgspec.json.decode(kept) | {"fresh_us": START + 30 * HOUR}
    folder.joinpath("manifest.json").write_bytes(msgspec.json.encode(manifest))
    try:
        made = CliRunner().invoke(command, ["--data", str(world / "data"), "copy"], catch_exceptions=False)
    finally:
        folder.joinpath("manifest.json").write_bytes(kept)
    counted = found["copy"].counted
    assert counted is not None
    for words in (
        f"{counted.units_of_several_variants:,} units met several variants",
        f"{counted.events_against_exposure:,} events name another variant",
        f"{counted.repeats_dropped:,} repeats dropped",
        f"{counted.clocks_corrected:,} clocks corrected",
        f"{counted.values_not_numbers:,} values were no numbers",
        f"{counted.events_without_exposure:,} events without an exposure",
        f"{counted.verified_share:.0%} of traced events verified",
        f"{counted.events_without_id:,} events have no id: what a client sent again",
        "sample ratio p = ",
        "would most likely show by now; one as large as now takes about",
        "; every event before 2026-03-02T06:00:00Z is counted",
    ):
        assert words in made.output, words


def test_the_readme_shows_what_the_demo_comes_to(found: dict[str, Result]) -> None:
    """The example there leaves out columns and fractions of seconds."""
    root = Path(__file__).parents[2]
    readme = (root / "README.md").read_text()
    result = found["copy"]
    paid = result.metrics[0]
    (one,) = paid.comparisons
    around = f"{one.always_valid.lower * 100:+.2f} to {one.always_valid.upper * 100:+.2f}"
    for side in paid.variants:
        assert f"{side.units:,}  {side.mean:.2%}" in readme
    assert f"{one.difference * 100:+.2f}   {around}" in readme
    assert f"{one.lift:+.1%}" in readme
    for run in result.runs:
        units = ", ".join(f"{variant} {count:,}" for variant, count in run.units.items())
        shown = f"run {run.run} since {run.first_exposure[:10]}: {units}; sample ratio p = {run.sample_ratio_p:.3g}"
        assert shown in readme
    assert (root / "docs" / "results.svg").read_text().count("<polygon") == 2


def test_an_attribute_that_a_client_sent_is_printed_and_not_obeyed(tmp_path: Path) -> None:
    told = json.dumps({"plan": "\x1b]0;owned\x07"})
    small(tmp_path, [saw("u", "control", attributes=told)])
    for form in ("table", "json", "csv"):
        given = ["--data", str(tmp_path / "data"), "--by", "plan", "--format", form]
        made = CliRunner().invoke(command, given, catch_exceptions=False)
        assert "\x1b" not in made.output
        assert "\\u001b]0;owned" in made.output


def test_an_experiment_that_is_not_there_is_refused_by_name(world: Path) -> None:
    plans = read_plans(world / "data", CONFIG.store.map_bytes)
    with pytest.raises(RowsError, match=r"no experiment 'coppy'; there are banner, copy"):
        choose(plans, "coppy", None)
    with pytest.raises(RowsError, match="in env_x"):
        choose(plans, "copy", "env_x")
