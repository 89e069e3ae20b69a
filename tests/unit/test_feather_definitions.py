"""A Feather bundle as a source: what is kept with its meaning, what is refused, what is limited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fanion import definitions
from fanion.dialects import vocabulary
from fanion.errors import DefinitionError
from fanion.model.program import Parameter, Resolution


def config(**members: Any) -> dict[str, Any]:
    return {"version": 1, "enabled": True, "defaultValue": False, "rules": [], **members}


def rule(**members: Any) -> dict[str, Any]:
    made = {
        "id": "r",
        "name": "r",
        "enabled": True,
        "conditions": [],
        "conditionOperator": "AND",
        "value": True,
    }
    return {**made, **members}


def publish(tmp_path: Path, bundle: Any, **project: Any) -> definitions.Loaded:
    text = bundle if isinstance(bundle, str) else json.dumps(bundle)
    (tmp_path / "bundle.json").write_text(text)
    environment = {"id": "env_e", "sources": [{"format": "feather", "path": "bundle.json"}]}
    native = {"organisations": {"o": {"projects": {"p": {"environments": {"e": environment}, **project}}}}}
    (tmp_path / "native.yaml").write_text(json.dumps(native))
    return definitions.load([tmp_path], vocabulary())


def parameters(loaded: definitions.Loaded) -> dict[str, Parameter]:
    return {parameter.key: parameter for parameter in loaded.environments[0].parameters}


def warned(loaded: definitions.Loaded) -> set[str]:
    return {warning.path for warning in loaded.warnings}


def test_bundle_beside_native_flags_keeps_id_visibility_and_source(tmp_path: Path) -> None:
    bundle = {"a": config(clientSafe=True, flagId="flag_1", archivedAt=None), "b": config()}
    loaded = publish(tmp_path, bundle, flags={"n": {"type": "boolean", "default_value": True}})
    found = parameters(loaded)
    assert [(p.key, p.client_safe, p.group_id, p.source) for p in found.values()] == [
        ("n", False, None, "native"),
        ("a", True, "flag_1", "feather"),
        ("b", False, None, "feather"),
    ]
    assert loaded.warnings == []


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        (None, None),
        ([], None),
        ({}, None),
        ({"enabled": 1, "defaultValue": "d", "rules": []}, '"d"'),
        (config(rules=None, defaultValue=5), "5"),
        (config(defaultValue=None), None),
        (config(defaultValue=2**63), None),
        (config(rules=[rule(value=2**64)]), None),
        (config(rules=[{"id": "r"}]), "false"),
        (config(rules=[rule(conditions=[{"attribute": "a", "operator": "equals", "value": 5}])]), "false"),
        (config(clientSafe="yes"), "false"),
    ],
)
def test_malformed_entry_answers_error_and_spoils_no_other(tmp_path: Path, entry: Any, value: Any) -> None:
    loaded = publish(tmp_path, {"bad": entry, "good": config(defaultValue=True)})
    found = parameters(loaded)
    (answer,) = found["bad"].answers
    assert (answer.resolution, answer.value) == (Resolution.ERROR, value)
    assert found["good"].answers[0].resolution is Resolution.DEFAULT
    assert warned(loaded) == {"bad"}


def test_what_the_contract_gives_a_meaning_is_warned_about_and_kept(tmp_path: Path) -> None:
    conditions = [
        {"attribute": "a", "operator": "like", "value": "x"},
        {"attribute": "a", "operator": "gt", "value": "ten"},
        {"attribute": "a", "operator": "equals", "value": ["x"]},
        {"attribute": "a", "operator": "equals"},
    ]
    rules = [
        rule(conditions=conditions, rolloutPercentage=101, conditionOperator="XOR"),
        rule(value="text"),
    ]
    loaded = publish(tmp_path, {"f": config(rules=rules), "Upper": config()})
    assert warned(loaded) == {
        "f.rules[0].conditions[0].operator",
        "f.rules[0].conditions[1].value",
        "f.rules[0].conditions[2].value",
        "f.rules[0].conditions[3].value",
        "f.rules[0].rolloutPercentage",
        "f.rules[0].conditionOperator",
        "f.rules[1].id",
        "f.rules[1].value",
        "Upper",
    }
    assert list(parameters(loaded)) == ["f"]


@pytest.mark.parametrize("percentage", [1e308, -1e308, 2**70])
def test_percentages_far_out_of_range_are_clamped(tmp_path: Path, percentage: float) -> None:
    loaded = publish(tmp_path, {"f": config(rules=[rule(rolloutPercentage=percentage)])})
    assert warned(loaded) == {"f.rules[0].rolloutPercentage"}
    resolution = parameters(loaded)["f"].answers[0].resolution
    assert resolution is (Resolution.SPLIT if percentage > 0 else Resolution.DEFAULT)


@pytest.mark.parametrize(
    ("bundle", "place"),
    [
        ("not json", "line 1, column 1"),
        ("[]", "document"),
        ('{"a": {}, "a": {}}', "key 'a'"),
        ('{"a": NaN}', "document"),
        ('{"a": 1e999}', "document"),
    ],
)
def test_bundle_that_is_no_bundle_is_refused(tmp_path: Path, bundle: str, place: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        publish(tmp_path, bundle)
    assert [(Path(p.file).name, p.path) for p in caught.value.problems] == [("bundle.json", place)]


@pytest.mark.parametrize("pattern", ["(", "(?=x)", "(a)\\1", "x" * 513, r"^\p{L}{1,64}$"])
def test_pattern_that_the_engine_can_not_run_is_refused(tmp_path: Path, pattern: str) -> None:
    condition = {"attribute": "a", "operator": "regex", "value": pattern}
    with pytest.raises(DefinitionError) as caught:
        publish(tmp_path, {"f": config(rules=[rule(conditions=[condition])])})
    assert [p.path for p in caught.value.problems] == ["f.rules[0].conditions[0].value"]


def test_a_key_of_a_native_flag_is_refused_in_the_bundle(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        publish(tmp_path, {"f": config()}, flags={"f": {"type": "boolean", "default_value": True}})
    assert [p.path for p in caught.value.problems] == ["f"]


def test_bundle_given_alone_says_that_it_lacks_an_environment(tmp_path: Path) -> None:
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps({"f": config()}))
    with pytest.raises(DefinitionError, match="does not say its environment"):
        definitions.load([path], vocabulary())


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        ({"format": "soap", "path": "bundle.json"}, ".format"),
        ({"format": "feather", "path": "none.json"}, ".path"),
        ({"format": "feather"}, ".path"),
        ({"format": "feather", "path": "bundle.json", "files": {"weights": "w"}}, ".files.weights"),
    ],
)
def test_reference_that_leads_nowhere_is_refused(tmp_path: Path, reference: Any, place: str) -> None:
    (tmp_path / "bundle.json").write_text("{}")
    project = {"environments": {"e": {"sources": [reference]}}}
    path = tmp_path / "native.json"
    path.write_text(json.dumps({"organisations": {"o": {"projects": {"p": project}}}}))
    with pytest.raises(DefinitionError) as caught:
        definitions.load([path], vocabulary())
    (problem,) = caught.value.problems
    assert problem.path == f"organisations.o.projects.p.environments.e.sources[0]{place}"
