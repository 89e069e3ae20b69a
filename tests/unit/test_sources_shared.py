"""Flat contexts as each source reads them, and keys that several sources have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fanion import definitions
from fanion.bundle.compiler import compile_bundle
from fanion.dialects import vocabulary
from fanion.engine.evaluator import Bundle, open_environment
from fanion.engine.reference import evaluate
from fanion.engine.sources import SourceDirectory, sources_in
from fanion.errors import DefinitionError
from fanion.model.context import EvaluationContext, TypedContext
from fanion.model.program import Lowered, Outcome
from fanion.model.shape import ContextShape, SourceRecord

FEATHER = {
    "shared": {"enabled": True, "defaultValue": True, "rules": []},
    "own": {"enabled": True, "defaultValue": 1, "rules": []},
}
REDPENNON = {
    "redpennon": 1,
    "environments": ["production"],
    "features": {
        "checkout": {
            "type": "experiment",
            "status": "live",
            "variables": {"shared": {"type": "boolean"}},
            "variations": {"off": {"shared": False}, "on": {"shared": True}},
            "environments": {
                "production": {
                    "targeting": "on",
                    "default_variation": "off",
                    "rules": [
                        {
                            "conditions": [
                                {"property": "email", "operator": "ends_with", "values": ["@a.example"]},
                                {
                                    "property": "custom_property",
                                    "custom_key": "plan",
                                    "operator": "is",
                                    "values": ["pro"],
                                },
                            ],
                            "variation": "on",
                        }
                    ],
                }
            },
        }
    },
}
STITCHD_FLAG = {
    "key": "paid",
    "value_type": "bool",
    "enabled": True,
    "variants": [{"key": "on", "value": True}, {"key": "off", "value": False}],
    "default_variant": "off",
    "rules": [
        {
            "condition": {"op": "Eq", "context_type": "user", "param": "plan", "value": "pro"},
            "output": {"Variant": "on"},
        }
    ],
}


def load(folder: Path, **environment: Any) -> definitions.Loaded:
    (folder / "feather.json").write_text(json.dumps(FEATHER))
    (folder / "redpennon.json").write_text(json.dumps(REDPENNON))
    (folder / "stitchd.json").write_text(json.dumps({"flags": [STITCHD_FLAG]}))
    formats = environment.pop("formats", ("feather", "redpennon", "stitchd"))
    sources = [{"format": name, "path": f"{name}.json"} for name in formats]
    project = {
        "environments": {"production": {"id": "env_1", "sources": sources, **environment}},
        "flags": {"native": {"type": "boolean", "default_value": True}},
    }
    world = folder / "world.json"
    world.write_text(json.dumps({"organisations": {"org_1": {"projects": {"shop": project}}}}))
    return definitions.load([world], vocabulary(), {})


def compiled(lowered: Lowered) -> Bundle:
    return open_environment("env_1", compile_bundle(lowered, {}))


def decided(lowered: Lowered, key: str, source: str, targeting_key: str, attributes: dict[str, Any]) -> int:
    """The variant that a source's flag has in a flat context, by the shape that its bundle keeps."""
    shape = sources_in(compiled(lowered)).shape(source)
    assert shape is not None
    parameter = next(one for one in lowered.parameters if (one.key, one.source) == (key, source))
    result = evaluate(lowered, parameter.decision, shape.context(targeting_key, attributes))
    nodes = lowered.decisions[parameter.decision].nodes
    outcomes = [node for node in nodes if isinstance(node, Outcome)]
    return outcomes[result.outcome].variant


@pytest.mark.parametrize(
    ("shape", "context"),
    [
        (
            ContextShape(subject="userId"),
            EvaluationContext({"userId": "u"}, {"plan": "pro", "group": {"key": "g", "n": 1}}),
        ),
        (
            ContextShape(unit="visitorId"),
            EvaluationContext({}, {"plan": "pro", "group": {"key": "g", "n": 1}, "visitorId": "u"}),
        ),
        (ContextShape(unit="plan"), EvaluationContext({}, {"plan": "pro", "group": {"key": "g", "n": 1}})),
        (
            ContextShape(subject="id", members={"plan": "tier"}, context_type="custom"),
            EvaluationContext(
                {"tier": "pro", "id": "u"}, {}, (TypedContext("custom", "", {"group": {"key": "g", "n": 1}}),)
            ),
        ),
        (
            ContextShape(context_type="user", keyed=True, nested=("group",)),
            EvaluationContext(
                {}, {}, (TypedContext("user", "u", {"plan": "pro"}), TypedContext("group", "g", {"n": 1}))
            ),
        ),
    ],
    ids=["subject", "unit", "unit brought along", "members", "typed"],
)
def test_a_flat_context_becomes_what_the_source_reads(
    shape: ContextShape, context: EvaluationContext
) -> None:
    assert shape.context("u", {"plan": "pro", "group": {"key": "g", "n": 1}}) == context


def test_an_attribute_of_another_type_counts_as_left_out() -> None:
    shape = ContextShape(members={"email": "email", "audiences": "audiences"})
    shape = ContextShape(members=shape.members, types={"email": "text", "audiences": "texts"})
    assert shape.context(None, {"email": 1, "audiences": ["a", 2]}) == EvaluationContext()
    assert shape.context(None, {"email": "a", "audiences": ["a"]}).members == {
        "email": "a",
        "audiences": ["a"],
    }


def test_without_a_targeting_key_there_is_no_context_that_needs_one() -> None:
    assert ContextShape(context_type="user", keyed=True).context(None, {"plan": "pro"}).contexts == ()


def test_every_source_says_how_it_reads_a_flat_context(tmp_path: Path) -> None:
    (lowered,) = load(tmp_path).environments
    assert lowered.shapes.keys() == {"native", "feather", "redpennon", "stitchd"}
    pro = {"email": "e@a.example", "plan": "pro"}
    assert decided(lowered, "shared", "redpennon", "u", pro) == 1
    assert decided(lowered, "shared", "redpennon", "u", {"email": "e@a.example"}) == 0
    assert decided(lowered, "paid", "stitchd", "u", pro) == 0
    assert decided(lowered, "paid", "stitchd", "u", {}) == 1


def test_a_key_that_two_sources_have_is_ambiguous_to_who_serves_both(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    (lowered,) = loaded.environments
    directory = sources_in(compiled(lowered))
    assert directory.sources_of("shared", ("native", "feather", "redpennon")) == ("feather", "redpennon")
    assert directory.sources_of("shared", ("native", "redpennon")) == ("redpennon",)
    assert directory.sources_of("shared", ("native",)) == ()
    assert directory.sources_of("native", ("native", "feather")) == ("native",)
    assert directory.sources_of("own", ("native", "feather", "redpennon")) == ("feather",)
    (warning,) = [one for one in loaded.warnings if "ambiguous" in one.allowed]
    assert (warning.file, warning.path) == (
        str(tmp_path / "redpennon.json"),
        "features.checkout.variables.shared",
    )
    assert str(tmp_path / "feather.json") in warning.found
    assert ": shared)" in warning.found


@pytest.mark.parametrize("first", ["feather", "redpennon"])
def test_the_order_of_sources_says_whose_the_key_is(tmp_path: Path, first: str) -> None:
    loaded = load(tmp_path, source_order=[first])
    (lowered,) = loaded.environments
    assert sources_in(compiled(lowered)).sources_of("shared", ("feather", "redpennon")) == (first,)
    assert not [one for one in loaded.warnings if "ambiguous" in one.allowed]


def test_an_order_of_sources_that_has_no_part_in_a_key_leaves_it_ambiguous(tmp_path: Path) -> None:
    loaded = load(tmp_path, source_order=["stitchd"])
    assert [one for one in loaded.warnings if "ambiguous" in one.allowed]


def test_keys_that_a_path_cuts_are_warned_about_where_clients_put_them_into_one(tmp_path: Path) -> None:
    for number, dialects in enumerate((["ofrep"], ["stitchd"])):
        folder = tmp_path / str(number)
        folder.mkdir()
        flags = [{**STITCHD_FLAG, "key": key} for key in ("a?b", "a#b", "a%b", "a/b c")]
        (folder / "flags.json").write_text(json.dumps({"flags": flags}))
        sources = [{"format": "stitchd", "path": "flags.json"}]
        project = {"environments": {"p": {"id": "e", "dialects": dialects, "sources": sources}}}
        world = folder / "world.json"
        world.write_text(json.dumps({"organisations": {"o": {"projects": {"shop": project}}}}))
        warned = [
            one.found
            for one in definitions.load([world], vocabulary(), {}).warnings
            if "into a path" in one.allowed
        ]
        assert len(warned) == (3 if dialects == ["ofrep"] else 0), warned


def test_an_unknown_source_in_the_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        load(tmp_path, source_order=["feather", "nothing"])
    (problem,) = caught.value.problems
    assert problem.path.endswith("production.source_order[1]")
    assert problem.found == "'nothing'"


def test_a_bundle_without_the_document_has_no_shapes() -> None:
    bundle = open_environment("env_1", compile_bundle(Lowered("env_1"), {}))
    directory = sources_in(bundle)
    assert directory.shape("native") is None
    assert directory.sources_of("any", ("native",)) == ("native",)
    assert SourceDirectory(SourceRecord()).sources_of("any", ()) == ()
