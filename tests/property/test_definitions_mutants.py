"""Whatever stands in a definition file, loading ends in a publication or in problems, never in a crash."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fanion import definitions
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.feather import source as feather
from fanion.definitions.sources.format import SourceFile
from fanion.dialects import vocabulary
from fanion.errors import DefinitionError, Problem
from tests.rounds import rounds

CONDITIONS: list[Any] = [
    {"attribute": "a", "operator": "in", "value": ["x", 1, True]},
    {"attribute": "b", "operator": "regex", "value": "^x"},
    {"any": [{"segment": "s"}, {"all": [{"flag": "g", "is": 1}]}, {"not": {"segment": "l"}}]},
    {"attribute": "c", "operator": "gte", "value": 5},
]
RULES: list[Any] = [
    {"id": "r1", "conditions": CONDITIONS, "value": True, "rollout_percentage": 12.5, "name": "x"},
    {"id": "r2", "split": [{"weight": 50, "value": True}, {"weight": 50, "value": False}]},
]
FEATURE = {
    "variables": {"v.a": {"type": "string"}, "v.b": {"type": "json"}},
    "variations": {"on": {"v.a": "x", "v.b": {}}, "off": {"v.a": "", "v.b": [1]}},
    "default_variation": "off",
    "rules": [{"id": "r", "split": [{"weight": 100, "variation": "on"}]}],
    "environments": {"e": {"enabled": False, "rules": [{"id": "q", "variation": "on"}]}},
}
PROJECT = {
    "environments": {
        "e": {
            "id": "env_e",
            "dialects": ["feather"],
            "identifiers": {"feather": {"environment": "x"}},
            "keys": [
                {"key": "sk_some_raw_key", "kind": "client", "scopes": ["events"], "expires": "2030-01-01"}
            ],
            "sources": [{"format": "feather", "path": "none.json", "files": {}}],
        }
    },
    "flags": {
        "f": {
            "type": "boolean",
            "default_value": False,
            "rules": RULES,
            "variants": [{"key": "a", "value": True}],
            "environments": {"e": {"default_value": True, "rules": RULES}},
        },
        "g": {"type": "number", "default_value": 1, "id": "flag_1", "version": 3},
    },
    "features": {"h": FEATURE},
    "segments": {
        "s": {"conditions": [{"attribute": "a", "operator": "is_set"}], "condition_operator": "OR"},
        "l": {"list": {"include": ["u"], "exclude": ["x"], "include_file": "none.txt"}},
    },
    "events": {"purchase": {"type": "double", "unit": "EUR"}},
}
NATIVE = {
    "fanion": 1,
    "organisations": {"o": {"plan": "pro", "limits": {"burst": 5}, "projects": {"p": PROJECT}}},
}
BUNDLE = {
    "f": {
        "version": 1,
        "enabled": True,
        "defaultValue": "x",
        "clientSafe": True,
        "flagId": "flag_1",
        "variants": [{"key": "a", "value": "x"}],
        "rules": [
            {
                "id": "r",
                "name": "r",
                "enabled": True,
                "conditions": [
                    {"attribute": "a", "operator": "in", "value": ["x"]},
                    {"attribute": "b", "operator": "regex", "value": "x+"},
                    {"attribute": "c", "operator": "gt", "value": "5"},
                    {"attribute": "d", "operator": "geo_country", "value": "DE"},
                ],
                "conditionOperator": "OR",
                "value": "y",
                "rolloutPercentage": 5,
            }
        ],
    }
}

KEYS = [
    "any",
    "all",
    "not",
    "segment",
    "flag",
    "is",
    "operator",
    "value",
    "rules",
    "split",
    "id",
    "s",
    "ü",
    "",
]
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([2**1100, -1, 0.5, 1e308, 101, "(", "(?=x)", "s", "f", "regex", "sha256:", "env:X", ""]),
    st.text(max_size=3),
    st.sampled_from([*CONDITIONS, *RULES, FEATURE, PROJECT]),
)
junk = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(document, dict | list):
        items = document.items() if isinstance(document, dict) else enumerate(document)
        for key, value in items:
            found += places(value, (*path, key))
    return found


@st.composite
def mutants(draw: st.DrawFn, original: Any) -> Any:
    document = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(document)))
        parent = document
        for step in way:
            parent = parent[step]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "remove":
                del parent[last]
            case "add" if isinstance(parent, dict):
                parent[draw(st.sampled_from(KEYS))] = copy.deepcopy(draw(junk))
            case "add":
                parent.insert(last, copy.deepcopy(draw(junk)))
            case _:
                parent[last] = copy.deepcopy(draw(junk))
        if not places(document):
            break
    return document


def attempt(path: Path) -> definitions.Loaded | list[Problem]:
    try:
        return definitions.load([path], vocabulary())
    except DefinitionError as error:
        return error.problems


@settings(max_examples=rounds(80, 500))
@given(document=mutants(NATIVE))
def test_native_mutant_is_a_publication_or_problems(tmp_path_factory: Any, document: Any) -> None:
    folder: Path = tmp_path_factory.getbasetemp()
    (folder / "none.json").write_text("{}")
    (folder / "none.txt").write_text("u\n")
    path = folder / "mutant.json"
    path.write_text(json.dumps(document))
    loaded = attempt(path)
    if isinstance(loaded, list):
        assert loaded
        assert all(p.file and p.path and p.found and p.allowed for p in loaded), loaded
        return
    again = definitions.load_stored(loaded.sources, vocabulary())
    assert again.environments == loaded.environments
    assert again.keys == loaded.keys


@settings(max_examples=rounds(60, 300))
@given(document=mutants(BUNDLE))
def test_bundle_mutant_is_served_or_refused(document: Any) -> None:
    report, builder = Report(), Builder("env")
    source = SourceFile("bundle.json", json.dumps(document).encode())
    entries = feather.parse(source, report)
    if entries is None:
        assert report.problems
        return
    feather.lower(entries, source, builder, report)
    served = {parameter.key for parameter in builder.finish().parameters}
    assert served == {key for key in document if feather.KEY_PATTERN.fullmatch(key)}
