"""Small files that are replaced whole: the old one or the new one behind every call, and damage that is told."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fanion.errors import DamagedFileError
from fanion.small_files import Files, make_file, read_document, replace_file, sealed

CALLS = ("open", "pwrite", "fdatasync", "close", "rename", "link", "unlink", "sync_directory")
OLD, NEW = b'{"old":1}', b'{"new":2}' * 10_000


class Ended(BaseException):
    """The process is no more: not even what tidies up behind an error runs on the disk."""


class Steps(Files):
    """`met` is called before (True) and behind (False) each call."""

    def __init__(self, met: Callable[[str, bool], None]) -> None:
        self._met = met

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in CALLS:
            return found

        def call(*given: Any, **further: Any) -> Any:
            self._met(name, True)
            answer = found(*given, **further)
            self._met(name, False)
            return answer

        return call


def steps_of(work: Callable[[Files], None]) -> int:
    met: list[str] = []
    work(Steps(lambda name, _: met.append(name)))
    return len(met)


def ending_at(step: int, end: Callable[[str, bool], None]) -> Steps:
    left = [step]

    def met(name: str, before: bool) -> None:
        left[0] -= 1
        if left[0] < 0:
            end(name, before)

    return Steps(met)


@pytest.mark.parametrize("old", [None, OLD], ids=["first", "later"])
def test_a_process_that_ends_at_any_step_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, old: bytes | None
) -> None:
    path = tmp_path / "state.json"

    def end(_name: str, _before: bool) -> None:
        raise Ended  # and again at whatever would tidy up: nothing is done any more

    count = steps_of(lambda files: replace_file(files, tmp_path / "other", NEW))
    assert count == 2 * 6
    found = []
    for step in range(count):
        if old is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(old)
        with suppress(Ended):
            replace_file(ending_at(step, end), path, NEW)
        found.append(path.read_bytes() if path.exists() else None)
    renamed = found.index(NEW)
    assert found == [old] * renamed + [NEW] * (count - renamed)
    assert renamed == 9  # open, write, sync, close, each with two ends, and the one before rename


@pytest.mark.parametrize("step", range(12))
def test_a_killed_process_leaves_the_old_file_or_the_new_one(tmp_path: Path, step: int) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(OLD)
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            replace_file(ending_at(step, lambda *_: os.kill(os.getpid(), signal.SIGKILL)), path, NEW)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert path.read_bytes() == (OLD if step < 9 else NEW)
    replace_file(Files(), path, OLD)
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("call", [name for name in CALLS if name != "link"])
def test_an_error_at_any_step_is_raised_and_leaves_no_draft(tmp_path: Path, call: str) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(OLD)

    def fail(name: str, before: bool) -> None:
        if name == call and before:
            raise OSError(28, "no room")

    if call == "unlink":
        replace_file(Steps(fail), path, NEW)  # nothing is to be tidied up
    else:
        with pytest.raises(OSError, match="no room"):
            replace_file(Steps(fail), path, NEW)
    assert path.read_bytes() == (NEW if call in ("unlink", "sync_directory") else OLD)
    assert list(tmp_path.iterdir()) == [path]


def test_the_disk_has_all_of_it_before_it_has_its_name(tmp_path: Path) -> None:
    met: list[str] = []
    replace_file(Steps(lambda name, before: met.append(name) if before else None), tmp_path / "a", NEW)
    assert met == ["open", "pwrite", "fdatasync", "close", "rename", "sync_directory"]


def test_what_whoever_comes_first_makes_is_whole_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "key"

    def end(_name: str, _before: bool) -> None:
        raise Ended

    count = steps_of(lambda files: make_file(files, tmp_path / "other", NEW))
    for step in range(count):
        path.unlink(missing_ok=True)
        with suppress(Ended):
            make_file(ending_at(step, end), path, NEW)
        assert not path.exists() or path.read_bytes() == NEW
    make_file(Files(), path, OLD)
    assert path.read_bytes() == NEW


def test_two_who_replace_it_at_once_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    inside: list[bytes] = []

    def meet(name: str, before: bool) -> None:
        if before and name in CALLS:
            other = b"other %d" % len(inside)
            replace_file(Files(), path, other)
            inside.append(path.read_bytes())

    replace_file(Steps(meet), path, NEW)
    assert inside == [b"other %d" % n for n in range(6)]
    assert path.read_bytes() == b"other 5"  # as the directory is synced: it came last
    assert list(tmp_path.iterdir()) == [path]


def test_every_flipped_bit_of_a_document_is_damage_or_changes_nothing(tmp_path: Path) -> None:
    path, document = tmp_path / "a.json", {"places": {"3": 1234567}, "name": "x"}
    whole = sealed(json.dumps(document).encode())
    assert json.loads(whole) == {"crc32": whole[10:18].decode(), **document}

    def decode(content: bytes) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(content)
        except ValueError as error:
            raise RecursionError(str(error)) from None
        return {name: value for name, value in found.items() if name in document}

    told = 0
    for at in range(8 * len(whole)):
        bent = bytearray(whole)
        bent[at // 8] ^= 1 << at % 8
        path.write_bytes(bent)
        try:
            assert read_document(Files(), path, decode) == document
        except DamagedFileError:
            told += 1
    assert told > 8 * (len(whole) - 10)
    path.write_bytes(json.dumps(document).encode())  # of an earlier version
    assert read_document(Files(), path, decode) == document
    path.write_bytes(sealed(b"{}"))
    assert read_document(Files(), path, json.loads) == {}
