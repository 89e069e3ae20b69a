"""The arrows between packages run one way (see the source tour in `fanion.__init__`); the sources' own rules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "fanion"

FOUNDATION = {"errors", "config", "model"}
MAY_IMPORT = {
    "errors": set(),
    "config": {"errors"},
    "model": {"errors"},
    "_core": set(),
    "telemetry": {"_core", *FOUNDATION},
    "directory": {"telemetry", *FOUNDATION},
    "auth": {"_core", "telemetry", *FOUNDATION},
    "bundle": {"_core", "telemetry", *FOUNDATION},
    "engine": {"_core", "telemetry", *FOUNDATION},
    "journal": {"_core", "telemetry", *FOUNDATION},
    "definitions": {"engine", *FOUNDATION},
    "http": {"_core", "auth", "bundle", "engine", "journal", "telemetry", *FOUNDATION},
    "worker": {"_core", "auth", "bundle", "engine", "http", "journal", "telemetry", *FOUNDATION},
    "app": {
        *("_core", "auth", "bundle", "definitions", "directory", "engine", "http", "journal"),
        *("telemetry", "worker", *FOUNDATION),
    },
}
"""Who may import whom. `cli` and `__main__` may import everything. `definitions` asks `engine` only for how a
pattern is compiled, so that what publishing accepts is what evaluating runs."""

HTTP_NEVER = {"fanion.bundle.store", "fanion.bundle.generation", "fanion.journal.log_segment"}
"""`http` is handed snapshots and a journal; it opens neither LMDB nor a log segment."""


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name != "__pycache__")


def imports_of(path: Path) -> Iterator[str]:
    """Dotted names of ours that a module imports, at the top or later."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "fanion")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the arrows"
            if node.module == "fanion":
                yield from (f"fanion.{alias.name}" for alias in node.names)
            elif node.module is not None and node.module.startswith("fanion."):
                yield node.module


def part_of(dotted: str) -> str:
    return dotted.split(".")[1]


def name_of(path: Path) -> str:
    return ".".join(("fanion", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_follow_the_arrows(path: Path) -> None:
    name = name_of(path)
    if name == "fanion" or part_of(name) in ("cli", "__main__"):
        return
    part = part_of(name)
    allowed = MAY_IMPORT[part] | {part}
    wrong = [found for found in imports_of(path) if part_of(found) not in allowed]
    assert not wrong, f"{name} may import {sorted(allowed)}, not {wrong}"
    if part == "http":
        assert not HTTP_NEVER & set(imports_of(path))
        assert "lmdb" not in re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_dialect_imports_no_other(path: Path) -> None:
    parts = path.relative_to(PACKAGE).parts
    if parts[:2] != ("http", "dialects") or len(parts) < 4:
        return
    own = f"fanion.http.dialects.{parts[2]}"
    others = [
        name
        for name in imports_of(path)
        if name.startswith("fanion.http.dialects.") and not f"{name}.".startswith(f"{own}.")
    ]
    assert not others


def native_sources() -> list[Path]:
    return sorted(path for suffix in ("*.pyx", "*.pxd") for path in (ROOT / "ext").rglob(suffix))


@pytest.mark.parametrize("path", native_sources(), ids=lambda path: path.name)
def test_no_function_without_the_gil_returns_a_bare_void(path: Path) -> None:
    """Callers of `cdef void f() nogil` take the GIL back to look for an exception; `noexcept` says none comes."""
    bare = [
        line
        for line in path.read_text().splitlines()
        if re.match(r"\s*(cdef|cpdef)\b.*\bvoid\s+\w+\s*\(.*\)\s*nogil", line)
    ]
    assert not bare


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_every_module_says_what_it_owns(path: Path) -> None:
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text)), f"{name_of(path)} has no docstring"
