"""Mapped files: made whole, told apart by their header, counted from several processes."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanion._core.counters import MetricFile
from fanion._core.shared import HEADER_BYTES, GenerationWord, LimiterTable, SharedFile

SPAWN = multiprocessing.get_context("spawn")
SECOND_NS = 1_000_000_000


def test_file_is_allocated_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "table"
    LimiterTable(str(path), 1024)
    status = path.stat()
    assert status.st_size == HEADER_BYTES + 1024 * 16
    assert status.st_blocks * 512 >= status.st_size
    assert status.st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["table"]


def test_word_is_seen_through_another_mapping_and_never_falls(tmp_path: Path) -> None:
    one = GenerationWord(str(tmp_path / "word"))
    other = GenerationWord(str(tmp_path / "word"))
    assert (one.fresh, other.fresh) == (True, False)
    one.raise_to(7)
    other.raise_to(3)
    assert (one.load(), other.load()) == (7, 7)


def test_file_of_another_shape_is_refused_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "table")
    LimiterTable(path, 1024).close()
    with pytest.raises(ValueError, match="other settings"):
        LimiterTable(path, 2048)
    assert LimiterTable(path, 2048, replace=True).fresh
    assert not LimiterTable(path, 2048, replace=True).fresh


@pytest.mark.parametrize("kept", [0, 10, HEADER_BYTES, HEADER_BYTES + 100])
def test_truncated_file_is_refused_before_it_is_mapped(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "word"
    GenerationWord(str(path)).close()
    os.truncate(path, kept)
    with pytest.raises(ValueError, match="other settings"):
        GenerationWord(str(path))


def test_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    GenerationWord(str(tmp_path / "word")).close()
    (tmp_path / "link").symlink_to(tmp_path / "word")
    with pytest.raises(OSError, match="link"):
        GenerationWord(str(tmp_path / "link"))


def test_body_of_an_earlier_boot_is_zeroed(tmp_path: Path) -> None:
    path = tmp_path / "table"
    table = LimiterTable(str(path), 1024)
    assert table.take(5, 1.0, 1, now_ns=SECOND_NS) == 0.0
    table.close()
    with path.open("r+b") as file:
        file.seek(32)
        file.write(b"\xff" * 16)
    table = LimiterTable(str(path), 1024)
    assert table.fresh
    assert table.take(5, 1.0, 1, now_ns=SECOND_NS) == 0.0


def test_closed_file_raises_and_never_crashes(tmp_path: Path) -> None:
    metrics = MetricFile(str(tmp_path / "metrics"), 2, 8)
    slot = metrics.claim()
    assert slot is not None
    metrics.close()
    metrics.close()
    for use in (
        lambda: slot.add(0),
        slot.values,
        lambda: metrics.column(0),
        metrics.claim,
    ):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_file_that_is_open_when_the_interpreter_ends_ends_with_it_quietly(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from fanion._core import shared\n"
        "class Holder: held = shared.GenerationWord(sys.argv[1])\n"
        "shared.holder = Holder\n"  # which is found as garbage when modules are empty already
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "word")], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_slot_is_held_by_one_until_it_is_closed(tmp_path: Path) -> None:
    one = MetricFile(str(tmp_path / "metrics"), 2, 8)
    other = MetricFile(str(tmp_path / "metrics"), 2, 8)
    first, second = one.claim(), other.claim()
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (0, 1)
    again = one.claim()
    assert again is not None
    assert again.number == 0
    assert MetricFile(str(tmp_path / "metrics"), 2, 8).claim() is None
    assert other.is_locked_elsewhere(0)
    assert not one.is_locked_elsewhere(0)
    one.close()
    assert not other.is_locked_elsewhere(0)


def test_opening_the_file_again_does_not_drop_a_lock(tmp_path: Path) -> None:
    one = MetricFile(str(tmp_path / "metrics"), 1, 8)
    assert one.claim() is not None
    MetricFile(str(tmp_path / "metrics"), 1, 8).close()
    assert MetricFile(str(tmp_path / "metrics"), 1, 8).claim() is None


def test_cells_of_two_workers_do_not_touch(tmp_path: Path) -> None:
    metrics = MetricFile(str(tmp_path / "metrics"), 3, 5)
    for number in range(3):
        for cell in range(5):
            metrics.slot(number).set(cell, number * 10 + cell)
    assert [metrics.column(cell) for cell in range(5)] == [[n * 10 + c for n in range(3)] for c in range(5)]
    with pytest.raises(IndexError):
        metrics.slot(0).add(5)
    with pytest.raises(IndexError):
        metrics.slot(3)


def test_series_has_one_cell_in_every_mapping_and_survives_reopening(tmp_path: Path) -> None:
    one = MetricFile(str(tmp_path / "metrics"), 2, 8)
    other = MetricFile(str(tmp_path / "metrics"), 2, 8)
    assert [one.series("a"), other.series("b", 3), one.series("b", 3), other.series("a")] == [0, 1, 1, 0]
    assert one.directory() == other.directory() == [("a", 0, 1), ("b", 1, 3)]
    assert one.series("c", 4) == 4
    assert one.series("d") == -1
    assert MetricFile(str(tmp_path / "metrics"), 2, 8).series("c", 4) == 4
    for name, width in (("", 1), ("x" * 185, 1), ("x", 0), ("x", 9)):
        with pytest.raises(ValueError, match="out of range"):
            one.series(name, width)


def count_in_child(path: str, rounds: int) -> None:
    slot = MetricFile(path, 2, 8).slot(0)
    for _ in range(rounds):
        slot.add(3)


def test_adds_from_several_processes_are_all_counted(tmp_path: Path) -> None:
    path = str(tmp_path / "metrics")
    metrics = MetricFile(path, 2, 8)
    children = [SPAWN.Process(target=count_in_child, args=(path, 20_000)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert metrics.column(3) == [60_000, 0]


def open_in_child(path: str, results: multiprocessing.Queue[bool]) -> None:
    results.put(SharedFile(path, 9, 1, 1 << 20).fresh)


def test_processes_that_create_at_once_end_up_in_one_file(tmp_path: Path) -> None:
    results: multiprocessing.Queue[bool] = SPAWN.Queue()
    children = [SPAWN.Process(target=open_in_child, args=(str(tmp_path / "file"), results)) for _ in range(4)]
    for child in children:
        child.start()
    fresh = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    assert sorted(fresh) == [False, False, False, True]
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
