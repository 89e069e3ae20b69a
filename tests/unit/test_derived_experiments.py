"""Experiments that features and policies of other formats are by themselves, from publication to results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fanion import definitions
from fanion.app import publish
from fanion.config import Config
from fanion.definitions.reading import limits
from fanion.dialects import vocabulary
from fanion.model.experiment import DERIVED, DOCUMENT, MetricPlan, Plan, RunPlan, plan_keys, plans_of
from fanion.model.program import Lowered
from tests.e2e.traffical_world import EVENT_DEFINITIONS, golden
from tests.unit.native_files import writer

GERMANY = {"property": "country", "operator": "is", "values": ["DE"]}
SPLIT = [{"variation": "a", "weight": 40}, {"variation": "control", "weight": 60}]


def feature(**members: Any) -> dict[str, Any]:
    return {
        "variables": {"checkout-flow": {"type": "string"}},
        "variations": {"a": {"checkout-flow": "one"}, "control": {"checkout-flow": "old"}},
        "environments": {
            "e": {
                "targeting": "on",
                "default_variation": "a",
                "rules": [{"conditions": [GERMANY], "distribution": SPLIT}],
            }
        },
    } | members


def features(folder: Path, **given: Any) -> dict[str, str]:
    (folder / "features.json").write_text(
        json.dumps({"redpennon": 1, "environments": ["e"], "features": given})
    )
    return {"format": "redpennon", "path": "features.json"}


def bundle(folder: Path, **members: Any) -> dict[str, str]:
    (folder / "bundle.json").write_text(json.dumps(golden("upstream/bundle_basic.json") | members))
    return {"format": "traffical", "path": "bundle.json"}


def written(folder: Path, *sources: dict[str, str], record: str = "off", **project: Any) -> Path:
    environment = {"id": "env_e", "sources": list(sources), "exposures": {"record": record}}
    return writer(folder)(environments={"e": environment}, **project)


def load(folder: Path, *sources: dict[str, str], **given: Any) -> Lowered:
    (lowered,) = definitions.load([written(folder, *sources, **given)], vocabulary()).environments
    return lowered


def plans(folder: Path, *sources: dict[str, str], **given: Any) -> dict[str, Plan]:
    documents = load(folder, *sources, **given).documents
    found = plans_of(documents)
    assert plan_keys(documents.get(DOCUMENT), documents.get(DERIVED)) == found.keys()
    return found


def test_a_feature_is_an_experiment_by_the_exposures_of_its_split_as_it_is_now(tmp_path: Path) -> None:
    lowered = load(tmp_path, features(tmp_path, checkout=feature()), record="splits")
    assert DOCUMENT not in lowered.documents
    (split,) = lowered.splits
    assert plans_of(lowered.documents) == {
        "checkout": Plan(
            key="checkout",
            flag="checkout",
            exposure="served",
            variants=("control", "a"),
            metrics=(),
            runs=(RunPlan(0, {"a": 40, "control": 60}, split.run),),
            source="redpennon",
            metrics_from="flag",
        )
    }


def test_shares_are_known_where_they_are_recorded_and_those_of_all_rules(tmp_path: Path) -> None:
    (plan,) = plans(tmp_path, features(tmp_path, checkout=feature())).values()
    assert plan.runs == (RunPlan(0),)
    even = [{"variation": "a", "weight": 50}, {"variation": "control", "weight": 50}]
    rules = [
        {"conditions": [GERMANY], "distribution": even},
        {"conditions": [GERMANY], "distribution": SPLIT},
    ]
    targeting = {"e": {"targeting": "on", "default_variation": "a", "rules": rules}}
    made = features(tmp_path, checkout=feature(environments=targeting))
    (plan,) = plans(tmp_path, made, record="splits").values()
    assert plan.runs[0].shares == {}


@pytest.mark.parametrize(
    "members",
    [
        {"status": "deleted"},
        {"environments": {}},
        {
            "variations": {"a": {"checkout-flow": "one"}},
            "environments": {"e": {"targeting": "on", "default_variation": "a"}},
        },
    ],
)
def test_a_feature_with_nothing_to_compare_is_none(tmp_path: Path, members: dict[str, Any]) -> None:
    assert DERIVED not in load(tmp_path, features(tmp_path, checkout=feature(**members))).documents


def test_without_a_variation_of_that_name_the_default_is_the_control(tmp_path: Path) -> None:
    variations = {"off": {"checkout-flow": "o"}, "on": {"checkout-flow": "n"}}
    targeting = {"e": {"targeting": "off", "default_variation": "on"}}
    made = features(tmp_path, checkout=feature(variations=variations, environments=targeting))
    (plan,) = plans(tmp_path, made).values()
    assert plan.variants == ("on", "off")


def test_a_policy_is_an_experiment_by_what_sdks_sent_without_a_window(tmp_path: Path) -> None:
    found = plans(tmp_path, bundle(tmp_path, eventDefinitions=EVENT_DEFINITIONS))
    document = golden("upstream/bundle_basic.json")
    policies = {one["id"]: one for layer in document["layers"] for one in layer["policies"]}
    expected = [id for id, one in policies.items() if len(one["allocations"]) > 1]
    assert list(found) == expected
    for id, plan in found.items():
        names = [one.get("key") or one["name"] for one in policies[id]["allocations"]]
        assert (plan.exposure, plan.flag, plan.end_us, plan.units) == ("sent", id, None, ())
        assert sorted(plan.variants) == sorted(names)
        assert plan.control == ("control" if "control" in names else names[0])
        assert plan.runs == (RunPlan(0),)
        assert plan.metrics == tuple(MetricPlan(one["name"], one["name"]) for one in EVENT_DEFINITIONS)
        assert (plan.source, plan.metrics_from, plan.note) == ("traffical", "plan", "")


def test_a_policy_of_a_bundle_without_events_has_all_of_its_api(tmp_path: Path) -> None:
    assert {one.metrics_from for one in plans(tmp_path, bundle(tmp_path)).values()} == {"source"}


def test_a_policy_that_learns_says_so(tmp_path: Path) -> None:
    document = golden("upstream/bundle_basic.json")
    for layer in document["layers"]:
        for policy in layer["policies"]:
            policy["kind"] = "adaptive"
    for plan in plans(tmp_path, bundle(tmp_path, **document)).values():
        assert "change by themselves" in plan.note


def test_a_written_experiment_of_the_flag_counts_and_one_of_its_key_keeps_it(tmp_path: Path) -> None:
    one = {
        "flag": "checkout",
        "control": "control",
        "exposure": "served",
        "start": "2026-03-01T00:00:00Z",
        "metrics": {"m": {"event": "paid"}},
    }
    project = {"events": {"paid": {}}}
    source = features(
        tmp_path,
        checkout=feature(),
        other=feature(
            variables={"v": {"type": "string"}}, variations={"a": {"v": "1"}, "control": {"v": "2"}}
        ),
    )
    found = plans(tmp_path, source, experiments={"mine": one}, **project)
    assert {key: plan.source for key, plan in found.items()} == {"mine": "", "other": "redpennon"}
    found = plans(tmp_path, source, experiments={"other": one}, **project)
    assert {key: plan.flag for key, plan in found.items()} == {
        "other": "checkout",
        "redpennon:other": "other",
    }
    assert [found[key].key for key in found] == list(found)


def test_what_is_recorded_for_experiments_is_what_is_written_out(tmp_path: Path) -> None:
    """Else every feature would leave exposures, which nobody asked for."""
    assert load(tmp_path, features(tmp_path, checkout=feature()), record="experiments").splits == ()


def test_more_than_a_bundle_holds_are_left_out_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variations = {"a": {"v": "1"}, "control": {"v": "2"}}
    source = features(
        tmp_path,
        one=feature(),
        two=feature(variables={"v": {"type": "string"}}, variations=variations),
    )
    monkeypatch.setattr("fanion.definitions.lowering.builder.DERIVED_MAX", 1)
    loaded = definitions.load([written(tmp_path, source)], vocabulary())
    assert list(plans_of(loaded.environments[0].documents)) == ["one"]
    assert "2 features and policies" in loaded.warnings[0].found
    assert limits.DERIVED_MAX == 10_000


# -- results

CONFIG = Config()
START, HOUR = 1_772_323_200_000_000, 3_600_000_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Features and a policy: `checkout` was served and converts, `quiet` nobody met, `told` has events alone."""
    pytest.importorskip("duckdb")
    pytest.importorskip("scipy")
    from tests.unit.result_rows import write_rows

    def other(name: str) -> dict[str, Any]:
        variations = {"a": {name: "1"}, "control": {name: "2"}}
        return feature(variables={name: {"type": "string"}}, variations=variations)

    sources = [
        features(tmp_path, checkout=feature(), quiet=other("q"), told=other("t")),
        bundle(tmp_path),
    ]
    loaded = definitions.load([written(tmp_path, *sources, record="splits")], vocabulary())
    publish(tmp_path / "data", loaded, CONFIG)
    run = next(split.run for split in loaded.environments[0].splits if split.flag == "checkout")
    policy, plan = next(
        (key, plan)
        for key, plan in plans_of(loaded.environments[0].documents).items()
        if plan.source == "traffical"
    )
    rows: list[dict[str, Any]] = []
    for number in range(1_000):
        variant, old = "a" if number % 5 < 2 else "control", number < 200
        served = {"kind": "served", "flag": "checkout", "unit": f"u{number}", "event_at": START + number}
        rows.append(served | {"variant": "a" if old else variant, "run": "before" if old else run})
        rows.append(
            {
                "kind": "exposure",
                "flag": policy,
                "dialect": "traffical",
                "unit": f"u{number}",
                "event_at": START,
                "variant": plan.variants[number % 2],
            }
        )
        if number % 4 == 0:
            event = {"kind": "metric", "unit": f"u{number}", "event_at": START + HOUR, "variant": variant}
            rows.append(event | {"metric": "paid", "flag": "checkout", "dialect": "redpennon"})
            rows.append(event | {"metric": "seen", "flag": "told", "dialect": "redpennon"})
            rows.append(event | {"metric": "order", "variant": None, "dialect": "traffical"})
    write_rows(tmp_path / "data", rows)
    return tmp_path / "data"


def answer(data: Path, *given: str) -> Any:
    from fanion.cli.results import command

    made = CliRunner().invoke(command, ["--data", str(data), *given], catch_exceptions=False)
    assert made.exit_code == 0, made.output
    return json.loads(made.output)["results"] if "json" in given else made.output


def test_derived_ones_that_somebody_met_are_listed_and_marked_and_others_named(data: Path) -> None:
    found = {one["experiment"]: one for one in answer(data, "--format", "json")}
    assert "checkout" in found
    assert "told" in found
    assert "quiet" not in found
    assert {one["derived_from"] for one in found.values()} == {"redpennon", "traffical"}
    assert {one["start"] for one in found.values()} == {None}
    table = answer(data)
    assert "checkout in env_e (derived from redpennon): " in table
    assert "nobody met yet in env_e: quiet" in table
    assert answer(data, "--format", "csv").splitlines()[0].endswith(",derived_from")
    assert answer(data, "quiet", "--format", "json")[0]["units"] == {"control": 0, "a": 0}


def test_a_features_metrics_are_the_events_that_name_it_and_its_shares_those_of_now(data: Path) -> None:
    (found,) = answer(data, "checkout", "--format", "json")
    assert found["units"] == {"control": 480, "a": 520}
    assert [one["metric"] for one in found["metrics"]] == ["paid"]
    assert {run["run"]: run["shares"] for run in found["runs"]}["before"] == {}
    assert [run["sample_ratio_p"] for run in found["runs"]] == [None, pytest.approx(1.0)]
    assert found["trustworthy"]


def test_a_policys_metrics_are_its_apis_events_of_units_that_were_exposed(data: Path) -> None:
    found = [one for one in answer(data, "--format", "json") if one["derived_from"] == "traffical"]
    (policy,) = [one for one in found if any(one["units"].values())]
    assert sum(policy["units"].values()) == 1_000
    assert [one["metric"] for one in policy["metrics"]] == ["order"]
    assert sum(side["active"] for side in policy["metrics"][0]["variants"]) == 250


def test_a_feature_without_exposures_has_counts_and_no_lift(data: Path) -> None:
    (found,) = answer(data, "told", "--format", "json")
    assert sum(one["events"] for one in found["unexposed"]) == 250
    assert found["metrics"][0]["comparisons"] == []
    assert found["summary"].startswith("no exposures")
