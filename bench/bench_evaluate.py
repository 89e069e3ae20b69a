"""Deciding, in process: the kernel alone, one flag from a dict to JSON bytes, fifty flags from one dict.

A regression here means that every answer of every dialect got slower. Each bench checks what it computed.
Run: `pytest bench/bench_evaluate.py`; the kernel's figures are per 1,000 runs.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import pytest

from bench.data import MATCHING, MEMBERS, MISSING, flag_key, open_world
from fanion.engine.evaluator import Bundle

SIZES = [10, 1_000, 100_000]
KERNEL_RUNS = 1_000
ROUNDS, CALLS = 300, 1_000
"""Short calls are timed a thousand at a time: one by one, the clock would cost as much as they do."""


@cache
def opened(flags: int) -> Bundle:
    return open_world(flags)


def middle(flags: int) -> tuple[Bundle, int, str]:
    bundle = opened(flags)
    return bundle, bundle.table("feather"), flag_key(flags // 2)


@pytest.mark.parametrize("flags", SIZES)
def bench_kernel_one_flag_slots_bound(benchmark: Any, flags: int) -> None:
    """Target: ≤ 100 ns a run, flat from 10 to 100,000 flags."""
    bundle, table, key = middle(flags)
    assert benchmark(bundle.repeat, bundle.decision(table, key), KERNEL_RUNS, MEMBERS, MATCHING, None) > 0


@pytest.mark.parametrize("flags", SIZES)
def bench_dict_to_json_matching(benchmark: Any, flags: int) -> None:
    """Target: ≤ 250 ns. By hand in Cython: 125; in Python: 350."""
    bundle, table, key = middle(flags)
    call = partial(bundle.put_one, table, key, False, MEMBERS, MATCHING, None, b"{", b"}")
    answer = benchmark.pedantic(call, rounds=ROUNDS, iterations=CALLS, warmup_rounds=3)
    assert b'"reason":"ROLLOUT"' in answer or b'"reason":"DEFAULT"' in answer


@pytest.mark.parametrize("flags", SIZES)
def bench_dict_to_json_missing(benchmark: Any, flags: int) -> None:
    """Target: ≤ 150 ns. By hand in Cython: 65; in Python: 124."""
    bundle, table, key = middle(flags)
    call = partial(bundle.put_one, table, key, False, MEMBERS, MISSING, None, b"{", b"}")
    answer = benchmark.pedantic(call, rounds=ROUNDS, iterations=CALLS, warmup_rounds=3)
    assert answer == b'{"value":false,"reason":"DEFAULT"}'


@pytest.mark.parametrize("flags", SIZES)
def bench_fifty_flags_from_one_dict(benchmark: Any, flags: int) -> None:
    """Target: ≤ 20 µs."""
    bundle, table, _ = middle(flags)
    keys = [flag_key(number % flags) for number in range(0, 50 * 7, 7)]

    def call() -> bytes:
        question = bundle.ask(MEMBERS, MATCHING, None)
        return question.put_map(table, keys, False, b'{"results":{', b"}}")

    answer = benchmark(call)
    assert answer.count(b'"reason"') == len(set(keys))
