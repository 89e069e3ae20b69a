"""A command whose process id another container's process has in the store is run by a child with another id."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fanion.cli import PROCESSES_MAX
from fanion.store.publication import Publication
from fanion.store.store import Store

DRIVER = """
import sys
from fanion.cli import main
from fanion.errors import StoreTwinError
from fanion.store.database import Database
whole, taken = Database.begin, int(sys.argv.pop(1))
def begin(self):
    global taken
    taken -= 1
    if taken >= 0:
        raise StoreTwinError("this id is taken")
    return whole(self)
Database.begin = begin
main()
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "data", create=True) as store:
        store.publish(Publication(bundles={"a": b"x"}))
    return tmp_path / "data"


def run(data: Path, taken: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", DRIVER, str(taken), *arguments, "--data", str(data)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("taken", [0, *(pytest.param(taken, marks=pytest.mark.heavy) for taken in (1, 3))])
def test_command_is_run_by_a_process_with_another_id(data: Path, taken: int) -> None:
    done = run(data, taken, "inspect")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("generation 1") == 1
    refused = run(data, taken, "keys", "list", "--environment", "b")
    assert (refused.returncode, refused.stderr) == (1, "fanion: there is no environment b; there are: a\n")
    wrong = run(data, taken, "keys", "create", "a", "--expires", "soon")
    assert wrong.returncode in (1, 2)


@pytest.mark.heavy
def test_command_that_never_gets_an_id_of_its_own_says_so(data: Path) -> None:
    done = run(data, 1_000, "inspect")
    assert done.returncode == 1
    assert f"{PROCESSES_MAX} process ids in a row" in done.stderr
