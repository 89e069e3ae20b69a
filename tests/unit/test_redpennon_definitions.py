"""Red Pennon's source format: what it lowers to, by twin and core alike, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fanion import app, definitions
from fanion._core.evaluate import Bundle
from fanion.bundle.compiler import compile_bundle
from fanion.cli import group
from fanion.config import Config
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.format import SourceFile
from fanion.definitions.sources.redpennon.source import FORMAT
from fanion.dialects import vocabulary
from fanion.dialects.redpennon.emit import REASONS
from fanion.engine.reference import evaluate
from fanion.errors import DefinitionError, Problem
from fanion.model.context import EvaluationContext, TypedContext
from fanion.model.program import Answer, Cause, Lowered

GOLDEN = Path(__file__).parents[1] / "golden" / "redpennon"
TARGETING = json.loads((GOLDEN / "targeting.json").read_text())


def lower(document: dict[str, Any], environment: str = "env_1") -> Lowered:
    report, builder = Report(), Builder(environment, name="production")
    source = SourceFile(
        "features.json", json.dumps({"redpennon": 1, "environments": ["production"]} | document).encode()
    )
    parsed = FORMAT.parse(source, report)
    assert report.problems == []
    assert parsed is not None
    FORMAT.lower(parsed, source, builder, report)
    assert report.problems == []
    return builder.finish()


def problems(document: Any) -> list[Problem]:
    report = Report()
    text = json.dumps(document) if not isinstance(document, str) else document
    assert FORMAT.parse(SourceFile("features.json", text.encode()), report) is None
    return report.problems


def feature(targeting: dict[str, Any] | None, **members: Any) -> dict[str, Any]:
    item: dict[str, Any] = {
        "variables": {"flow": {"type": "string"}, "limit": {"type": "number"}},
        "variations": {"a": {"flow": "A", "limit": 1}, "b": {"flow": "B", "limit": 2.5}},
        **members,
    }
    if targeting is not None:
        item["environments"] = {"production": targeting}
    return item


def on(*rules: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"targeting": "on", "default_variation": "a", "rules": list(rules), **members}


def answer(lowered: Lowered, variable: str, user: dict[str, Any]) -> tuple[Answer, int]:
    """What twin and core say; they must agree."""
    parameter = next(one for one in lowered.parameters if one.key == variable)
    custom = user.get("custom_data", {})
    context = EvaluationContext(user, {}, (TypedContext("custom_data", "", custom),))
    found = evaluate(lowered, parameter.decision, context)
    core = Bundle(compile_bundle(lowered, {}))
    assert core.evaluate(parameter.decision, user, None, (("custom_data", "", custom),)) == found
    return parameter.answers[found.outcome], found.bucket


def served(
    lowered: Lowered, variable: str, user: dict[str, Any]
) -> tuple[str | None, str | None, str | None]:
    found, _ = answer(lowered, variable, user)
    return found.value, found.variant, REASONS[found.cause]


ANYONE = {"property": "user_id", "operator": "is_not", "values": ["nobody"]}
HALVES = [{"variation": "a", "weight": 50}, {"variation": "b", "weight": 50}]


@pytest.mark.parametrize("case", TARGETING["cases"], ids=lambda case: json.dumps(case["condition"]))
def test_condition_matches_as_written(case: dict[str, Any]) -> None:
    rule = {"conditions": [case["condition"]], "variation": "b"}
    lowered = lower({"audiences": TARGETING["audiences"], "features": {"f": feature(on(rule))}})
    for user in case["matching"]:
        assert served(lowered, "flow", user) == ('"B"', "b", "targeting_rule_matched"), user
    for user in case["other"]:
        assert served(lowered, "flow", user) == ('"A"', "a", "no_rule_matched"), user


@pytest.mark.parametrize("row", json.loads((GOLDEN / "bucketing.json").read_text()))
def test_bucket_is_the_published_one(row: dict[str, Any]) -> None:
    rule = {"conditions": [ANYONE], "distribution": HALVES}
    lowered = lower({"features": {row["feature"]: feature(on(rule))}}, row["environment"])
    for user in (
        {"id": row["identity"]},
        {"email": row["identity"]},
        {"id": row["identity"], "email": "other"},
    ):
        found, bucket = answer(lowered, "flow", user)
        assert bucket == row["bucket"]
        assert found.variant == ("a" if bucket < 5000 else "b")


def test_environment_id_of_red_pennon_salts_the_hash() -> None:
    report = Report()
    builder = Builder("env_1", {"redpennon": {"environment": "other"}}, "production")
    rule = {"conditions": [ANYONE], "distribution": HALVES}
    document = {"redpennon": 1, "environments": ["production"], "features": {"f": feature(on(rule))}}
    source = SourceFile("f.json", json.dumps(document).encode())
    parsed = FORMAT.parse(source, report)
    assert parsed is not None
    FORMAT.lower(parsed, source, builder, report)
    plain = lower({"features": {"f": feature(on(rule))}}, "other")
    assert answer(builder.finish(), "flow", {"id": "u"})[1] == answer(plain, "flow", {"id": "u"})[1]


@pytest.mark.parametrize("user", [{}, {"id": "", "email": ""}, {"id": None}, {"id": {}, "email": []}])
def test_someone_without_identity_gets_the_default_of_a_distribution(user: dict[str, Any]) -> None:
    rule = {"conditions": [ANYONE], "distribution": [{"variation": "b", "weight": 100}]}
    after = {"conditions": [ANYONE], "variation": "b"}
    lowered = lower({"features": {"f": feature(on(rule, after))}})
    assert served(lowered, "flow", user) == ('"A"', "a", "no_rule_matched")


def test_one_decision_gives_every_variable_of_the_feature() -> None:
    rule = {"conditions": [ANYONE], "variation": "b"}
    lowered = lower({"features": {"f": feature(on(rule))}})
    assert served(lowered, "flow", {})[:2] == ('"B"', "b")
    assert served(lowered, "limit", {})[:2] == ("2.5", "b")
    assert len({parameter.decision for parameter in lowered.parameters}) == 1
    assert {parameter.variants for parameter in lowered.parameters} == {("a", "b")}


@pytest.mark.parametrize(
    ("item", "user", "expected"),
    [
        (feature(on()), {"id": "u"}, ('"A"', "a", "default_variation")),
        (
            feature(on({"conditions": [ANYONE], "variation": "b"})),
            {"id": "nobody"},
            ('"A"', "a", "no_rule_matched"),
        ),
        (feature({"default_variation": "a"}), {"id": "u"}, (None, None, "targeting_disabled")),
        (feature(None), {"id": "u"}, (None, None, "targeting_disabled")),
        (feature(None, status="archived"), {"id": "u"}, (None, None, "feature_archived")),
        (feature(on(), status="deleted"), {"id": "u"}, (None, None, "feature_deleted")),
        (feature(None, status="complete", final_variation="b"), {}, ('"B"', "b", "feature_complete")),
        (feature(on(self_targeting={"dev": "b"})), {"id": "dev"}, ('"B"', "b", "self_targeting_override")),
        (
            feature(on(self_targeting={"d@x": "b"})),
            {"id": "u", "email": "d@x"},
            ('"B"', "b", "self_targeting_override"),
        ),
        (feature(on(self_targeting={"dev": "b"})), {"id": "Dev"}, ('"A"', "a", "default_variation")),
        (
            feature({"default_variation": "a", "self_targeting": {"dev": "b"}}),
            {"id": "dev"},
            ('"B"', "b", "self_targeting_override"),
        ),
        (
            feature(on(self_targeting={"dev": "a"}), status="complete", final_variation="b"),
            {"id": "dev"},
            ('"B"', "b", "feature_complete"),
        ),
    ],
)
def test_precedence_of_reasons(item: dict[str, Any], user: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert served(lower({"features": {"f": item}}), "flow", user) == expected


def test_first_matching_rule_wins_and_all_its_conditions_hold() -> None:
    first = {
        "conditions": [
            {"property": "country", "operator": "is", "values": ["DE"]},
            {"property": "platform", "operator": "is", "values": ["web"]},
        ],
        "variation": "b",
    }
    second = {"conditions": [{"property": "country", "operator": "is", "values": ["DE"]}], "variation": "a"}
    lowered = lower({"features": {"f": feature(on(first, second, default_variation="b"))}})
    assert served(lowered, "flow", {"country": "DE", "platform": "web"})[1] == "b"
    assert served(lowered, "flow", {"country": "DE"})[1:] == ("a", "targeting_rule_matched")


def test_weights_to_two_decimals_cut_the_buckets() -> None:
    rule = {
        "conditions": [ANYONE],
        "distribution": [{"variation": "a", "weight": 33.33}, {"variation": "b", "weight": 66.67}],
    }
    lowered = lower({"features": {"f": feature(on(rule))}})
    for number in range(200):
        found, bucket = answer(lowered, "flow", {"id": f"user-{number}"})
        assert found.variant == ("a" if bucket < 3333 else "b")


@pytest.mark.parametrize(
    ("features", "path", "found"),
    [
        ({"f": feature(on(), colour=1)}, "features.f.colour", "an unknown field"),
        (
            {"f": feature(on(default_variation="c"))},
            "features.f.environments.production.default_variation",
            "'c'",
        ),
        ({"f": feature(None, status="complete")}, "features.f.final_variation", "nothing"),
        ({"f": feature(on({"conditions": [], "variation": "b"}))}, "rules[0].conditions", "0 conditions"),
        ({"f": feature(on({"conditions": [ANYONE]}))}, "rules[0]", "neither"),
        (
            {"f": feature(on({"conditions": [ANYONE], "distribution": HALVES[:1]}))},
            "rules[0].distribution",
            "weights that sum to 50",
        ),
        (
            {
                "f": feature(
                    on({"conditions": [ANYONE], "distribution": [{"variation": "a", "weight": 33.333}]})
                )
            },
            "distribution[0].weight",
            "33.333",
        ),
        (
            {"f": feature(on({"conditions": [{**ANYONE, "operator": "exists"}], "variation": "b"}))},
            "conditions[0].values",
            "1 values",
        ),
        (
            {"f": feature(on({"conditions": [{**ANYONE, "property": "custom_property"}], "variation": "b"}))},
            "conditions[0].custom_key",
            "nothing",
        ),
        (
            {"f": feature(None, environments={"prod": on()})},
            "features.f.environments.prod",
            "the environment",
        ),
        ({"f": feature(None), "g": feature(None)}, "features.g.variables.flow", "again"),
        (
            {"f": {"variables": {"v": {"type": "json"}}, "variations": {"a": {"v": [1]}}}},
            "features.f.variations.a.v",
            "a list",
        ),
        (
            {"f": {"variables": {"v": {"type": "number"}}, "variations": {"a": {}}}},
            "features.f.variations.a.v",
            "nothing",
        ),
        (
            {
                "f": {
                    "variables": {"v": {"type": "string"}, "V": {"type": "string"}},
                    "variations": {"a": {"v": "x"}},
                }
            },
            "features.f.variables",
            "differ in case",
        ),
    ],
)
def test_defect_is_refused_with_its_place(features: dict[str, Any], path: str, found: str) -> None:
    listed = problems({"redpennon": 1, "environments": ["production"], "features": features})
    assert [one for one in listed if one.path.endswith(path) and found in one.found], listed


def test_audiences_in_a_circle_are_refused() -> None:
    asks = {"property": "audience", "operator": "is"}
    audiences = {
        "a": {"conditions": [{**asks, "values": ["b"]}]},
        "b": {"conditions": [{**asks, "values": ["a"]}]},
    }
    listed = problems({"redpennon": 1, "environments": [], "audiences": audiences})
    assert [one.found for one in listed] == ["a circle: a → b → a"]


def test_every_defective_feature_is_reported_in_one_round() -> None:
    features = {
        "f": feature(on(), colour=1),
        "g": {**feature(on(default_variation="c")), "variables": {"x": {"type": "string"}}},
    }
    listed = problems({"redpennon": 1, "environments": ["production"], "features": features})
    assert {one.path.split(".")[1] for one in listed} == {"f", "g"}


NATIVE = """
fanion: 1
organisations:
  acme:
    projects:
      shop:
        environments:
          production:
            keys: [{{key: 6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7a10, dialects: [redpennon]}}]
            sources: [{{format: redpennon, path: {path}}}]
"""


def test_file_is_published_as_a_source_of_an_environment(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(NATIVE.format(path="features.json"))
    document = {"redpennon": 1, "environments": ["production"], "features": {"f": feature(on())}}
    (tmp_path / "features.json").write_text(json.dumps(document))
    loaded = definitions.load([tmp_path], vocabulary())
    (lowered,) = loaded.environments
    assert {parameter.key for parameter in lowered.parameters} == {"flow", "limit"}
    again = definitions.load_stored(loaded.sources, vocabulary())
    assert again.environments[0].parameters == lowered.parameters


def test_environment_that_the_file_does_not_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(NATIVE.format(path="features.json"))
    document = {"redpennon": 1, "environments": ["staging"], "features": {}}
    (tmp_path / "features.json").write_text(json.dumps(document))
    with pytest.raises(DefinitionError, match="no 'production'"):
        definitions.load([tmp_path], vocabulary())


def test_offline_evaluation_takes_the_apis_user_with_its_custom_data(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(NATIVE.format(path="features.json"))
    condition = {"property": "custom_property", "custom_key": "plan", "operator": "is", "values": ["pro"]}
    item = feature(on({"conditions": [condition], "variation": "b"}))
    document = {"redpennon": 1, "environments": ["production"], "features": {"f": item}}
    (tmp_path / "features.json").write_text(json.dumps(document))
    data = tmp_path / "data"
    app.publish(data, definitions.load([tmp_path / "acme.yaml"], vocabulary()), Config())
    user = json.dumps({"id": "u", "custom_data": {"plan": "pro"}})
    done = CliRunner().invoke(group, ["eval", "--data", str(data), "acme/shop/production", "flow", user])
    assert done.exit_code == 0, done.output
    assert '"value":"B","variation":"b","reason":"targeting_rule_matched"' in done.output


def test_every_cause_has_a_reason_on_the_wire() -> None:
    assert set(REASONS) == set(Cause)


@pytest.mark.parametrize(
    ("operator", "values", "odd"),
    [
        ("is", ["staff", "stuff"], ["'stuff'"]),
        ("is_not", ["stuff"], ["'stuff'"]),
        ("contains", ["ta", "uff"], ["'uff'"]),
        ("starts_with", ["sta"], []),
        ("exists", [], []),
    ],
)
def test_an_audience_that_is_not_defined_is_warned_about(
    operator: str, values: list[str], odd: list[str]
) -> None:
    staff = [{"property": "email", "operator": "exists"}]
    condition = {"property": "audience", "operator": operator} | ({"values": values} if values else {})
    targeting = {
        "targeting": "on",
        "default_variation": "a",
        "rules": [{"conditions": [condition], "variation": "b"}],
    }
    document = {
        "redpennon": 1,
        "environments": ["production"],
        "audiences": {"staff": {"conditions": staff}},
        "features": {"f": feature(targeting)},
    }
    report = Report()
    assert FORMAT.parse(SourceFile("features.json", json.dumps(document).encode()), report) is not None
    found = [warning.found.split(",")[0] for warning in report.warnings]
    assert found == odd
