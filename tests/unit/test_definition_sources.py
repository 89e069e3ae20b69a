"""Sources are found from one list; what definitions know of dialects is handed in."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fanion.definitions import load, sources
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.schema import make_schema
from fanion.definitions.sources.format import SourceFile, SourceFormat
from fanion.errors import DefinitionError
from fanion.model.program import Answer, Outcome, Resolution
from fanion.model.vocabulary import Vocabulary, Words

TOY = "toy"


def toy_format() -> SourceFormat:
    """Flags that are always on: a JSON list of their keys."""

    def parse(source: SourceFile, _report: Report) -> Any:
        return json.loads(source.data)

    def lower(keys: Any, _source: SourceFile, builder: Builder, _report: Report) -> None:
        for key in keys:
            decision = builder.decision(key, [Outcome(Resolution.DEFAULT)])
            builder.taken(key, TOY)
            builder.parameter(key, decision, [Answer(Resolution.DEFAULT, "true")], source=TOY)

    return SourceFormat(TOY, parse, lower)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("toy")
    module.FORMAT = toy_format()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, f"{sources.__name__}.toy.source", module)
    monkeypatch.setattr(sources, "NAMES", (*sources.NAMES, TOY))
    monkeypatch.setattr(sources, "formats", sources.formats.__wrapped__)
    monkeypatch.setattr("fanion.definitions.loading.formats", sources.formats)


def write_world(folder: Path, environment: dict[str, Any]) -> Path:
    project = {"environments": {"production": {"id": "env_1", **environment}}}
    world = {"organisations": {"org_1": {"projects": {"shop": project}}}}
    path = folder / "world.json"
    path.write_text(json.dumps(world))
    return path


def problems(path: Path, vocabulary: Vocabulary) -> set[tuple[str, str, str]]:
    with pytest.raises(DefinitionError) as caught:
        load([path], vocabulary, {})
    prefix = "organisations.org_1.projects.shop.environments.production."
    return {(one.path.removeprefix(prefix), one.found, one.allowed) for one in caught.value.problems}


def test_every_source_on_the_list_has_its_folders_name() -> None:
    assert list(sources.formats()) == list(sources.NAMES)


@pytest.mark.usefixtures("toy")
def test_a_source_is_a_module_and_a_line_in_the_list(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text('["one", "two"]')
    path = write_world(tmp_path, {"sources": [{"format": TOY, "path": "keys.json"}]})
    (lowered,) = load(
        [path], Vocabulary((Words(TOY, ("evaluate",), named_environment=True),)), {}
    ).environments
    assert [parameter.key for parameter in lowered.parameters] == ["one", "two"]
    assert lowered.identifiers == {
        TOY: {"organisation": "org_1", "project": "shop", "environment": "production"}
    }


def test_words_that_the_vocabulary_has_not_are_refused_where_they_stand(tmp_path: Path) -> None:
    vocabulary = Vocabulary((Words("one", ("read",)), Words("two", ("read", "write"))))
    digest = "sha256:" + "0" * 64
    environment = {
        "dialects": ["one", "three"],
        "identifiers": {"four": {"environment": "env_4"}, "two": {"environment": "env_2"}},
        "keys": [
            {"key": digest, "dialects": ["five"]},
            {"key": digest[:-1] + "1", "scopes": ["wrong"]},
            {"key": digest[:-1] + "2", "dialects": ["one"], "scopes": ["write"]},
        ],
    }
    assert problems(write_world(tmp_path, environment), vocabulary) == {
        ("dialects[1]", "'three'", "one of one, two"),
        ("identifiers.four", "'four'", "one of one, two"),
        ("keys[0].dialects[0]", "'five'", "one of one, two"),
        ("keys[1].scopes[0]", "'wrong'", "one of read, write"),
        ("keys[2].scopes[0]", "'write', which is no scope of one", "one of read"),
    }


def test_the_schema_lists_the_vocabularys_words() -> None:
    words = Words("two", ("read", "write")), Words("one", ("see",))
    key = make_schema(Vocabulary(words))["$defs"]["Key"]
    assert key["properties"]["dialects"]["items"] == {"enum": ["one", "two"]}
    assert key["properties"]["scopes"]["items"] == {"enum": ["read", "see", "write"]}
    assert key["description"].endswith("read and write, for One see.")
