"""The rows of the instruction gate do what they say; what they cost is counted by `python -m bench.gate`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from bench.gate.comparison import FIGURES, GROUPS, compare
from bench.gate.rows import GROUPS as MADE
from tests.heap import settle


@pytest.fixture(scope="module", autouse=True)
def thawed() -> Iterator[None]:
    """A worker freezes what it starts with."""
    yield
    settle()


@pytest.mark.parametrize("group", GROUPS)
def test_every_row_runs_and_is_kept_with_its_figures(group: str) -> None:
    kept = json.loads(FIGURES.read_text())["rows"]
    with MADE[group]() as rows:
        for row in rows.values():
            row(2)()
        assert rows.keys() <= kept.keys(), "python -m bench.gate --update"


def test_a_row_that_grew_is_named_with_its_functions(capsys: pytest.CaptureFixture[str]) -> None:
    before = {"instructions": 100.0, "functions": {"run": 60.0, "hash": 40.0}}
    kept = {"kernel": before, "gone": before, "same": before}
    grown = {"instructions": 104.0, "functions": {"run": 60.0, "hash": 44.0}}
    found = {"kernel": grown, "same": {**before, "instructions": 102.9}, "added": before}
    wrong = "\n".join(compare(kept, found, strict=True))
    assert "kernel: 100 -> 104 instructions, +4.00%" in wrong
    assert "+4  hash" in wrong
    assert "run" not in wrong
    assert "gone: kept, but measured no longer" in wrong
    assert "added: not in figures.json" in wrong
    assert "same" not in wrong
    assert compare({"kernel": before}, {"kernel": before}, strict=True) == []
    assert "same" in capsys.readouterr().out
