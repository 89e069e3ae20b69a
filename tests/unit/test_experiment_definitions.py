"""Experiments in native definitions: what is refused, with its path, and what a publication stores of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fanion import definitions
from fanion.bundle.compiler import compile_bundle
from fanion.bundle.reader import BundleReader
from fanion.dialects import vocabulary
from fanion.errors import DefinitionError
from fanion.model.experiment import DOCUMENT, MetricPlan, Plan, RunPlan, decode_plans, flags_tried
from tests.e2e.traffical_world import EVENT_DEFINITIONS, golden
from tests.unit.native_files import PLACE, flag, problems, rule, writer

START_US = 1_772_323_200_000_000  # 2026-03-01
HOUR_US = 3_600_000_000
TEXTS: dict[str, Any] = {
    "default_value": "old",
    "type": "string",
    "variants": [
        {"key": "control", "value": "old"},
        {"key": "new", "value": "n"},
        {"key": "off", "value": ""},
    ],
}
SPLIT = [{"weight": 50, "value": "old"}, {"weight": 50, "value": "n"}]
METRIC = {"event": "paid"}


def experiment(**members: Any) -> dict[str, Any]:
    return {
        "flag": "checkout",
        "control": "control",
        "exposure": "served",
        "start": "2026-03-01T00:00:00Z",
        "metrics": {"paid": METRIC},
        **members,
    }


def project(one: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "flags": {
            "checkout": flag(**TEXTS, rules=[{"id": "r", "split": SPLIT}]),
            "plain": flag(rules=[rule()]),
        },
        "events": {"paid": {"type": "double"}, "viewed": {}},
        "experiments": {"copy": one},
        **members,
    }


def load(path: Path) -> dict[str, Plan]:
    (lowered,) = definitions.load([path], vocabulary()).environments
    bundle = BundleReader(compile_bundle(lowered, {}))
    return decode_plans(dict(bundle.documents()).get(DOCUMENT))


def test_a_whole_experiment_is_stored_as_a_plan(tmp_path: Path) -> None:
    whole = experiment(
        shares={"new": 30, "control": 70},
        runs=[{"start": "2026-03-02T00:00:00+00:00", "shares": {"new": 1, "control": 1}}],
        end="2026-03-09T00:00:00Z",
        units=["userId", "user"],
        pre_period_hours=24,
        metrics={
            "paid": {"event": "paid", "window_hours": 1.5},
            "basket": {
                "event": "paid",
                "type": "sum",
                "cap": 100,
                "role": "guardrail",
                "direction": "decrease",
            },
            "rate": {"event": "paid", "type": "ratio", "numerator": "count", "denominator_event": "viewed"},
        },
    )
    assert load(writer(tmp_path)(**project(whole))) == {
        "copy": Plan(
            key="copy",
            flag="checkout",
            exposure="served",
            variants=("control", "new"),
            metrics=(
                MetricPlan("paid", "paid", window_us=HOUR_US * 3 // 2),
                MetricPlan("basket", "paid", "sum", "guardrail", "decrease", cap=100.0),
                MetricPlan("rate", "paid", "ratio", numerator="count", denominator_event="viewed"),
            ),
            runs=(
                RunPlan(START_US, {"new": 30, "control": 70}),
                RunPlan(START_US + 24 * HOUR_US, {"new": 1, "control": 1}),
            ),
            end_us=START_US + 8 * 24 * HOUR_US,
            units=("userId", "user"),
            pre_period_us=24 * HOUR_US,
        )
    }


def test_without_shares_every_named_variant_takes_part_and_the_control_is_first(tmp_path: Path) -> None:
    (plan,) = load(writer(tmp_path)(**project(experiment(control="new")))).values()
    assert plan.variants == ("new", "control", "off")
    assert plan.runs == (RunPlan(START_US),)


def test_a_publication_without_experiments_has_no_document_of_them(tmp_path: Path) -> None:
    path = writer(tmp_path)(flags={"plain": flag()})
    (lowered,) = definitions.load([path], vocabulary()).environments
    assert DOCUMENT not in lowered.documents
    assert flags_tried(None) == frozenset()


def test_who_records_exposures_reads_which_flags_are_tried(tmp_path: Path) -> None:
    (lowered,) = definitions.load([writer(tmp_path)(**project(experiment()))], vocabulary()).environments
    assert flags_tried(lowered.documents[DOCUMENT]) == {"checkout"}


@pytest.mark.parametrize(
    ("members", "path", "found"),
    [
        ({"flag": "chekout"}, "flag", "the flag 'chekout'"),
        ({"flag": "plain"}, "flag", "the flag 'plain', whose values have no names"),
        ({"control": "old"}, "control", "the variant 'old'"),
        ({"shares": {"control": 1, "neu": 1}}, "shares.neu", "the variant 'neu'"),
        (
            {
                "shares": {"control": 1, "new": 1},
                "runs": [{"start": "2026-03-02", "shares": {"control": 1, "x": 1}}],
            },
            "runs[0].shares.x",
            "the variant 'x'",
        ),
        ({"metrics": {"m": {"event": "payed"}}}, "metrics.m.event", "the metric 'payed'"),
        (
            {"metrics": {"m": {"event": "paid", "type": "ratio", "denominator_event": "x"}}},
            "metrics.m.denominator_event",
            "the metric 'x'",
        ),
        ({"metrics": {"m": {"event": "paid", "type": "ratio"}}}, "metrics.m", "a ratio without denominator_event"),
        (
            {"metrics": {"m": {"event": "paid", "denominator_event": "paid"}}},
            "metrics.m.denominator_event",
            "beside conversion",
        ),
        ({"metrics": {"m": {"event": "paid", "cap": 1}}}, "metrics.m.cap", "a cap beside conversion"),
        ({"metrics": {"m": {"event": "paid", "cap": 0, "type": "sum"}}}, "metrics.m.cap", "0"),
        ({"metrics": {}}, "metrics", "0 metrics"),
        ({"metrics": {f"m{n}": METRIC for n in range(101)}}, "metrics", "101 metrics"),
        ({"start": "yesterday"}, "start", "'yesterday'"),
        ({"end": "2026-02-01"}, "end", "'2026-02-01'"),
        ({"exposure": "seen"}, "exposure", "'seen'"),
        ({"shares": {"control": 1}}, "shares", "1 variants"),
        ({"shares": {"new": 1, "off": 1}}, "shares", "shares without the control's"),
        ({"shares": {"control": 1, "new": 0, "off": 1}}, "shares.new", "0"),
        (
            {"runs": [{"start": "2026-03-02", "shares": {"control": 1, "new": 1}}]},
            "runs",
            "runs without shares",
        ),
        ({"environments": ["prod"]}, "environments[0]", "the environment 'prod'"),
        ({"pre_period_hours": -1}, "pre_period_hours", "-1"),
        ({"unit": "userId"}, "unit", "an unknown field"),
    ],
)  # fmt: skip
def test_what_an_experiment_gets_wrong_is_refused_with_its_path(
    tmp_path: Path, members: dict[str, Any], path: str, found: str
) -> None:
    given = problems(writer(tmp_path)(**project(experiment(**members))))
    assert [(place, what) for place, what, _ in given] == [(f"experiments.copy.{path}", found)]


def test_runs_follow_one_another_and_lie_before_the_end(tmp_path: Path) -> None:
    shares = {"control": 1, "new": 1}
    runs = [{"start": "2026-03-03", "shares": shares}, {"start": "2026-03-02", "shares": shares}]
    given = problems(
        writer(tmp_path)(**project(experiment(shares=shares, runs=runs, end="2026-03-02T00:00:00Z")))
    )
    assert [place for place, _, _ in given] == ["experiments.copy.runs[1].start", "experiments.copy.end"]


def test_a_hundred_metrics_and_a_hundred_runs_are_taken(tmp_path: Path) -> None:
    shares = {"control": 1, "new": 1}
    runs = [{"start": f"2026-03-02T00:{n // 60:02}:{n % 60:02}Z", "shares": shares} for n in range(100)]
    one = experiment(metrics={f"m{n}": METRIC for n in range(100)}, shares=shares, runs=runs)
    assert len(load(writer(tmp_path)(**project(one)))["copy"].runs) == 101
    one["runs"] = [*runs, {"start": "2026-03-03", "shares": shares}]
    assert problems(writer(tmp_path)(**project(one)))[0][:2] == ("experiments.copy.runs", "101 runs")


def test_what_several_environments_lack_is_said_once(tmp_path: Path) -> None:
    environments = {"a": {"id": "env_a"}, "b": {"id": "env_b"}}
    path = writer(tmp_path)(environments=environments, **project(experiment(flag="none")))
    assert len(problems(path)) == 1


def test_an_experiment_runs_in_the_environments_that_it_names(tmp_path: Path) -> None:
    environments = {"a": {"id": "env_a"}, "b": {"id": "env_b"}}
    path = writer(tmp_path)(environments=environments, **project(experiment(environments=["b"])))
    first, second = definitions.load([path], vocabulary()).environments
    assert DOCUMENT not in first.documents
    assert DOCUMENT in second.documents


def test_a_policy_of_another_source_is_tried_by_its_id_its_allocations_and_its_events(tmp_path: Path) -> None:
    bundle = golden("upstream/bundle_basic.json") | {"eventDefinitions": EVENT_DEFINITIONS}
    policy = next(
        one for layer in bundle["layers"] for one in layer["policies"] if len(one["allocations"]) > 1
    )
    control, *_ = [one.get("key") or one["name"] for one in policy["allocations"]]
    event = bundle["eventDefinitions"][0]["name"]
    (tmp_path / "bundle.json").write_text(json.dumps(bundle))
    environments = {"e": {"id": "env_e", "sources": [{"format": "traffical", "path": "bundle.json"}]}}
    one = experiment(flag=policy["id"], control=control, exposure="sent", metrics={"m": {"event": event}})
    path = writer(tmp_path)(environments=environments, experiments={"copy": one})
    (lowered,) = definitions.load([path], vocabulary()).environments
    assert decode_plans(lowered.documents[DOCUMENT])["copy"].variants[0] == control
    one["control"] = "nothing"
    path = writer(tmp_path)(environments=environments, experiments={"copy": one})
    with pytest.raises(DefinitionError, match="the variant 'nothing'") as caught:
        definitions.load([path], vocabulary())
    assert caught.value.problems[0].path == f"{PLACE}.experiments.copy.control"
