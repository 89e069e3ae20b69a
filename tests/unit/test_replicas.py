"""Rows of what the stream has, in shared memory: as they were put, or nothing; bells that nobody misses."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanion.errors import JournalError
from fanion.journal import replicas
from fanion.journal.replicas import AWAY, NOTHING, OPENING, ROW_BYTES, ROWS, TAKES, Board, Taken, heard, ring

MACHINE = bytes(range(16))


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board(2)
    yield made
    made.close()


def test_a_row_is_read_as_it_was_put_and_one_that_was_never_put_is_nothing(board: Board) -> None:
    draw = random.Random(3)
    for writer in (0, 7, ROWS - 1):
        assert board.row(writer) == NOTHING
        for _ in range(50):
            row = Taken(draw.randbytes(16), *(draw.randrange(1 << 63) for _ in range(5)))
            board.put(writer, row)
            assert board.row(writer) == row
    assert board.row(1) == NOTHING


@pytest.mark.parametrize("writer", [-1, ROWS])
def test_a_writer_beyond_the_bounds_is_told(board: Board, writer: int) -> None:
    with pytest.raises(JournalError, match="0 to 998"):
        board.row(writer)
    with pytest.raises(JournalError, match="0 to 998"):
        board.put(writer, NOTHING)


def test_a_damaged_row_counts_as_nothing_acknowledged(board: Board) -> None:
    row = Taken(MACHINE, 3, 10, 20, 1, 20)
    board.put(4, row)
    at = 5 * ROW_BYTES
    for byte in range(ROW_BYTES):
        if 4 <= byte < 8:
            continue  # nothing is there
        board._map[at + byte] ^= 0x40
        assert board.row(4) == NOTHING, byte
        board._map[at + byte] ^= 0x40
    assert board.row(4) == row


def test_a_row_that_was_half_written_counts_as_nothing_acknowledged(board: Board) -> None:
    """Whatever prefix of the new row a killed shipper left."""
    old, new = Taken(MACHINE, 3, 10, 20, 1, 20), Taken(MACHINE, 3, 10, 9_000, 1, 9_000)
    board.put(0, new)
    content = board._map[ROW_BYTES : 2 * ROW_BYTES]
    for written in range(1, ROW_BYTES):
        board.put(0, old)
        board._map[ROW_BYTES : ROW_BYTES + written] = content[:written]
        assert board.row(0) in (NOTHING, old, new), written
        assert board.row(0) != new or board._map[ROW_BYTES : 2 * ROW_BYTES] == content


def test_a_shipper_that_is_not_heard_of_is_away(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    assert board.state == OPENING
    board.say(TAKES)
    assert board.state == TAKES
    monkeypatch.setattr(replicas, "STALE_S", -1.0)
    assert board.state == AWAY
    board.say(AWAY)
    monkeypatch.undo()
    assert board.state == AWAY


def test_a_bell_is_heard_once_however_often_it_rang(board: Board) -> None:
    for bell in (board.shippers_bell, *board.bells):
        assert not heard(bell)
        ring(bell)
        ring(bell)
        assert heard(bell)
        assert not heard(bell)
    board.ring_shipper()
    board.ring_workers()
    assert all(map(heard, (board.shippers_bell, *board.bells)))


def test_a_bell_that_is_full_rings(board: Board) -> None:
    os.eventfd_write(board.shippers_bell, 2**64 - 2)
    board.ring_shipper()
    assert heard(board.shippers_bell)


def test_another_process_sees_rows_and_hears_bells(board: Board, tmp_path: Path) -> None:
    pid = os.fork()
    if not pid:
        board.put(0, Taken(MACHINE, 1, 2, 3, 4, 5))
        board.say(TAKES)
        board.ring_workers()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert board.row(0) == Taken(MACHINE, 1, 2, 3, 4, 5)
    assert board.state == TAKES
    assert heard(board.bells[1])
