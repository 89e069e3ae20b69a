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

from tests.unit import result_world

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")
special = pytest.importorskip("scipy.special")

from fanion.cli.results import command  # noqa: E402
from fanion.errors import RowsError  # noqa: E402
from fanion.results import tables  # noqa: E402
from fanion.results.compute import Asked, choose, compute, read_plans  # noqa: E402
from fanion.results.report import Result  # noqa: E402
from fanion.small_files import sealed  # noqa: E402
from tests.unit.result_rows import Row, write_rows  # noqa: E402
from tests.unit.result_script import Script  # noqa: E402
from tests.unit.result_small import CONFIG, HOUR, START, publish_project, results  # noqa: E402


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


@pytest.mark.heavy
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
    monkeypatch.setattr(tables, "SORTED_MAX", 1000)
    assert exact(results(world)) == exact(found)


def test_a_moment_of_128_bits_says_the_same(
    world: Path, found: dict[str, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where variants and runs are too many for one of 64."""
    monkeypatch.setattr(tables, "MOMENT_BITS_MAX", -1)
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
    folder.joinpath("manifest.json").write_bytes(sealed(msgspec.json.encode(manifest)))
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


def test_an_experiment_that_is_not_there_is_refused_by_name(world: Path) -> None:
    plans = read_plans(world / "data", CONFIG.store.map_bytes)
    with pytest.raises(RowsError, match=r"no experiment 'coppy'; there are banner, copy"):
        choose(plans, "coppy", None)
    with pytest.raises(RowsError, match="in env_x"):
        choose(plans, "copy", "env_x")
