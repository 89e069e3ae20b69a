"""What the documents name is there: modules, functions and files of the tour, headings that docstrings cite.

The tour is the docstring of `fanion`; with `CONTRIBUTING.md` it is all that a newcomer has, so each name in
backquotes that looks like one of ours must be found: a dotted name as a module or a thing in one, below `fanion`
or from the root of the repository; a path as a file, or as a folder where it holds a placeholder.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fanion

ROOT = Path(__file__).parents[2]
TOUR = fanion.__doc__ or ""
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
CITED_FROM = ("src", "ext", "tests", "bench", "loadtest")
TEXT = {".py", ".pyi", ".pyx", ".pxd", ".h", ".c", ".md", ".yaml"}
CITATION = re.compile(r"docs/apis/([a-z]+)\.md(: *)?")
FILES = (".py", ".pyx", ".pxd", ".h", ".md", ".toml")
OF_THE_USER = {"fanion.toml"}
PLACEHOLDER = re.compile(r"<[^>]*>|\bNAME\b|\*")
NAME = re.compile(r"`([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+)(?:\(\))?`")
PATH = re.compile(r"`((?:src|ext|tests|bench|docs|loadtest|deploy)/[^`\s]*)`")
MODULE = re.compile(r"python -m ([a-z_.]+)")
ROOM = re.compile(r"^ {4}([a-z]+) {2,}\S", re.MULTILINE)


def has_file(folder: str, name: str) -> bool:
    return any(path.name == name for path in (ROOT / folder).rglob(name))


def found(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        try:
            here: object = importlib.import_module(".".join(parts[:size]))
        except ImportError:
            continue
        for part in parts[size:]:
            if not hasattr(here, part) and part not in getattr(here, "__annotations__", {}):
                return False
            here = getattr(here, part, None)
        return True
    return False


@pytest.mark.parametrize("name", sorted(set(NAME.findall(TOUR + CONTRIBUTING))))
def test_every_dotted_name_of_the_tour_and_of_contributing_exists(name: str) -> None:
    if name.endswith(FILES):
        assert name in OF_THE_USER or (ROOT / name).exists() or any(has_file(one, name) for one in CITED_FROM)
    else:
        assert found(name) or found(f"fanion.{name}"), f"`{name}` is nowhere"


@pytest.mark.parametrize("path", sorted(set(PATH.findall(TOUR + CONTRIBUTING))))
def test_every_path_of_the_tour_and_of_contributing_exists(path: str) -> None:
    known = PLACEHOLDER.split(path)[0]
    kept = known if known == path else known.rpartition("/")[0]
    assert (ROOT / kept).exists(), f"`{path}` is nowhere"


@pytest.mark.parametrize("name", sorted(set(MODULE.findall(TOUR + CONTRIBUTING)) - {"venv"}))
def test_every_module_that_contributing_runs_exists(name: str) -> None:
    path = name.replace(".", "/")
    places = [ROOT / "src" / path, ROOT / path]
    assert any(place.with_suffix(".py").exists() or (place / "__main__.py").exists() for place in places)


def test_every_room_stands_in_the_tour() -> None:
    package = ROOT / "src" / "fanion"
    rooms = {path.name for path in package.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert rooms - {"_core"} <= set(ROOM.findall(TOUR))


def citations() -> Iterator[tuple[str, str, str]]:
    """(file, API, what is cited of it) of each citation; an empty text cites the whole document."""
    for folder in CITED_FROM:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix not in TEXT or path == Path(__file__) or "__pycache__" in path.parts:
                continue
            text = " ".join(path.read_text(errors="replace").split())
            for cited in CITATION.finditer(text):
                after = text[cited.end() : cited.end() + 200] if cited.group(2) else ""
                yield str(path.relative_to(ROOT)), cited.group(1), after


def headings_of(api: str) -> list[str]:
    text = (ROOT / "docs" / "apis" / f"{api}.md").read_text()
    return sorted(re.findall(r"^## (.*)$", text, re.MULTILINE), key=len, reverse=True)


def test_every_cited_heading_exists() -> None:
    wrong = []
    for file, api, after in citations():
        if not (ROOT / "docs" / "apis" / f"{api}.md").exists():
            wrong.append(f"{file}: docs/apis/{api}.md")
        elif after and not after.startswith(tuple(headings_of(api))):
            wrong.append(f"{file}: docs/apis/{api}.md: {after[:40]}")
    assert wrong == []


def test_no_citation_is_a_number_of_a_contract() -> None:
    pattern = re.compile(r"\bcontracts?(?:/\w+\.md)?(?: sections?)? [0-9]|\bsections? [0-9]+\.[0-9]")
    wrong = []
    for folder in CITED_FROM:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in TEXT and path != Path(__file__) and "__pycache__" not in path.parts:
                text = path.read_text(errors="replace")
                wrong += [f"{path.relative_to(ROOT)}: {hit.group()}" for hit in pattern.finditer(text)]
    assert wrong == []


PACKAGE = ROOT / "src" / "fanion"
ROOMS = [
    *(
        "http",
        "store",
        "process",
        "auth",
        "telemetry",
        "definitions/lowering",
        "journal",
        "pipeline",
        "sinks",
        "places",
    ),
    *(f"dialects/{words.parent.name}" for words in (PACKAGE / "dialects").glob("*/words.py")),
    "dialects/wire",
]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_that_lists_its_modules_lists_them_all(room: str) -> None:
    modules = {path.stem for path in (PACKAGE / room).glob("*.py")} - {"__init__", "__main__"}
    listed = (PACKAGE / room / "__init__.py").read_text()
    assert [name for name in sorted(modules) if not re.search(rf"\b{name}\b", listed)] == []
