"""Event ids and active users: telling new from known, and putting a window together from the journal.

A regression here is paid by every batch with event ids, once per event, and by every evaluation of an organisation
with a cap. Run: `pytest bench/bench_window.py`; windows are half to nearly full, so that probes are what they are
in service. `WINDOW_BENCH_IDS` sets the largest window.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from fanion._core.members import MemberSet
from fanion._core.window import IdWindow, Reservation
from fanion._core.window_rebuild import insert

LARGEST = int(os.environ.get("WINDOW_BENCH_IDS", str(1 << 20)))
SIZES = [1 << 16, 1 << 18, LARGEST]
BATCH = 100
KEY = bytes(range(16))
ROUNDS = 2_000
CAPS = [1_000, 10_000, 100_000]
HASH_BYTES = 16


def batches(start: int = 0) -> Iterator[list[str | bytes | None]]:
    """Ids as SDKs make them: 36 characters."""
    for number in count(start):
        yield [f"0190b7c2-{number:08x}-7000-8000-{item:010x}" for item in range(BATCH)]


class Filled:
    """A window in its second life, so with both tables in use."""

    def __init__(self, directory: Path, size: int) -> None:
        self.window = IdWindow(str(directory / "window"), size, KEY)
        self.window.attach(0, 0)
        self.sequence = 0
        for _ in range(0, size * 3 // 2, 4096):
            self.sequence += 1
            insert(self.window, os.urandom(4096 * HASH_BYTES), 1, self.sequence)
        self.window.settle(1, self.sequence)

    def keep(self, ids: list[str | bytes | None]) -> Reservation:
        self.sequence += 1
        reservation = self.window.reserve(b"project", ids, 0, self.sequence)
        reservation.commit(self.sequence)
        return reservation


@pytest.mark.parametrize("size", SIZES)
def bench_reserve_100_new_ids(benchmark: Any, tmp_path: Path, size: int) -> None:
    """An id takes a hundredth of it: 120 ns in the smallest window, 230 ns at 4 M (cache misses), on 2 cores."""
    filled, fresh = Filled(tmp_path, size), batches()
    made = benchmark.pedantic(
        filled.keep, setup=lambda: ((next(fresh),), {}), rounds=min(ROUNDS, size // BATCH // 4)
    )
    assert made.dispositions == bytes(BATCH)


@pytest.mark.parametrize("size", SIZES)
def bench_reserve_100_known_ids(benchmark: Any, tmp_path: Path, size: int) -> None:
    """With `check`, as an answer to a client that sends again."""
    filled = Filled(tmp_path, size)
    known = [batch for batch, _ in zip(batches(), range(100), strict=False)]
    for batch in known:
        filled.keep(batch)
    filled.window.settle(0, filled.sequence)
    turn = count()

    def repeat(batch: list[str | bytes | None]) -> Reservation:
        reservation = filled.keep(batch)
        assert reservation.check() is True
        return reservation

    made = benchmark.pedantic(repeat, setup=lambda: ((known[next(turn) % 100],), {}), rounds=ROUNDS)
    assert made.duplicates == BATCH


def bench_reserve_one_id(benchmark: Any, tmp_path: Path) -> None:
    """What a request with a single event pays for its id."""
    filled, fresh = Filled(tmp_path, LARGEST), batches()
    made = benchmark.pedantic(filled.keep, setup=lambda: ((next(fresh)[:1],), {}), rounds=ROUNDS)
    assert made.dispositions == b"\0"


@pytest.mark.parametrize("cap", CAPS)
@pytest.mark.parametrize("who", ["known", "refused"])
def bench_admit_1000_users(benchmark: Any, tmp_path: Path, cap: int, who: str) -> None:
    """A user takes a thousandth of it: 84 ns known and 106 ns refused at a cap of 100,000, on 2 cores."""
    members = MemberSet(str(tmp_path / "set-"), KEY)
    assert all(members.admit(f"user-{number}", cap) for number in range(cap))
    start, expected = (0, 1_000) if who == "known" else (cap, 0)
    users = [f"user-{number}" for number in range(start, start + 1_000)]
    assert benchmark(lambda: sum(members.admit(user, cap) for user in users)) == expected
