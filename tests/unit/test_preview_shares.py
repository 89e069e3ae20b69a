"""Shares that aren't what is written (docs/preview.md): of lots drawn twice, of experiments, of few values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fanion.definitions import DEMO
from fanion.preview import shares
from tests.unit.test_preview import Change, data, run, seen, write

__all__ = ["data"]

HALF = {"fractional": [["one", 50], ["two", 50]]}


def flagd(targeting: dict[str, Any]) -> dict[str, Any]:
    variants = {"one": 1, "two": 2, "three": 3}
    flag = {"state": "ENABLED", "variants": variants, "defaultVariant": "three", "targeting": targeting}
    return {"flags": {"banner": flag}}


def shares_of(data: Path, path: Path, key: str, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = seen(data, path, "--units", "3000", *arguments)["flags"][key]["shares"]
    return found


def test_a_rollout_within_half_of_the_same_lots_draws_nothing_anew(data: Path, tmp_path: Path) -> None:
    nested = {"if": [{"==": [HALF, "one"]}, HALF, "three"]}
    path = write(tmp_path / "new", flagd=flagd(nested))
    found = shares_of(data, path, "flagd:banner")
    assert {(one["gets"], one["written"], one["found"]) for one in found} == {
        ("one", 0.5, 1.0),
        ("two", 0.5, 0.0),
    }
    text = run(data, path, "--units", "3000").output
    assert "a share isn't what is written: one: 100.00 % of " in text
    assert "units that drew, 50 % is written" in text
    stopped = run(data, path, "--units", "2000", "--fail-on", "shares-off>0")
    assert stopped.exit_code == 1
    assert "beyond shares-off>0: banner" in stopped.output


@pytest.mark.parametrize(
    "targeting",
    [
        HALF,
        {"if": [{"==": [{"var": "plan"}, "pro"]}, HALF, "three"]},
        {
            "if": [
                {"==": [HALF, "one"]},
                {"fractional": [{"cat": [{"var": "targetingKey"}, "x"]}, *HALF["fractional"]]},
            ]
        },
        {"fractional": [{"var": "plan"}, ["one", 30], ["two", 70]]},
        {"fractional": [["one", 1], ["two", 9999]]},
    ],
)
def test_lots_that_fall_as_written_are_not_named(
    data: Path, tmp_path: Path, targeting: dict[str, Any]
) -> None:
    assert shares_of(data, write(tmp_path / "new", flagd=flagd(targeting)), "flagd:banner") == []


def test_contexts_of_few_values_that_lots_are_drawn_by_are_named(data: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "new", flagd=flagd({"fractional": [{"var": "plan"}, ["one", 50], ["two", 50]]}))
    file = tmp_path / "contexts.ndjson"
    contexts = [{"targetingKey": f"user-{number}", "plan": "pro"} for number in range(500)]
    file.write_text("\n".join(map(json.dumps, contexts)))
    found = shares_of(data, path, "flagd:banner", "--contexts", str(file))
    assert sorted((one["found"], one["units"]) for one in found) == [(0.0, 500), (1.0, 500)]


def tried(percentage: float, **planned: float) -> Change:
    def change(project: dict[str, Any]) -> None:
        half = project["flags"]["half"]
        half["variants"] = [{"key": "on", "value": True}, {"key": "off", "value": False}]
        half["rules"][0]["rollout_percentage"] = percentage
        project["events"] = {"paid": {"type": "count"}}
        project["environments"]["e"]["exposures"] = {"record": "experiments"}
        plan = {"flag": "half", "control": "off", "exposure": "served", "start": "2026-01-01T00:00:00Z"}
        project["experiments"] = {
            "checkout": {**plan, "shares": planned, "metrics": {"paid": {"event": "paid"}}}
        }

    return change


def test_an_experiments_shares_are_held_against_the_variants_that_its_units_get(
    data: Path, tmp_path: Path
) -> None:
    found = shares_of(data, write(tmp_path / "new", tried(60, on=50, off=50)), "native:half")
    assert {one["gets"]: round(one["found"], 1) for one in found} == {"on": 0.6, "off": 0.4}
    assert {(one["experiment"], one["written"]) for one in found} == {("checkout", 0.5)}
    text = run(data, tmp_path / "new" / "world.yaml", "--units", "2000").output
    assert "the experiment checkout has on: " in text
    assert shares_of(data, write(tmp_path / "right", tried(60, on=3, off=2)), "native:half") == []


def test_new_flags_are_looked_at_as_well_and_a_share_of_nobody_is_known(tmp_path: Path) -> None:
    nested = {"if": [{"==": [HALF, "one"]}, HALF, "three"]}
    path = write(tmp_path / "new", flagd=flagd(nested))
    empty = tmp_path / "empty"
    empty.mkdir()
    flag = seen(empty, path, "--units", "3000")["flags"]["flagd:banner"]
    assert flag["change"] == "new"
    assert len(flag["shares"]) == 2


def test_the_demo_draws_as_it_is_written(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    found = json.loads(run(empty, DEMO, "--units", "3000", "--format", "json").stdout)["environments"]
    drawing = [one for environment in found for one in environment["flags"]]
    assert len(drawing) > 5
    assert [one["key"] for one in drawing if one["shares"]] == []


def test_units_are_bounded_over_all_flags() -> None:
    assert [shares.units_for(flags) for flags in (0, 1, 5, 10, 50)] == [20_000, 20_000, 20_000, 10_000, 2_000]
