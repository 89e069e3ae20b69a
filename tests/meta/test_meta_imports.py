"""The arrows between rooms run one way, and no other; no circles, no private names; the sources' own rules."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "fanion"

MODEL = {"errors", "model"}
FOUNDATION = {*MODEL, "plain_files", "small_files", "clock", "config", "telemetry"}
NATIVE = {"_core", *FOUNDATION}
MAY_IMPORT: dict[str, set[str]] = {
    "fanion": {"inprocess"},
    "errors": set(),
    "model": {"errors"},
    "plain_files": set(),
    "small_files": MODEL,
    "clock": {*MODEL, "small_files"},
    "config": {*MODEL, "plain_files"},
    "telemetry": {"_core", *MODEL, "config"},
    "_core": set(),
    "engine": NATIVE,
    "auth": NATIVE,
    "journal": NATIVE,
    "bundle": NATIVE,
    "store": {*NATIVE, "bundle"},
    "definitions": {*NATIVE, "engine"},
    "dialects": {"model", "dialects.wire"},
    "dialects.wire": {*NATIVE, "auth"},
    "http": {*FOUNDATION, "auth", "dialects.wire"},
    "pipeline": {*NATIVE, "journal", "bundle", "store"},
    "preview": {*NATIVE, "engine", "bundle"},
    "results": {*NATIVE, "journal", "bundle", "store", "pipeline"},
    "sinks": {*NATIVE, "journal", "bundle", "store", "pipeline"},
    "console": {*NATIVE, "store", "preview", "results"},
    "nats": MODEL,
    "shipping": {*NATIVE, "journal", "bundle", "store", "pipeline", "nats"},
    "places": {*NATIVE, "bundle", "store", "nats"},
    "archive": {*NATIVE, "journal", "pipeline", "places"},
    "process": {*NATIVE, "engine", "auth", "journal", "bundle", "store", "dialects.wire", "http", "results"},
    "inprocess": {*NATIVE, "engine", "store", "dialects", "dialects.wire"},
    "tracking": set(),
    "openfeature": {*MODEL, "inprocess", "tracking"},
}
"""Room -> the rooms that it may import besides itself. `app`, `cli`, `__main__` may import everything. `dialects`
is the list of the dialects; each is a room of its own, with the arrows of `DIALECT`; sources are rooms too, see
below. `definitions` asks `engine` only for how a pattern is compiled, so that what publishing accepts is what
evaluating runs."""
DIALECT = {*NATIVE, "dialects.wire", "engine", "auth"}
EVERYTHING = {"app", "cli", "__main__"}

VIOLATIONS: set[tuple[str, str]] = set()
"""Arrows that are still wrong, (importer, imported). It only shrinks."""
CIRCLES: set[frozenset[str]] = set()
"""Modules that still import each other in a circle, however late. It only shrinks."""
PRIVATE: set[tuple[str, str]] = set()
"""Private names that are still taken from another module. It only shrinks."""


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name != "__pycache__")


def name_of(path: Path) -> str:
    return ".".join(("fanion", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


NAMES = {name_of(path) for path in modules()}


class Module(NamedTuple):
    """What a module's source says. `taken`: (module of ours, name taken from it or "") of each import, at the top,
    later, or for types only; `read`: (name, attribute read from it) where the attribute is private."""

    taken: list[tuple[str, str]]
    read: list[tuple[str, str]]
    docstring: bool


@cache
def source_facts(path: Path) -> Module:
    """Parsed once for all tests here."""
    tree = ast.parse(path.read_text(), str(path))
    found = Module([], [], not tree.body or bool(ast.get_docstring(tree)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.taken.extend(
                (alias.name, "") for alias in node.names if alias.name.split(".")[0] == "fanion"
            )
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the arrows"
            if node.module is not None and node.module.split(".")[0] == "fanion":
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    found.taken.append((inner, "") if inner in NAMES else (node.module, alias.name))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and is_private(node.attr):
            found.read.append((node.value.id, node.attr))
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def imports_of(path: Path) -> set[str]:
    return {module for module, _ in source_facts(path).taken}


def room_of(dotted: str) -> str:
    parts = dotted.split(".")[1:]
    if parts[:1] == ["dialects"]:
        return ".".join(parts[:2])
    return parts[0] if parts else "fanion"


def allowed_from(room: str) -> set[str]:
    own = MAY_IMPORT.get(room, DIALECT if room.startswith("dialects.") else None)
    assert own is not None, f"the room {room} has no arrows yet"
    return own | {room}


def wrong_arrows() -> set[tuple[str, str]]:
    return {
        (name_of(path), found)
        for path in modules()
        if room_of(name_of(path)) not in EVERYTHING
        for found in imports_of(path)
        if room_of(found) not in allowed_from(room_of(name_of(path)))
    }


def source_of(dotted: str) -> str | None:
    """The source that a module belongs to."""
    parts = dotted.split(".")
    return (
        parts[3] if parts[1:3] == ["definitions", "sources"] and parts[3:] not in ([], ["format"]) else None
    )


def wrong_sources() -> set[tuple[str, str]]:
    """Sources that import each other, and shared rooms of the definitions that import one. What a publication is
    written in is no source among others: only `loading` may know it."""
    return {
        (name_of(path), found)
        for path in modules()
        if name_of(path).startswith("fanion.definitions.")
        for found in imports_of(path)
        if source_of(found) not in (None, source_of(name_of(path)))
        if (name_of(path), source_of(found)) != ("fanion.definitions.loading", "native")
    }


def circles() -> set[frozenset[str]]:
    """Sets of modules that reach each other (strongly connected, by Tarjan)."""
    graph = {name_of(path): imports_of(path) & NAMES - {name_of(path)} for path in modules()}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: set[frozenset[str]] = set()

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            cut = stack.index(node)
            together = frozenset(stack[cut:])
            del stack[cut:]
            if len(together) > 1:
                found.add(together)

    for name in graph:
        if name not in index:
            visit(name)
    return found


def private_names() -> set[tuple[str, str]]:
    """Names with a leading underscore that are imported, or read from a module that was imported whole."""
    found = set()
    for path in modules():
        facts = source_facts(path)
        found |= {(name_of(path), f"{module}.{name}") for module, name in facts.taken if is_private(name)}
        whole = {module.rpartition(".")[2]: module for module, name in facts.taken if not name}
        found |= {
            (name_of(path), f"{whole[name]}.{attribute}") for name, attribute in facts.read if name in whole
        }
    return found


def test_imports_follow_the_arrows() -> None:
    assert sorted(wrong_arrows() | wrong_sources()) == sorted(VIOLATIONS)


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert sorted(map(sorted, circles())) == sorted(map(sorted, CIRCLES))


def test_no_module_takes_a_private_name_of_another() -> None:
    assert sorted(private_names()) == sorted(PRIVATE)


def test_what_may_be_imported_exists() -> None:
    """A room that was renamed would leave its arrows behind."""
    rooms = {room_of(name) for name in NAMES}
    assert set(MAY_IMPORT) <= rooms
    assert rooms - EVERYTHING <= set(MAY_IMPORT) | {room for room in rooms if room.startswith("dialects.")}


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
    assert source_facts(path).docstring, f"{name_of(path)} has no docstring"
