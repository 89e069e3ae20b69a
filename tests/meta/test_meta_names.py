"""A system is named in its own folders and in the two lists; docstrings may name it anywhere, as examples do.

Elsewhere identifiers, string constants and imports know no system, so that a new one has nothing to be added to.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanion.definitions import sources
from fanion.dialects import NAMES

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "fanion"
SYSTEMS = {*NAMES, *sources.NAMES}
ROOMS = (PACKAGE / "dialects", PACKAGE / "definitions" / "sources")
LISTS = {room / "__init__.py" for room in ROOMS}
WORDS = {"redpennon": r"red[ _-]?pennon"}
"""How a name is written where that isn't as its folder is; capitals don't count."""


def own(path: Path) -> set[str]:
    """The systems in whose folder a file lies."""
    return {path.relative_to(room).parts[0] for room in ROOMS if path.is_relative_to(room)} & SYSTEMS


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, text) of every identifier, import and constant that is no docstring."""
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and id(node) not in said:
            yield line, node.value.decode("latin-1") if isinstance(node.value, bytes) else str(node.value)
        for name in ("id", "attr", "arg", "name", "asname", "module"):
            if isinstance(found := getattr(node, name, None), str):
                yield line, found


def named(path: Path) -> list[str]:
    others = sorted(SYSTEMS - own(path))
    pattern = re.compile("|".join(WORDS.get(name, name) for name in others), re.IGNORECASE)
    return [f"{line}: {text}" for line, text in texts(ast.parse(path.read_text())) if pattern.search(text)]


@pytest.mark.parametrize(
    "path", sorted(set(PACKAGE.rglob("*.py")) - LISTS), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_no_system_is_named_outside_its_folders(path: Path) -> None:
    assert named(path) == []


def test_the_core_names_no_system_at_all() -> None:
    pattern = re.compile("|".join(WORDS.get(name, name) for name in sorted(SYSTEMS)), re.IGNORECASE)
    files = [path for path in (ROOT / "ext").rglob("*") if path.suffix in {".pyx", ".pxd", ".h"}]
    assert [path.name for path in files if pattern.search(path.read_text())] == []


def test_the_check_sees_names_in_every_form(tmp_path: Path) -> None:
    code = (
        '"""Feather."""\nimport a.feather\nfeather_rate = 1\nx(traffical=b"stitchd")\nRED_PENNON = "Ofrep"\n'
    )
    (tmp_path / "module.py").write_text(code)
    assert [line.partition(":")[0] for line in sorted(named(tmp_path / "module.py"))] == list("234455")
