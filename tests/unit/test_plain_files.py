"""What commands, settings and definitions read by name: plain files to their end, nothing that has none."""

from __future__ import annotations

import gzip
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from fanion import cli, plain_files
from fanion.app import publish
from fanion.config import Config
from fanion.config.loading import load_config
from fanion.definitions import load
from fanion.definitions.reading.members import (
    MemberList,
    read_member_file,
    read_members,
    source_digest,
    survey,
)
from fanion.dialects import vocabulary
from fanion.errors import ConfigError, DefinitionError
from fanion.journal.storage import Storage
from fanion.plain_files import open_plain, open_to_write
from fanion.preview.contexts import read_contexts

WORLD = """fanion: 1
organisations: {o: {projects: {p: {environments: {production: {id: e1%s}}, segments: {s: {list: {%s}}},
  flags: {f: {type: boolean, default_value: true}}}}}}
"""


@pytest.fixture(params=["a pipe", "a socket", "a device"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Its kind and its name."""
    path = tmp_path / "other.yaml"
    with socket.socket(socket.AF_UNIX) as bound:
        if request.param == "a pipe":
            os.mkfifo(path)
        elif request.param == "a socket":
            bound.bind(str(path))
        else:
            path = Path("/dev/zero")
        yield request.param, path


def told(*arguments: str | Path) -> tuple[int, str]:
    """Exit status and output of a command in this process."""
    result = CliRunner().invoke(cli.group, list(map(str, arguments)))
    error = result.exception
    return result.exit_code, result.output + (
        "" if error is None else f"{error} {getattr(error, 'filename', '')}"
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "w.yaml").write_text(WORLD % ("", "include: [a]"))
    publish(tmp_path / "data", load([tmp_path / "w.yaml"], vocabulary()), Config())
    return tmp_path / "data"


def test_no_command_waits_for_what_is_no_plain_file(
    other: tuple[str, Path], data: Path, tmp_path: Path
) -> None:
    kind, path = other
    changed = tmp_path / "changed.yaml"
    changed.write_text((WORLD % ("", "include: [a]")).replace("value: true", "value: false"))
    for arguments in (
        ("check", path),
        ("publish", path, "--data", data),
        ("diff", path, "--against", data),
        ("diff", changed, "--against", data, "--contexts", path),
        ("lists", "replace", "e1", "s", "--file", path, "--data", data),
        ("forget", "--file", path, "--dry-run", "--data", data),
        ("serve", "--config", path, "--data", data),
    ):
        status, said = told(*arguments)
        assert status == 1, arguments
        assert str(path) in said, arguments
        assert f"{kind}, not a plain file" in said, arguments


def test_no_definition_waits_for_what_it_refers_to(other: tuple[str, Path], tmp_path: Path) -> None:
    kind, path = other
    for source, members in (
        (f", sources: [{{format: flagd, path: {path}}}]", ""),
        ("", f"include_file: {path}"),
    ):
        (tmp_path / "w.yaml").write_text(WORLD % (source, members))
        status, said = told("check", tmp_path / "w.yaml")
        assert status == 1
        assert str(path) in said
        assert kind in said or "can't be read" in said


def test_settings_members_and_contexts_are_plain_files(other: tuple[str, Path]) -> None:
    kind, path = other
    with pytest.raises(ConfigError, match=f"{kind}, not a plain file"):
        load_config(vocabulary(), file=path, environ={})
    with pytest.raises(ConfigError, match=f"{kind}, not a plain file"):
        next(read_contexts(path))
    for read in (lambda: next(read_member_file(path)), lambda: survey(path)):
        with pytest.raises(DefinitionError, match=f"{kind}, not a plain file"):
            read()
    with pytest.raises(DefinitionError, match=f"{kind}, not a plain file"):
        source_digest(MemberList("l", file=str(path)))


def test_a_file_that_grows_while_it_is_read_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_files, "BUFFER_BYTES", 4)
    path = tmp_path / "members"
    path.write_bytes(b"one\ntwo\n")
    members = read_members(MemberList("l", file=str(path)))
    assert next(members) == b"one"
    with path.open("ab") as file:
        file.write(b"three\n" * 100)
    with pytest.raises(DefinitionError, match="it grew while it was read"):
        list(members)


def test_an_error_of_reading_names_the_file() -> None:
    with pytest.raises(OSError, match="Input/output error") as caught, open_plain("/proc/self/mem") as file:
        file.read(1)
    assert caught.value.filename == "/proc/self/mem"


def test_an_error_of_the_journals_calls_by_a_descriptor_names_the_file(tmp_path: Path) -> None:
    """`fanion: Is a directory` said nothing of which."""
    (tmp_path / "000-000000000001.log").mkdir()
    storage = Storage()
    fd = storage.open(tmp_path / "000-000000000001.log", write=False)
    calls = (
        lambda: storage.pread(fd, 8, 0),
        lambda: storage.pread_into(fd, memoryview(bytearray(8)), 0),
        lambda: storage.pwrite(fd, b"x", 0),
        lambda: storage.truncate(fd, 0),
        lambda: storage.allocate(fd, 8),
    )
    try:
        for call in calls:
            with pytest.raises(OSError) as caught:  # noqa: PT011  # its words are the system's
                call()
            assert str(caught.value.filename).endswith("000-000000000001.log")
    finally:
        storage.close(fd)


def test_compressed_contexts_and_members_are_read_as_before(tmp_path: Path) -> None:
    (tmp_path / "c.gz").write_bytes(gzip.compress(b'{"targetingKey": "u"}\n' * 3))
    assert len(list(read_contexts(tmp_path / "c.gz"))) == 3
    (tmp_path / "m.gz").write_bytes(gzip.compress(b"a\nb\n"))
    assert list(read_member_file(tmp_path / "m.gz")) == [b"a", b"b"]
    (tmp_path / "c.gz").write_bytes(gzip.compress(b"")[:10] + b"\xff" * 40)  # what deflate doesn't know
    with pytest.raises(ConfigError, match="can't be read"):
        list(read_contexts(tmp_path / "c.gz"))


def test_nothing_waits_to_be_read_either(tmp_path: Path, data: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="that nobody reads") as caught:
        open_to_write(tmp_path / "pipe")
    assert caught.value.filename == str(tmp_path / "pipe")
    status, said = told("forget", "abcdefgh", "--identities", tmp_path / "pipe", "--data", data)
    assert status == 1
    assert "nobody reads" in said
    assert "journal:" not in said, "it is looked at before anything is erased"
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with open_to_write(tmp_path / "pipe") as file:
        file.write(b"x")
    assert os.read(reader, 2) == b"x"
    os.close(reader)


def test_ids_to_forget_are_whole_lines(tmp_path: Path, data: Path) -> None:
    """An id with a character that ends lines elsewhere is one id: its parts would be those of others."""
    file = tmp_path / "ids"
    file.write_bytes(b"\xef\xbb\xbfuser\xe2\x80\xa8-one\r\nuser-two\n\n")
    from fanion.cli.forget import _lines

    assert _lines(file) == ["user\u2028-one", "user-two"]
    file.write_bytes(b"user-one\nuser\xff\n")
    status, said = told("forget", "--file", file, "--dry-run", "--data", data)
    assert status == 1
    assert f"{file}: line 2 is not UTF-8" in said
    file.write_bytes(b"x" * (1 << 20) + b"y")
    assert "larger than 1,048,576 bytes" in told("forget", "--file", file, "--dry-run", "--data", data)[1]


def test_what_grows_is_read_by_no_way(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 1_000)
    for read in (lambda file: file.read(), lambda file: file.read(100_000), list):
        with open_plain(path) as file:
            with path.open("ab") as more:
                more.write(b"x" * 1_000)
            with pytest.raises(OSError, match="it grew while it was read"):
                read(file)
