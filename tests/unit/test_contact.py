"""When a place was heard last, while clocks jump: what isn't known is never taken for fresh."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from fanion.process import contact
from fanion.process.contact import AHEAD_S, Contact

YEAR_S = 366 * 86_400.0
NOW = 1_795_000_000.0


class Clocks:
    """In the place of `time`."""

    def __init__(self) -> None:
        self.wall = NOW
        self.ticks = 1_000.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.ticks

    def pass_s(self, seconds: float) -> None:
        self.wall += seconds
        self.ticks += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(contact, "time", made)
    return made


def test_time_passes(clocks: Clocks, tmp_path: Path) -> None:
    with closing(Contact(tmp_path)) as one, closing(Contact(tmp_path)) as other:
        assert one.stale_s() == NOW  # never heard
        other.note(clocks.wall, 7)
        assert one.stale_s() == 0
        clocks.pass_s(100)
        assert one.stale_s() == 100


@pytest.mark.parametrize("jump_s", [-YEAR_S, -3_600.0, -NOW + 2 * YEAR_S])
def test_a_clock_that_is_set_back_makes_nothing_fresh(clocks: Clocks, tmp_path: Path, jump_s: float) -> None:
    with closing(Contact(tmp_path)) as one, closing(Contact(tmp_path)) as other:
        other.note(clocks.wall, 7)
        assert one.stale_s() == 0
        clocks.pass_s(50)
        clocks.wall += jump_s
        clocks.pass_s(50)
        assert one.stale_s() == 100  # it was there meanwhile
        with closing(Contact(tmp_path)) as late:  # a worker that came since knows nothing
            assert late.stale_s() == clocks.wall
            clocks.pass_s(50)
            assert late.stale_s() == clocks.wall
            other.note(clocks.wall, 7)
            assert late.stale_s() == 0
            clocks.pass_s(5)
            assert late.stale_s() == 5


def test_a_clock_that_is_set_right_by_a_little_is_no_silence(clocks: Clocks, tmp_path: Path) -> None:
    with closing(Contact(tmp_path)) as other:
        other.note(clocks.wall + AHEAD_S, 7)
        with closing(Contact(tmp_path)) as late:
            assert late.stale_s() == 0
            clocks.pass_s(AHEAD_S + 10)
            assert late.stale_s() == AHEAD_S + 10


@pytest.mark.parametrize("at", [float("nan"), float("inf"), 1e300])
def test_a_damaged_time_is_none(clocks: Clocks, tmp_path: Path, at: float) -> None:
    with closing(Contact(tmp_path)) as other:
        other.note(at, 7)
        with closing(Contact(tmp_path)) as late:
            assert late.stale_s() == NOW


def test_a_clock_that_is_set_ahead_is_silence_until_the_place_is_heard(
    clocks: Clocks, tmp_path: Path
) -> None:
    with closing(Contact(tmp_path)) as one, closing(Contact(tmp_path)) as other:
        other.note(clocks.wall, 7)
        assert one.stale_s() == 0
        clocks.wall += YEAR_S
        assert one.stale_s() == YEAR_S
        other.note(clocks.wall, 7)
        assert one.stale_s() == 0
