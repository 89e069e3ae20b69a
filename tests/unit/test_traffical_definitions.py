"""What a Traffical bundle may say, what is refused, and what is warned about and kept
(docs/apis/traffical.md: Bundle)."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from fanion import definitions
from fanion.definitions import DEMO
from fanion.definitions.sources.traffical.pattern import InvalidPattern, UnsupportedPattern, translate
from fanion.dialects import vocabulary
from fanion.engine.externals import compile_pattern
from fanion.errors import DefinitionError, Problem
from fanion.model.program import Lowered

BUNDLE: dict[str, Any] = {
    "version": "2026-05-21T10:30:00.000Z",
    "orgId": "o",
    "projectId": "p",
    "env": "production",
    "hashing": {"unitKey": "userId", "bucketCount": 10},
    "parameters": [{"key": "a.b", "type": "string", "default": "x", "layerId": "lay_1"}],
    "layers": [
        {
            "id": "lay_1",
            "policies": [
                {
                    "id": "pol_1",
                    "state": "running",
                    "kind": "static",
                    "conditions": [{"field": "f", "op": "eq", "value": 1}],
                    "allocations": [{"name": "on", "bucketRange": [0, 9], "overrides": {"a.b": "y"}}],
                }
            ],
        }
    ],
}
POLICY = ("layers", 0, "policies", 0)
ALLOCATION = (*POLICY, "allocations", 0)
CONDITION = (*POLICY, "conditions", 0)
GONE = object()
AT = "layers[0].policies[0]"


def changed(*changes: tuple[tuple[Any, ...], Any]) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(BUNDLE)
    for path, value in changes:
        place: Any = document
        for step in path[:-1]:
            place = place[step]
        if value is GONE:
            del place[path[-1]]
        else:
            place[path[-1]] = value
    return document


def load(tmp_path: Path, document: Any, weights: Any = None) -> definitions.Loaded:
    (tmp_path / "bundle.json").write_text(json.dumps(document))
    if weights is not None:
        (tmp_path / "bundle.weights.json").write_text(json.dumps(weights))
    return definitions.load([tmp_path / "bundle.json"], vocabulary())


def problems(tmp_path: Path, document: Any, weights: Any = None) -> list[Problem]:
    with pytest.raises(DefinitionError) as caught:
        load(tmp_path, document, weights)
    return caught.value.problems


def only(loaded: definitions.Loaded) -> Lowered:
    (lowered,) = loaded.environments
    return lowered


def test_a_bundle_published_by_itself_names_its_environment(tmp_path: Path) -> None:
    loaded = load(tmp_path, BUNDLE)
    lowered = only(loaded)
    assert loaded.warnings == []
    assert lowered.environment == "o/p/production"
    assert lowered.identifiers["traffical"] == {
        "organisation": "o",
        "project": "p",
        "environment": "production",
    }
    served = json.loads(lowered.documents["traffical.config"])
    assert served == BUNDLE | {"hashing": BUNDLE["hashing"] | {"algorithm": "sha256-v2"}}
    assert [(one.key, one.group, one.source) for one in lowered.parameters] == [("a.b", "lay_1", "traffical")]
    assert definitions.load_stored(loaded.sources, vocabulary()).environments == loaded.environments


def test_weights_beside_a_bundle_are_taken_along(tmp_path: Path) -> None:
    weights = {"pol_1": {"_global": None, "entities": {"e": {"weights": [1]}}}}
    edge = {"entityKeys": ["x"], "resolutionMode": "edge"}
    document = changed(((*POLICY, "entityConfig"), edge))
    loaded = load(tmp_path, document, weights)
    assert any(name.endswith("bundle.weights.json") for name in loaded.sources)
    assert definitions.load([tmp_path], vocabulary()).environments == loaded.environments
    nodes = [node for decision in only(loaded).decisions for node in decision.nodes]
    assert any(vector.key == "e" for node in nodes for vector in getattr(node, "vectors", ()))


def test_the_demo_bundle_is_what_the_documents_show() -> None:
    loaded = definitions.load([DEMO], vocabulary())
    lowered = next(one for one in loaded.environments if "proj_marketplace" in one.environment)
    assert {one.key for one in lowered.parameters} == {
        "checkout.button.color",
        "checkout.show_trust_badges",
        "pricing.discount_pct",
    }
    served = json.loads(lowered.documents["traffical.config"])
    ranges = {one["name"]: one["bucketRange"] for one in served["layers"][0]["policies"][0]["allocations"]}
    assert ranges == {"control": [0, 4999], "treatment": [5000, 9999]}


REFUSED: list[tuple[str, tuple[Any, ...], Any, str]] = [
    ("no hashing", ("hashing",), None, "hashing"),
    ("no unit key", ("hashing", "unitKey"), "", "hashing.unitKey"),
    ("a blank unit key", ("hashing", "unitKey"), "  ", "hashing.unitKey"),
    ("no bucket", ("hashing", "bucketCount"), 0, "hashing.bucketCount"),
    ("half a bucket", ("hashing", "bucketCount"), 1.5, "hashing.bucketCount"),
    ("too many buckets", ("hashing", "bucketCount"), 2**31, "hashing.bucketCount"),
    ("no version", ("version",), GONE, "document"),
    ("no environment", ("env",), 5, ""),
    ("no parameter key", ("parameters", 0, "key"), GONE, "parameters[0]"),
    ("no layer id", ("parameters", 0, "layerId"), GONE, "parameters[0]"),
    ("no default", ("parameters", 0, "default"), GONE, "parameters[0]"),
    ("no type", ("parameters", 0, "type"), GONE, "parameters[0]"),
    ("no policies", ("layers", 0, "policies"), None, "layers[0].policies"),
    ("no conditions", (*POLICY, "conditions"), GONE, f"{AT}"),
    ("conditions of another kind", (*POLICY, "conditions"), {}, f"{AT}.conditions"),
    ("no allocations", (*POLICY, "allocations"), GONE, f"{AT}"),
    ("no allocation name", (*ALLOCATION, "name"), "", f"{AT}.allocations[0].name"),
    ("a short range", (*ALLOCATION, "bucketRange"), [0], f"{AT}.allocations[0].bucketRange"),
    (
        "a negative range",
        (*ALLOCATION, "bucketRange"),
        [-1, 5],
        f"{AT}.allocations[0].bucketRange[0]",
    ),
    (
        "a range upside down",
        (*ALLOCATION, "bucketRange"),
        [5, 4],
        f"{AT}.allocations[0].bucketRange",
    ),
    (
        "a huge range",
        (*ALLOCATION, "bucketRange"),
        [0, 2**53],
        f"{AT}.allocations[0].bucketRange[1]",
    ),
    (
        "a huge eligible range",
        (*POLICY, "eligibleBucketRange"),
        {"start": 0, "end": 10**30},
        f"{AT}.eligibleBucketRange.end",
    ),
    (
        "overrides of another kind",
        (*ALLOCATION, "overrides"),
        [],
        f"{AT}.allocations[0].overrides",
    ),
    ("no field", (*CONDITION, "field"), "", f"{AT}.conditions[0].field"),
    ("no operator", (*CONDITION, "op"), GONE, f"{AT}.conditions[0]"),
    ("a unit key of another kind", ("layers", 0, "unitKey"), None, "layers[0].unitKey"),
    (
        "a model without numbers",
        (*POLICY, "contextualModel"),
        {"gamma": 1},
        f"{AT}.contextualModel",
    ),
    ("a number past a double", ("parameters", 0, "default"), float("inf"), "document"),
]


@pytest.mark.parametrize(("name", "path", "value", "place"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_any_client_refuses_is_refused(
    tmp_path: Path, name: str, path: tuple[Any, ...], value: Any, place: str
) -> None:
    found = problems(tmp_path, changed((path, value)))
    if name != "no environment":  # such a file does not say where it belongs
        assert [problem.path for problem in found] == [place]


def test_every_defect_is_reported_at_once(tmp_path: Path) -> None:
    document = changed(
        (("parameters", 0, "type"), GONE),
        ((*ALLOCATION, "name"), ""),
        ((*CONDITION, "op"), 5),
        (("hashing", "bucketCount"), 10),
    )
    assert len(problems(tmp_path, document)) == 3


@pytest.mark.parametrize("weights", [[], {"p": {"_global": {"weights": ["x"]}, "entities": {}}}])
def test_weights_that_are_none_are_refused(tmp_path: Path, weights: Any) -> None:
    (tmp_path / "w.json").write_text(json.dumps(weights))
    (tmp_path / "b.json").write_text(json.dumps(BUNDLE))
    source = {"format": "traffical", "path": "b.json", "files": {"weights": "w.json"}}
    world = {"organisations": {"o": {"projects": {"p": {"environments": {"e": {"sources": [source]}}}}}}}
    (tmp_path / "world.json").write_text(json.dumps(world))
    with pytest.raises(DefinitionError):
        definitions.load([tmp_path / "world.json"], vocabulary())


def test_one_environment_has_one_bundle(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(json.dumps(BUNDLE))
    source = {"format": "traffical", "path": "b.json"}
    world = {
        "organisations": {"o": {"projects": {"p": {"environments": {"e": {"sources": [source, source]}}}}}}
    }
    (tmp_path / "world.json").write_text(json.dumps(world))
    with pytest.raises(DefinitionError, match="second Traffical bundle"):
        definitions.load([tmp_path / "world.json"], vocabulary())


def test_a_parameter_belongs_to_one_layer_and_one_definition(tmp_path: Path) -> None:
    twice = [*BUNDLE["parameters"], BUNDLE["parameters"][0] | {"layerId": "other"}]
    assert "another layer" in problems(tmp_path, changed((("parameters",), twice)))[0].found


ONE = {"name": "one", "bucketRange": [0, 5], "overrides": {}}
MODEL = {"gamma": 1, "actionProbabilityFloor": 0, "defaultAllocationScore": 0}
NOBODY = MODEL | {"coefficients": {"nobody": {"intercept": 0, "numeric": [], "categorical": []}}}
WARNED: list[tuple[str, tuple[Any, ...], Any, str]] = [
    ("overlaps", (*POLICY, "allocations"), [ONE, ONE | {"bucketRange": [5, 9]}], "wins"),
    ("buckets that are not", (*ALLOCATION, "bucketRange"), [0, 10], "do not exist"),
    ("no such layer", ("parameters", 0, "layerId"), "none", "keeps its default"),
    ("an unknown key", (*ALLOCATION, "overrides"), {"z": 1}, "caller brings"),
    ("another type", (*ALLOCATION, "overrides"), {"a.b": 1}, "served as it is"),
    ("a default of another type", ("parameters", 0, "default"), 1, "served as it is"),
    ("an unknown type", ("parameters", 0, "type"), "date", "served as it is"),
    ("an unknown operator", (*CONDITION, "op"), "like", "false"),
    ("no value", (*CONDITION, "value"), GONE, "null"),
    ("no values", (*CONDITION, "op"), "in", "never"),
    ("no number", CONDITION, {"field": "f", "op": "gt", "value": "1"}, "false"),
    ("no text", CONDITION, {"field": "f", "op": "contains", "value": 1}, "false"),
    ("a list", CONDITION, {"field": "f", "op": "eq", "value": [1]}, "equal nothing"),
    ("no pattern", CONDITION, {"field": "f", "op": "regex", "value": "["}, "false"),
    ("look-around", CONDITION, {"field": "f", "op": "regex", "value": "(?=a)"}, "false"),
    ("a blank layer unit", ("layers", 0, "unitKey"), " ", "skipped"),
    ("useless coefficients", (*POLICY, "contextualModel"), NOBODY, "never used"),
    ("no refresh", ("suggestedRefreshMs",), 0, "ignore"),
]


@pytest.mark.parametrize(("name", "path", "value", "meaning"), WARNED, ids=[row[0] for row in WARNED])
def test_what_has_a_meaning_is_kept_and_warned_about(
    tmp_path: Path, name: str, path: tuple[Any, ...], value: Any, meaning: str
) -> None:
    loaded = load(tmp_path, changed((path, value)))
    (warning,) = loaded.warnings
    assert meaning in warning.allowed
    assert warning.path.startswith(str(path[0]))


def test_a_repeated_layer_or_parameter_is_warned_about(tmp_path: Path) -> None:
    document = changed((("layers",), BUNDLE["layers"] * 2), (("parameters",), BUNDLE["parameters"] * 2))
    found = [warning.path for warning in load(tmp_path, document).warnings]
    assert found == ["parameters[1].key", "layers[1].id"]


@pytest.mark.parametrize(
    ("events", "place"),
    [
        ([{}], "eventDefinitions[0]"),
        ([{"name": "e", "schemaEnforcement": "maybe"}], "eventDefinitions[0].schemaEnforcement"),
        ([{"name": "e"}, {"name": "e"}], "eventDefinitions[1].name"),
        (
            [{"name": "e", "properties": {"p": {"pattern": "(?=x)"}}}],
            "eventDefinitions[0].properties.p.pattern",
        ),
        (
            [{"name": "e", "properties": {"p": {"pattern": r"[^\s]{1,1000}" * 6}}}],  # too large to be run
            "eventDefinitions[0].properties.p.pattern",
        ),
        ([{"name": "e", "properties": {"p": {"tpye": "string"}}}], "eventDefinitions[0].properties[...]"),
    ],
)
def test_event_definitions_are_checked(tmp_path: Path, events: Any, place: str) -> None:
    assert [one.path for one in problems(tmp_path, changed((("eventDefinitions",), events)))] == [place]


# -- patterns


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("a.c", "a\u2028c", False),
        ("a.c", "a\nc", False),
        (r"^\s$", "\ufeff", True),
        (r"^\s$", "\u180e", False),
        (r"^[\S]$", "\u00a0", False),
        (r"\Aa", "Aa", True),
        (r"\pL", "pL", True),
        (r"\Q.\E", "Q.E", True),
        ("[[:alpha:]]", ":]", True),
        ("(?<year>\\d{4})-", "2026-", True),
        (r"\k<year>", "k<year>", True),
        (r"\u{61}", "u" * 61, True),
        (r"\x41\u0042\103\t", "ABC\t", True),
        (r"\x0", "x0", True),
        (r"\0", "\0", True),
        (r"[\b]", "\b", True),
        (r"\cJ", "\n", True),
        (r"\c", "\\c", True),
        (r"[\c_]", "\x1f", True),
        (r"\8", "8", True),
        (r"(a)\2", "a\x02", True),
        ("a{", "a{", True),
        ("a{,2}", "a{,2}", True),
        ("^a{2}$", "aa", True),
        ("]}", "]}", True),
        ("[]", "", False),
        ("[^]", "\n", True),
        (r"[\w-.]", "-", True),
        (r"[a-\d]", "-", True),
        ("[^a-z]", "A", True),
        (r"😀$", "x😀", True),
        (r"\ud83d\ude00", "😀", True),
        ("a$", "a\n", False),
        (r"\$\.\/\-", "$./-", True),
        ("a|b|", "", True),
        ("(?:a|b)+?c", "ababc", True),
        (r"\bfoo\B", "foox", True),
    ],
)
def test_patterns_mean_what_they_mean_in_ecmascript(pattern: str, text: str, expected: bool) -> None:
    assert (compile_pattern(translate(pattern)).search(text) is not None) is expected


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "[", "a**", "*a", "a{2}{3}", "{2}", "a{3,2}", "[b-a]", "\\", "[\\", "(?a)", "(?<1>a)", "^*"],
)
def test_what_ecmascript_refuses_is_no_pattern(pattern: str) -> None:
    with pytest.raises(InvalidPattern):
        translate(pattern)


@pytest.mark.parametrize(
    "pattern", ["(?=a)", "(?!a)", "(?<=a)", "(?<!a)", r"(a)\1", r"(?<n>a)\k<n>", r"\ud83d", "(?i:a)"]
)
def test_what_a_linear_engine_cannot_run_is_named(pattern: str) -> None:
    with pytest.raises(UnsupportedPattern):
        translate(pattern)
