"""The limiter alone, against a model, and from several processes at once."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanion._core.shared import LimiterTable
from fanion.auth.limiter import Limiter, scope_hash
from fanion.errors import ServeError

SPAWN = multiprocessing.get_context("spawn")
SECOND_NS = 1_000_000_000


@pytest.fixture
def table(tmp_path: Path) -> LimiterTable:
    return LimiterTable(str(tmp_path / "limiter"), 1024)


def test_burst_passes_and_the_next_waits_one_interval(table: LimiterTable) -> None:
    now = 100 * SECOND_NS
    assert [table.take(7, 2.0, 3, now_ns=now) for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 0.5]
    assert table.take(7, 2.0, 3, now_ns=now + SECOND_NS // 2) == 0.0
    assert table.take(7, 2.0, 3, now_ns=now + SECOND_NS // 2) == 0.5


def test_waiting_as_told_is_enough(table: LimiterTable) -> None:
    now = 100 * SECOND_NS
    for _ in range(50):
        wait = table.take(7, 3.0, 4, now_ns=now)
        if wait:
            now += int(wait * 1e9) + 1
            assert table.take(7, 3.0, 4, now_ns=now) == 0.0


def test_scopes_do_not_share_a_limit(table: LimiterTable) -> None:
    now = 100 * SECOND_NS
    for scope in range(8):
        assert table.take(scope_hash("key", str(scope)), 1.0, 1, now_ns=now) == 0.0
        assert table.take(scope_hash("key", str(scope)), 1.0, 1, now_ns=now) == 1.0


def test_cost_above_the_burst_counts_as_the_burst(table: LimiterTable) -> None:
    now = 100 * SECOND_NS
    assert table.take(7, 1.0, 5, cost=50, now_ns=now) == 0.0
    assert table.take(7, 1.0, 5, now_ns=now) == 1.0


def test_lowered_limit_is_not_held_against_the_past(table: LimiterTable) -> None:
    now = 100 * SECOND_NS
    assert table.take(7, 0.001, 100, cost=100, now_ns=now) == 0.0
    assert table.take(7, 1.0, 1, now_ns=now) == 1.0


def test_flood_of_scopes_does_not_end_and_forgets_whoever_recovers_first(tmp_path: Path) -> None:
    table = LimiterTable(str(tmp_path / "small"), 8)
    now = 100 * SECOND_NS
    for scope in range(1, 1000):
        assert table.take(scope, 1.0, 2, now_ns=now) == 0.0
    assert table.take(999, 1.0, 2, now_ns=now) == 0.0
    assert table.take(999, 1.0, 2, now_ns=now) == 1.0


@pytest.mark.parametrize(
    ("rate", "burst"), [(0.0, 1), (-1.0, 1), (2e9, 1), (1.0, 0), (1e-6, 2**50), (float("nan"), 1)]
)
def test_impossible_limits_are_refused(table: LimiterTable, rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="is allowed"):
        table.take(7, rate, burst)


def test_table_of_another_size_is_refused_with_advice(tmp_path: Path) -> None:
    Limiter.open(tmp_path, 1024).close()
    with pytest.raises(ServeError, match="stop every server"):
        Limiter.open(tmp_path, 2048)
    Limiter.prepare(tmp_path, 2048)
    assert Limiter.open(tmp_path, 2048).take(1, 1.0, 1) == 0.0


def test_scope_parts_do_not_run_into_each_other() -> None:
    assert scope_hash("ab", "c") != scope_hash("a", "bc")
    assert scope_hash("a", b"b") == scope_hash(b"a", "b")


@settings(max_examples=200)
@given(
    steps=st.lists(st.tuples(st.integers(0, 3 * SECOND_NS), st.integers(1, 4)), max_size=60),
    rate=st.sampled_from([0.5, 1.0, 3.0, 1000.0]),
    burst=st.integers(1, 6),
)
def test_limiter_equals_a_token_bucket(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int]], rate: float, burst: int
) -> None:
    table = LimiterTable(str(tmp_path_factory.mktemp("limiter") / "table"), 8)
    interval = int(1e9 / rate)
    now, level, level_at = 100 * SECOND_NS, burst * interval, 100 * SECOND_NS
    for passed, cost in steps:
        now += passed
        level, level_at = min(burst * interval, level + now - level_at), now
        wanted = min(cost, burst) * interval
        wait = table.take(9, rate, burst, cost=cost, now_ns=now)
        assert wait == (0.0 if wanted <= level else (wanted - level) / 1e9)
        if wait == 0.0:
            level -= wanted
    table.close()


def take_in_child(path: str, tries: int, start: object, results: multiprocessing.Queue[int]) -> None:
    table = LimiterTable(path, 1024)
    start.wait()  # type: ignore[attr-defined]
    results.put(sum(table.take(scope, 1e-6, 500) == 0.0 for _ in range(tries) for scope in (11, 12)))


def test_burst_from_several_processes_lets_exactly_the_burst_through(tmp_path: Path) -> None:
    path = str(tmp_path / "limiter")
    LimiterTable(path, 1024).close()
    results: multiprocessing.Queue[int] = SPAWN.Queue()
    start = SPAWN.Barrier(4)
    children = [SPAWN.Process(target=take_in_child, args=(path, 2_000, start, results)) for _ in range(4)]
    for child in children:
        child.start()
    allowed = sum(results.get(timeout=60) for _ in children)
    for child in children:
        child.join()
    assert allowed == 2 * 500
