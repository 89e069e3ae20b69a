"""Standard output that can't be written: a command whose change stands does not end as one that was refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fanion.cli.common import UNTOLD_STATUS
from fanion.definitions import DEMO
from fanion.store.layout import Origin
from fanion.store.store import Store
from tests.commands import run_command


def fanion(*arguments: object, out: int) -> subprocess.CompletedProcess[str]:
    """A Python of its own, as its last flush is what fails."""
    command = [sys.executable, "-m", "fanion", *map(str, arguments)]
    return subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    for _ in range(2):
        assert run_command(["publish", DEMO, "--data", made]).returncode == 0
    return made


CLOSED = [pytest.param(False, id="full"), pytest.param(True, id="closed", marks=pytest.mark.heavy)]


@contextmanager
def unwritable(closed: bool) -> Iterator[int]:
    """A full disk, or a pipe that nobody reads."""
    if closed:
        reader, out = os.pipe()
        os.close(reader)
    else:
        out = os.open("/dev/full", os.O_WRONLY)
    try:
        yield out
    finally:
        os.close(out)


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize(
    "arguments",
    [
        ("publish", DEMO),
        ("rollback",),
        ("keys", "create", "env_01hx"),
        ("keys", "revoke", "{key}"),
        ("keys", "rotate-signing"),
        ("lists", "add", "env_01hx", "beta-users", "u9"),
        ("lists", "remove", "env_01hx", "beta-users", "u9"),
        ("lists", "replace", "env_01hx", "beta-users", "u9"),
    ],
    ids=lambda arguments: "-".join(map(str, arguments[:2])).replace(str(DEMO), ""),
)
def test_change_that_stands_says_so_where_its_output_cannot_be_written(
    data: Path, arguments: tuple[str, ...], closed: bool
) -> None:
    key = (
        run_command(["keys", "create", "env_01hx", "--data", data]).stderr.split(":")[0].removeprefix("key ")
    )
    with Store.open(data) as store:
        before = store.generation()
    command = [str(part).replace("{key}", key) for part in arguments]
    with unwritable(closed) as out:
        done = fanion(*command, "--data", data, out=out)
    with Store.open(data) as store:
        assert store.generation() == before + 1
        states = {key.record.id: key.origin for key in store.stored_keys()}
    assert (states[key] == Origin.REVOKED) == ("revoke" in arguments)
    assert done.returncode == UNTOLD_STATUS, done
    assert " stands; its output can't be written: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [("keys", "list"), ("inspect",), ("journal", "stats"), ("lists", "show")]
)
def test_command_that_only_reads_fails_where_its_output_cannot_be_written(
    data: Path, arguments: tuple[str, ...]
) -> None:
    (data / "journal").mkdir(exist_ok=True)
    with unwritable(closed=False) as out:
        done = fanion(*arguments, "--data", data, out=out)
    assert (done.returncode, done.stderr) == (1, "fanion: No space left on device\n")
