"""What the README's run of the tests leaves out (`tests/rounds.py`), CI runs; no file is left out whole unsaid."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
WHOLE = {
    "crash/test_pipeline_kill.py": "unit/test_pipeline.py, e2e/test_e2e_pipeline.py",
    "e2e/test_e2e_forget.py": "unit/test_forget.py, e2e/test_e2e_archive.py",
}
"""Files of which the README's run takes nothing -> what it takes of the same in their place."""


def runs() -> list[list[str]]:
    """The words of every command of `.ci/run` that runs tests."""
    text = (ROOT / ".ci" / "run").read_text().replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    return [
        shlex.split(line, comments=True)
        for line in lines
        if re.match(r"(\w+=\S+\s+)*(\$bin/pytest|variant) ", line)
    ]


def heavy(path: Path) -> list[bool]:
    """Of each test of a file that leaves any out, whether it is left out, whatever it is given."""
    if "pytest.mark.heavy" not in path.read_text():
        return []
    return [
        any(ast.unparse(one) == "pytest.mark.heavy" for one in node.decorator_list)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]


def shortened(path: Path) -> bool:
    """Whether the option decides anything in a file."""
    text = path.read_text()
    return "pytest.mark.heavy" in text or "tests.rounds" in text


def files(run: list[str]) -> Iterator[Path]:
    """The test files that a command names; a name may have braces."""
    for word in run:
        if word.startswith("tests/"):
            before, *inner = re.split(r"[{}]", word)
            names = [f"{before}{one}{inner[1]}" for one in inner[0].split(",")] if inner else [word]
            for name in names:
                assert (ROOT / name).is_file(), name
                yield ROOT / name


def test_ci_runs_the_readme_s_command_and_all_that_it_shortens_or_leaves_out() -> None:
    assert re.search(
        r"^python3 -m venv .*bin/pytest -n auto$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert "grep -m1 'bin/pytest -n auto$' README.md" in (ROOT / ".ci" / "run").read_text()
    whole = [run for run in runs() if "rounds or heavy" in run]
    assert len(whole) == 1
    assert whole[0][whole[0].index("--rounds") + 1] == "full"
    assert not list(files(whole[0]))
    assert "-k" not in whole[0]


def test_whatever_else_ci_runs_of_such_files_it_runs_whole() -> None:
    named = [(run, path) for run in runs() if "-k" not in run for path in files(run)]
    assert len(named) > 10
    short = [path.name for run, path in named if shortened(path) and "--rounds" not in run]
    assert short == []


def test_every_file_keeps_a_test_that_the_readme_s_command_runs() -> None:
    found = {path: heavy(path) for path in TESTS.rglob("test_*.py")}
    without = {str(path.relative_to(TESTS)) for path, left_out in found.items() if left_out and all(left_out)}
    assert without == set(WHOLE)
    for instead in WHOLE.values():
        for name in instead.split(", "):
            assert not found[TESTS / name] or not all(found[TESTS / name])
