"""What an installation consists of (.ci/sbom.py), of the packages that are here."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "sbom.py"
EXTRAS = ("results",)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("fanion_sbom", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(script: ModuleType) -> dict[str, Any]:
    found: dict[str, Any] = script.document(EXTRAS)
    return found


def name_of(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower()


def test_every_package_that_is_asked_for_is_named_with_version_and_licence(made: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["results"]]
    components = {one["name"]: one for one in made["components"]}
    for name in {name_of(one) for one in asked} - {"fanion"}:
        assert components[name]["version"] == metadata.version(name)
        assert components[name]["purl"] == f"pkg:pypi/{name}@{metadata.version(name)}"
    assert [name for name, one in components.items() if not one["licenses"]] == []
    assert "pytest" not in components
    assert made["metadata"]["component"]["name"] == "fanion"


def test_what_the_console_ships_is_named_with_its_digest(made: dict[str, Any]) -> None:
    static = ROOT / "src" / "fanion" / "console" / "static"
    components = {one["name"]: one for one in made["components"]}
    for name, file in (("htmx.org", "htmx.min.js"), ("uplot", "uplot.min.js")):
        assert components[name]["hashes"] == [
            {"alg": "SHA-256", "content": hashlib.sha256((static / file).read_bytes()).hexdigest()}
        ]
        assert components[name]["version"] in (static.parent / "__init__.py").read_text()


def test_all_that_something_depends_on_is_there(made: dict[str, Any]) -> None:
    known = {one["bom-ref"] for one in [made["metadata"]["component"], *made["components"]]}
    depends = {one["ref"]: one.get("dependsOn", []) for one in made["dependencies"]}
    assert depends.keys() == known
    assert {below for one in depends.values() for below in one} <= known
    own = made["metadata"]["component"]["bom-ref"]
    waiting, reached = [own], {own}
    while waiting:
        below = set(depends[waiting.pop()]) - reached
        waiting += below
        reached |= below
    assert reached == known


def test_the_same_installation_gives_the_same_document(script: ModuleType, made: dict[str, Any]) -> None:
    assert json.dumps(script.document(EXTRAS)) == json.dumps(made)
    assert made["serialNumber"] != script.document(())["serialNumber"]
