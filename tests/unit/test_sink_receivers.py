"""Receivers of sinks by themselves: files, commands, paths of objects."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fanion.config.sinks import Sinks
from fanion.errors import SinkError
from fanion.sinks import command, file, parquet
from fanion.sinks.receiver import Line
from fanion.sinks.sink import Sink, check_apart

pytest.importorskip("pyarrow")


def test_a_file_of_the_servers_own_is_never_appended_to(tmp_path: Path) -> None:
    """Named by mistake, the store had lines of JSON behind its pages."""
    data = tmp_path / "data"
    (data / "store").mkdir(parents=True)
    (tmp_path / "link").symlink_to(data / "store" / "data.mdb")
    (tmp_path / "folder").symlink_to(data)
    for name in (data / "store" / "data.mdb", data / "rows", tmp_path / "link", tmp_path / "folder" / "x"):
        with pytest.raises(SinkError, match="it lies in the data directory"):
            Sink(data, "file", Sinks(file_path=str(name)), {}, map_bytes=1 << 20)
        with pytest.raises(SinkError, match="it lies in the data directory"):
            check_apart(data, name)
    for name in (tmp_path / "rows", tmp_path / "data2", tmp_path / "data" / ".." / "rows"):
        check_apart(data, name)


LINES = [Line(b"k", b'{"id":"%d"}' % n + b" " * 1_000) for n in range(2_000)]


def test_half_a_line_of_ours_is_cut_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    for before, left in (
        (b"", b""),
        (b'{"id":"a"}\n', b'{"id":"a"}\n'),
        (b'{"id":"a"}\n{"id":"b', b'{"id":"a"}\n'),
        (b'{"id":"a"}\n{"', b'{"id":"a"}\n'),
        (b'{"id":"' + b"x" * 200_000, b""),
        (b"not ours", b"not ours\n"),
        (b"not ours\nneither", b"not ours\nneither\n"),
    ):
        path.write_bytes(before)
        receiver = file.Appended(Sinks(file_path=str(path)), lambda: None)
        receiver.take([Line(b"k", b'{"id":"k"}')], "")
        receiver.close()
        assert path.read_bytes() == left + b'{"id":"k"}\n', before


def test_a_file_that_was_moved_away_is_made_anew_and_only_a_file_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    receiver = file.Appended(Sinks(file_path=str(path)), lambda: None)
    lines = [Line(b"k", b'{"id":"k"}')]
    receiver.take(lines, "")
    path.rename(tmp_path / "older")
    receiver.take(lines, "")
    receiver.close()
    assert path.read_bytes() == (tmp_path / "older").read_bytes() == b'{"id":"k"}\n'
    assert path.stat().st_mode & 0o777 == 0o600
    os.mkfifo(tmp_path / "pipe")
    for strange in (tmp_path / "pipe", tmp_path, tmp_path / "no" / "where", Path("/dev/full")):
        receiver = file.Appended(Sinks(file_path=str(strange)), lambda: None)
        with pytest.raises(SinkError):
            receiver.take(lines, "")
        receiver.close()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("sh -c 'cat > {out}'", None),
        ("sh -c 'cat > {out}; echo no >&2; exit 3'", "ended with status 3: no"),
        ("sh -c 'head -c 10 > {out}'", "ended before it had read all"),
        ("sh -c 'exec <&-; exit 4'", "ended with status 4: it said nothing"),
        ("sleep 60", "was not done within 0.3 s"),
        ("sh -c 'cat > {out}; sleep 60'", "was not done within 0.3 s"),
        ("/no/such/program", "can't be run"),
    ],
)
def test_a_commands_exit_status_is_the_answer(tmp_path: Path, program: str, said: str | None) -> None:
    out = tmp_path / "out"
    timeout_s = 0.3 if said and "within" in said else 20.0
    settings = Sinks(command=program.replace("{out}", str(out)), timeout_s=timeout_s)
    receiver = command.Fed(settings, lambda: None)
    if said is None:
        receiver.take(LINES, "")
        assert out.read_bytes() == b"".join(line.text + b"\n" for line in LINES)
    else:
        with pytest.raises(SinkError, match=said):
            receiver.take(LINES, "")


def test_a_command_sees_none_of_fanions_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANION_SINKS_KAFKA_PASSWORD", "hidden")
    out = tmp_path / "out"
    receiver = command.Fed(Sinks(command=f"sh -c 'cat >/dev/null; env > {out}'"), lambda: None)
    receiver.take(LINES[:1], "")
    assert "hidden" not in out.read_text()
    assert "PATH=" in out.read_text()


def test_two_environments_never_share_a_path() -> None:
    names = ["a/b", "a!2Fb", "a_b", "a=b", "ä", "..", "a b", "A", "a"]
    paths = {parquet.object_path(name, 20_000, "n") for name in names}
    assert len(paths) == len(names)
    assert parquet.object_path("env_prod", 20_000, "n") == "environment=env_prod/day=2024-10-04/n.parquet"
