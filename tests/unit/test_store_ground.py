"""Where a store lies: on a read-only mount, in a volume whose root another user owns."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from fanion import app
from fanion.cli import group
from fanion.config import Config
from fanion.definitions import DEMO, load
from fanion.dialects import vocabulary
from fanion.errors import ServeError, StoreError
from fanion.process.directory import check_directory
from fanion.store import database
from fanion.store.store import Store


@pytest.fixture
def data(tmp_path: Path) -> Path:
    app.publish(tmp_path / "data", load([DEMO], vocabulary()), Config())
    return tmp_path / "data"


@pytest.fixture
def read_only(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a mount that allows no writing answers; what would write fails."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))

    def refused(*_: object) -> int:
        raise AssertionError("something is written")

    monkeypatch.setattr(database, "hold_lock", refused)
    monkeypatch.setattr(database, "open_word", refused)
    (data / "store" / "lock.mdb").unlink()


def state(data: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in data.rglob("*")}


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("inspect",), "env_01hx"),
        (("inspect", "env_01hx", "new-checkout"), "decision"),
        (("eval", "env_01hx", "new-checkout"), "resolution"),
        (("keys", "list"), "env_01hx"),
        (("lists", "show", "env_01hx", "beta-users"), "user-123"),
    ],
)
def test_commands_that_only_look_work_on_a_read_only_mount(
    data: Path, arguments: tuple[str, ...], said: str
) -> None:
    before = state(data)
    done = CliRunner().invoke(group, [*arguments, "--data", str(data)])
    assert (done.exit_code, done.stderr) == (0, "")
    assert said in done.stdout
    assert state(data) == before


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("arguments", [("rollback",), ("keys", "create", "env_01hx"), ("publish", str(DEMO))])
def test_commands_that_change_something_say_that_it_is_read_only(
    data: Path, arguments: tuple[str, ...]
) -> None:
    done = CliRunner().invoke(group, [*arguments, "--data", str(data)])
    assert isinstance(done.exception, StoreError)
    assert "read-only for this user" in str(done.exception)


def test_volume_whose_root_is_another_users_is_served_with_a_warning(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`data` is the root's; what is in it was made by the server's user."""
    real = os.stat_result
    stat = Path.stat

    def shifted(path: Path, *, follow_symlinks: bool = True) -> real:
        found = stat(path, follow_symlinks=follow_symlinks)
        return real([*found[:4], 0 if path == data else 1_000, *found[5:]])

    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    monkeypatch.setattr(Path, "stat", shifted)
    odd = check_directory(data, memory_allowed=True)
    assert odd == f"{data} belongs to user 0; every command has to run as user 1000, as this one"
    database.check_owner(data, root=True)
    database.check_owner(data / "store")
    with pytest.raises(StoreError, match="belongs to"):
        database.check_owner(data)


def test_root_is_refused_in_another_users_directory(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = data.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "stat", os.stat)
    real = Path.stat

    def others(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        found = real(path, follow_symlinks=follow_symlinks)
        return os.stat_result([*found[:4], owner + 1_000, *found[5:]])

    monkeypatch.setattr(Path, "stat", others)
    with pytest.raises(ServeError, match="this is root; run it as user"):
        check_directory(data, memory_allowed=True)
    with pytest.raises(StoreError, match="run it as the owner"):
        Store.open(data)


def test_directory_that_this_user_may_not_write_says_what_to_do(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ServeError, match=r"mode 700. Change its owner, or give the group write access"):
        check_directory(data, memory_allowed=True)
