"""Native definition files for tests: written around one project, asked through the reference twin."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanion import definitions
from fanion.definitions.loading import Loaded
from fanion.dialects import vocabulary
from fanion.engine.reference import evaluate
from fanion.errors import DefinitionError
from fanion.model.context import EvaluationContext
from fanion.model.program import Answer, Lowered

Write = Callable[..., Path]
PLACE = "organisations.o.projects.p"


def writer(folder: Path) -> Write:
    """Writes a native JSON file around the members of one project and returns its path."""

    def write_project(name: str = "flags.json", *, environments: Any = None, **project: Any) -> Path:
        made = {"environments": {"e": {"id": "env_e"}} if environments is None else environments, **project}
        path = folder / name
        path.write_text(json.dumps({"organisations": {"o": {"projects": {"p": made}}}}))
        return path

    return write_project


def flag(**members: Any) -> dict[str, Any]:
    return {"type": "boolean", "default_value": False, **members}


def rule(**members: Any) -> dict[str, Any]:
    return {"id": "r", "value": True, **members}


def with_condition(condition: Any) -> dict[str, Any]:
    return flag(rules=[rule(conditions=[condition])])


def problems(path: Path | list[Path]) -> list[tuple[str, str, str]]:
    """(path, found, allowed) of all problems, without the place of the project."""
    with pytest.raises(DefinitionError) as caught:
        definitions.load(path if isinstance(path, list) else [path], vocabulary())
    return [(p.path.removeprefix(f"{PLACE}."), p.found, p.allowed) for p in caught.value.problems]


def ask(lowered: Lowered, key: str, external: Any = None, **attributes: Any) -> Answer:
    (parameter,) = [one for one in lowered.parameters if one.key == key]
    members = {k: attributes.pop(k) for k in ("userId", "anonymousId") if k in attributes}
    result = evaluate(lowered, parameter.decision, EvaluationContext(members, attributes), external)
    return parameter.answers[result.outcome]


def environment(loaded: Loaded, id: str = "env_e") -> Lowered:
    (one,) = [one for one in loaded.environments if one.environment == id]
    return one
